"""One function a loss: what is compared, and by which equation of the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.evaluation.perceptual import SMALLEST, SqueezeFeatures, feature_distance
from adacode_cli.model.codebook import Quantised


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
