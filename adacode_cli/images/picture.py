"""A picture between its file and the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


class PictureError(ValueError):
    """A file that can't be read or written as a picture: what, where, what to do."""


@dataclass(frozen=True)
class Picture:
    """Upright pixels, and what the file said about them.

    rgb: (3, H, W) in [0, 1]. alpha: (H, W) in [0, 1], or None where all is opaque.
    gray: whether the three channels are one. notes: what of the file was not kept.
    """

    rgb: Plane
    alpha: Plane | None = None
    gray: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[2], self.rgb.shape[1]
