"""Enlarging a picture without a pattern of its own.

Bilinear and bicubic enlargement leave more fine detail at some phases of their grid than
at others, which reads as a pattern and which a network must then undo. A windowed sinc
treats every phase nearly alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.model.constants import kept

RADIUS = 3  # lobes of the sinc, pixels of the small picture


def enlarge(picture: Tensor, factor: int) -> Tensor:
    """Lanczos enlargement of (B, C, h, w) to (B, C, f·h, f·w), float32, borders repeated."""
    if factor == 1:
        return picture.float()
    channels = picture.shape[1]
    kernel = lanczos_kernel(factor, device=picture.device)
    kernel = kernel.repeat(channels, 1, 1, 1)  # (C·f², 1, 7, 7)
    padded = F.pad(picture.float(), (RADIUS,) * 4, mode="replicate")
    with torch.autocast(picture.device.type, enabled=False):  # bf16 has fewer steps than a photo
        phases = F.conv2d(padded, kernel, groups=channels)  # (B, C·f², h, w)
    return F.pixel_shuffle(phases, factor)


@kept(8)
def lanczos_kernel(factor: int, device: torch.device) -> Tensor:
    """The weights of a pixel's 7×7 neighbourhood for each of its f² parts: (f², 1, 7, 7)."""
    phases = (torch.arange(factor) + 0.5) / factor - 0.5  # of a pixel, from its centre
    distance = torch.arange(-RADIUS, RADIUS + 1) - phases[:, None]  # (f, 7)
    window = torch.sinc(distance / RADIUS) * (distance.abs() < RADIUS)
    taps = torch.sinc(distance) * window
    taps = taps / taps.sum(dim=1, keepdim=True)
    weights = torch.einsum("py,qx->pqyx", taps, taps)
    return weights.reshape(factor**2, 1, *[len(taps[0])] * 2).to(device)
