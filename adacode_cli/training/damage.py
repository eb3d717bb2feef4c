"""What a task's network is shown of a clean patch: all of it, degraded, or with holes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from adacode_cli.training.degradations import Image, Strengths, degrade
from adacode_cli.training.holes import Brush, Mask, draw_part


class Damage(Protocol):
    """From a clean patch (P, P, 3) uint8 to the network's input (C, P/s, P/s) in [0, 1]."""

    @property
    def scale(self) -> int:
        """How many times smaller the input is."""
        ...

    def __call__(self, clean: Image, rng: np.random.Generator) -> Tensor:
        """The input, decided by ``rng`` alone."""
        ...


@dataclass(frozen=True)
class Nothing:
    """Stages I and II learn from clean images."""

    scale: int = 1

    def __call__(self, clean: Image, rng: np.random.Generator) -> Tensor:
        """The patch itself; nothing is drawn."""
        del rng
        return to_tensor(clean)


@dataclass(frozen=True)
class Degraded:
    """Super-resolution: smaller, blurred, noisy, compressed."""

    scale: int
    strengths: Strengths = field(default_factory=Strengths)

    def __call__(self, clean: Image, rng: np.random.Generator) -> Tensor:
        """RGB at 1/s of the size."""
        return to_tensor(degrade(clean, self.scale, rng, self.strengths))


@dataclass(frozen=True)
class Holed:
    """Inpainting: holes in black, and a mask as the fourth channel, or white paint and none."""

    brush: Brush = field(default_factory=Brush)
    mask_channel: bool = True
    scale: int = 1

    def __call__(self, clean: Image, rng: np.random.Generator) -> Tensor:
        """RGB and mask, (4, P, P), or RGB with the holes painted white (the published way)."""
        mask = draw_part(clean.shape[:2], rng, self.brush)
        return with_holes(to_tensor(clean), mask, mask_channel=self.mask_channel)


def with_holes(rgb: Tensor, mask: Mask, *, mask_channel: bool) -> Tensor:
    """RGB (3, H, W) as an inpainting network wants it, holes where ``mask`` isn't 0."""
    hole = torch.from_numpy(mask > 0)[None].float()  # (1, H, W)
    if mask_channel:
        return torch.cat([rgb * (1 - hole), hole])
    return torch.where(hole > 0, 1.0, rgb)


def to_tensor(image: Image) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float in [0, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
