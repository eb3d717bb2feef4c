"""A picture between its file and the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    png_colour: bytes | None = None  # what a PNG says of its colours, besides a profile


@dataclass(frozen=True, eq=False)
class Picture:
    """Upright pixels at their own depth, and what the file said about them.

    samples: (H, W, C) of 8 or 16 bits, untouched; C is 1 (gray), 2 (gray and alpha),
    3 (RGB) or 4 (RGBA). notes: what of the file was not kept. source: its file.
    facts: what else a command found out about it, for JSON. lossy: whether its file's format
    may have changed the samples.
    """

    samples: Samples
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    source: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    lossy: bool = False

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

    def noting(self, *notes: str) -> Picture:
        """The same, and what else is to be said about it."""
        return replace(self, notes=(*self.notes, *notes))

    def in_bands(self) -> PictureInBands:
        """The same as one band."""
        return PictureInBands(
            self.size,
            self.samples.shape[2],
            self.depth,
            iter([self.samples]),
            self.metadata,
            self.notes,
            self.source,
            self.facts,
        )


@dataclass(frozen=True, eq=False)
class PictureInBands:
    """A picture that is never there as a whole: its rows come while they are computed.

    bands: once only, from top to bottom, (rows, W, C) of this depth, any number of rows each,
    all rows together. Nothing is kept of a band, so the next one may be in the same memory.
    What computing raises comes out of it. notes may grow meanwhile. The rest is as in Picture.
    """

    size: tuple[int, int]  # width and height
    channels: int  # 1 to 4
    depth: int  # bits a channel: 8 or 16
    bands: Iterator[Samples]
    metadata: Metadata = field(default_factory=Metadata)
    notes: Sequence[str] = ()
    source: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def row_bytes(self) -> int:
        """How many bytes the samples of a row are."""
        return self.size[0] * self.channels * self.depth // 8

    def gathered(self) -> Picture:
        """All of it at once. Raises ``PictureError`` for too few rows, or too many."""
        (samples,) = self.in_blocks(self.size[1])
        return Picture(samples, self.metadata, tuple(self.notes), self.source, self.facts)

    def in_blocks(self, rows: int) -> Iterator[Samples]:
        """Copies of ``rows`` rows each, fewer in the last. Raises as ``gathered``."""
        block, filled = self.empty(rows, 0), 0
        for top, band in self.checked():
            done = 0
            while done < len(band):
                taken = band[done : done + rows - filled]
                block[filled : filled + len(taken)] = taken
                filled, done = filled + len(taken), done + len(taken)
                if filled == len(block):
                    yield block
                    block, filled = self.empty(rows, top + done), 0

    def empty(self, rows: int, top: int) -> Samples:
        """A place for ``rows`` rows from ``top`` on, as far as there are so many."""
        (width, height), kind = self.size, np.uint8 if self.depth == 8 else np.uint16
        return np.empty((min(rows, height - top), width, self.channels), kind)

    def checked(self) -> Iterator[tuple[int, Samples]]:
        """Each band and its first row. Raises ``PictureError`` if they don't make the picture."""
        (width, height), top = self.size, 0
        for band in self.bands:
            if band.shape[1:] != (width, self.channels) or 8 * band.itemsize != self.depth:
                raise PictureError(f"row {top} is {band.shape[1:]} of {band.dtype}")
            if top + len(band) > height:
                raise PictureError(f"there are more rows than its {height}")
            yield top, band
            top += len(band)
        if top < height:
            raise PictureError(f"there are {top} of its {height} rows")


def whole(picture: Picture | PictureInBands) -> Picture:
    """A picture all of whose rows are there."""
    return picture.gathered() if isinstance(picture, PictureInBands) else picture


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
