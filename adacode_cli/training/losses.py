"""One function a loss: what is compared, and by which equation of the paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.model.adacode import Restoration
from adacode_cli.model.codebook import Quantised
from adacode_cli.training.perceptual import SMALLEST, SqueezeFeatures, feature_distance


def reconstruction(image: Tensor, clean: Tensor) -> Tensor:
    """L1 (equation 1): mean |x̂ - x| of (B, 3, H, W)."""
    return (image - clean).abs().mean()


def commitment(quantised: list[Quantised]) -> Tensor:
    """‖before - sg(code)‖² (equation 2), mean over positions, summed over dims, mean over books."""
    return torch.stack(
        [(q.before - q.codes.detach()).square().sum(1).mean() for q in quantised]
    ).mean()


def code(student: list[Quantised], teacher: list[Quantised]) -> Tensor:
    """How far the degraded image's features are from the clean image's codes (stage III)."""
    return torch.stack(
        [
            (s.before - t.codes.detach()).square().sum(1).mean()
            for s, t in zip(student, teacher, strict=True)
        ]
    ).mean()


def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the merged representations (B, C, h, w) (stage III)."""
    return F.mse_loss(student, teacher.detach())


class Guide(NamedTuple):
    """What the stage II network makes of the clean image: codes and merged features."""

    quantised: list[Quantised]
    merged: Tensor


@dataclass(frozen=True)
class Compared:
    """A restoration, the clean image, what the teacher made of it, and an eye for both."""

    restored: Restoration
    clean: Tensor
    guide: Guide | None = None
    perceptual: Perceptual | None = None


def terms(names: Iterable[str], c: Compared) -> dict[str, Tensor]:
    """The named losses; a perceptual one needs its network, and is left out without."""
    available = {
        "reconstruction": lambda: reconstruction(c.restored.image, c.clean),
        "commitment": lambda: commitment(c.restored.quantised),
    }
    if c.perceptual is not None:
        eye = c.perceptual
        available["perceptual"] = lambda: eye(c.restored.image, c.clean)
    if c.guide is not None:
        guide = c.guide
        available["feature"] = lambda: feature(c.restored.merged, guide.merged)
        available["code"] = lambda: code(c.restored.quantised, guide.quantised)
    return {name: available[name]() for name in names if name in available}


class Perceptual(nn.Module):
    """The squeeze distance, seen at a random shift and a random size each time.

    At one alignment a strided network is blind to some patterns, and a decoder learns to
    draw exactly those. The first layer is left out: it is the costliest, and L1 sees the same.
    """

    def __init__(self, features: SqueezeFeatures) -> None:
        super().__init__()
        self.features = features

    def forward(self, image: Tensor, clean: Tensor) -> Tensor:
        both = torch.cat([image, clean])  # (2B, 3, H, W)
        top, left = torch.randint(8, (2,)).tolist()
        both = both[..., top:, left:]
        factor = 0.75 + 0.5 * torch.rand(()).item()
        size = [max(SMALLEST, round(factor * n)) for n in both.shape[-2:]]
        both = F.interpolate(both, size, mode="bilinear")
        ours, theirs = both.chunk(2)
        with torch.no_grad():
            target = self.features(theirs)[1:]
        return feature_distance(self.features(ours)[1:], target).mean()
