"""A picture between its file and the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Samples = NDArray[Any]  # of uint8 or uint16
STRIP = 64  # rows


class PictureError(ValueError):
    """A file that can't be read or written as a picture: what, where, what to do."""


@dataclass(frozen=True)
class Metadata:
    """What a file said about its pixels; orientation and preview are dealt with already."""

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """Upright pixels at their own depth, and what the file said about them.

    samples: (H, W, C) of 8 or 16 bits, untouched; C is 1 (gray), 2 (gray and alpha),
    3 (RGB) or 4 (RGBA). notes: what of the file was not kept. source: its file.
    facts: what else a command found out about it, for JSON.
    """

    samples: Samples
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    source: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.samples.shape[1], self.samples.shape[0]

    @property
    def depth(self) -> int:
        """Bits a channel: 8 or 16."""
        return 8 * self.samples.itemsize

    @property
    def gray(self) -> bool:
        """Whether there is one channel of colour."""
        return self.samples.shape[2] < 3

    @property
    def transparent(self) -> bool:
        """Whether there is an alpha channel."""
        return self.samples.shape[2] % 2 == 0

    @property
    def rgb(self) -> Plane:
        """A copy of the colour, (3, H, W) in [0, 1]; gray three times."""
        if self.gray:
            return np.repeat(self.to_floats(self.samples[..., :1]), 3, axis=0)
        return self.to_floats(self.samples[..., :3])

    @property
    def alpha(self) -> Plane | None:
        """A copy of the alpha, (H, W) in [0, 1], or None where all is opaque."""
        return self.to_floats(self.samples[..., -1:])[0] if self.transparent else None

    def to_floats(self, samples: Samples) -> Plane:
        """(H, W, C) of this picture's depth → (C, H, W) in [0, 1]."""
        planes = np.ascontiguousarray(samples.transpose(2, 0, 1), dtype=np.float32)
        planes /= np.float32(2**self.depth - 1)
        return planes

    def with_pixels(self, rgb: Plane, alpha: Plane | None) -> Picture:
        """The same file with other pixels, (3, H, W) and (H, W) in [0, 1], at its depth."""
        channels = [rgb.mean(0, keepdims=True)] if self.gray else [rgb]
        if alpha is not None:
            channels.append(alpha[None])
        return replace(self, samples=to_samples(channels, self.depth))


@dataclass(frozen=True, eq=False)
class Animation:
    """Several pictures in one file: frames by time, or pages.

    durations: milliseconds a frame; empty for pages. loops: how often it is shown; 0: for ever.
    """

    frames: tuple[Picture, ...]
    durations: tuple[float, ...] = ()
    loops: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first frame."""
        return self.frames[0].size

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the file was not kept."""
        return self.frames[0].notes

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a command found out about its first frame."""
        return self.frames[0].facts


def to_samples(channels: list[Plane], depth: int = 8) -> Samples:
    """Planes (c, H, W) in [0, 1], one or more each → (H, W, C) of 8 or 16 bits.

    By strips of rows: a whole copy in floats would double what a large picture needs.
    """
    _, height, width = channels[0].shape
    count = sum(len(planes) for planes in channels)
    full = np.float32(2**depth - 1)
    samples: Samples = np.empty((height, width, count), np.uint8 if depth == 8 else np.uint16)
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP)
        strip = np.concatenate([planes[:, rows] for planes in channels])
        np.clip(strip, 0, 1, out=strip)
        strip *= full
        samples[rows] = np.rint(strip, out=strip).transpose(1, 2, 0)
    return samples
