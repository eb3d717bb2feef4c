"""Some pixels of a picture, numbered."""

from __future__ import annotations

import torch
from torch import Tensor


class Places:
    """The pixels that are marked in (h, w), in the order of reading.

    pixels: which of the picture's h·w they are, (N,). number: of each of the picture's pixels among
    them, (h·w,), -1 where it isn't one of them.
    """

    def __init__(self, marked: Tensor) -> None:
        self.height, self.width = marked.shape
        self.pixels = marked.flatten().nonzero()[:, 0]
        self.number = torch.full((self.height * self.width,), -1)
        self.number[self.pixels] = torch.arange(len(self.pixels))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pixels)

    def at(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns of pixels."""
        return torch.div(pixels, self.width, rounding_mode="floor"), pixels % self.width

    def pixel(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels in rows and columns, and whether the picture has them; else the first one."""
        within = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
        return torch.where(within, y * self.width + x, 0), within

    def nearest_pixel(self, y: Tensor, x: Tensor) -> Tensor:
        """The pixels in rows and columns, at the border for those beyond it."""
        return y.clamp(0, self.height - 1) * self.width + x.clamp(0, self.width - 1)

    def neighbours(self, down: int, across: int) -> Tensor:
        """The number of the place so far from each, -1 where there is none: (N,)."""
        y, x = self.at(self.pixels)
        pixel, within = self.pixel(y + down, x + across)
        return torch.where(within, self.number[pixel], -1)
