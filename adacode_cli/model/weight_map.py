"""W: how much of each basis codebook goes where (paper, equation 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adacode_cli.model.blocks import conv3, he_
from adacode_cli.model.swin import SwinGroups


class SwinWeightMap(nn.Module):
    """The published predictor: (B, C, h, w) → (B, K, h, w), unbounded, may be negative."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.swin = SwinGroups(channels)
        self.out = nn.Conv2d(channels, count, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.swin(z))


class ConvWeightMap(nn.Module):
    """Three convolutions; an untrained one weighs every codebook alike."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.trunk = nn.Sequential(
            he_(conv3(channels, hidden)),
            nn.LeakyReLU(0.2),
            he_(conv3(hidden, hidden)),
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Conv2d(hidden, count, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.constant_(self.out.bias, 1 / count)  # type: ignore[arg-type]

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.trunk(z))


class UnitWeightMap(nn.Module):
    """One codebook alone has nothing to share (stage I): (B, C, h, w) → ones (B, 1, h, w)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.ones_like(z[:, :1])
