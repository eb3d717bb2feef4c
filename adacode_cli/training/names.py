"""What the losses are called, for those who must not wait for PyTorch."""

from __future__ import annotations

# Every loss there is: adacode_cli/training/losses.py has a function for each.
LOSSES = (
    "reconstruction",
    "psnr",
    "coarse",
    "fine",
    "perceptual",
    "content",
    "adversarial",
    "evenness",
    "comb",
    "codebook",
    "commitment",
    "semantic",
    "contrast",
    "feature",
    "style",
    "code",
    "code_style",
)
