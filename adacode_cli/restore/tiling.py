"""A large image in overlapping tiles, blended where they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """A rectangle of the input, in pixels."""

    top: int
    left: int
    height: int
    width: int


def spans(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """(start, size) of pieces that cover ``length`` and overlap by ``overlap`` or more.

    Every start is a multiple of ``multiple``: there the codes' grid is the whole image's.
    """
    if length <= tile:
        return [(0, length)]
    step = (tile - overlap) // multiple * multiple
    starts = range(0, length - overlap, step)
    return [(start, min(tile, length - start)) for start in starts]


def split(height: int, width: int, tile: int, overlap: int, multiple: int = 1) -> list[Tile]:
    """The tiles of an image, row by row. Raises ``ValueError`` if they couldn't advance."""
    if tile - overlap < multiple:
        raise ValueError(f"tiles of {tile} pixels can't overlap by {overlap}")
    return [
        Tile(top, left, h, w)
        for top, h in spans(height, tile, overlap, multiple)
        for left, w in spans(width, tile, overlap, multiple)
    ]


def ramp(length: int, overlap: int, *, at_start: bool, at_end: bool) -> Tensor:
    """1 inside; towards an edge shared with another tile down to 0: (length,).

    What is nearest the edge lacked its surroundings and counts for nothing; the ramp is
    the middle quarter of the overlap.
    """
    margin = 3 * overlap / 8
    steps = ((torch.arange(length) + 0.5 - margin) / max(overlap / 4, 1)).clamp(0, 1)
    weight = torch.ones(length)
    if at_start:
        weight = torch.minimum(weight, steps)
    if at_end:
        weight = torch.minimum(weight, steps.flip(0))
    return weight


def restore_tiled(
    image: Tensor,
    restore: Callable[[Tensor], Tensor],
    scale: int,
    tile: int,
    overlap: int,
    multiple: int = 1,
    on_tile: Callable[[int, int], None] | None = None,
) -> Tensor:
    """``restore`` on every tile of (3, H, W); the tiles blended into (3, s·H, s·W).

    ``on_tile`` hears how many tiles are done, of how many.
    """
    _, h, w = image.shape
    tiles = split(h, w, tile, overlap, multiple)
    total = torch.zeros(3, scale * h, scale * w)
    weights = torch.zeros(scale * h, scale * w)
    for done, (part, weight) in enumerate(weighted(tiles, h, w, scale, overlap), start=1):
        rows = slice(part.top, part.top + part.height)
        columns = slice(part.left, part.left + part.width)
        restored = restore(image[:, rows, columns])
        rows, columns = (slice(scale * s.start, scale * s.stop) for s in (rows, columns))
        total[:, rows, columns] += weight * restored
        weights[rows, columns] += weight
        if on_tile:
            on_tile(done, len(tiles))
    return total.div_(weights)


def weighted(
    tiles: list[Tile], height: int, width: int, scale: int, overlap: int
) -> Iterator[tuple[Tile, Tensor]]:
    """Each tile with its weights at the output's size, (s·h, s·w)."""
    for t in tiles:
        down = ramp(
            scale * t.height,
            scale * overlap,
            at_start=t.top > 0,
            at_end=t.top + t.height < height,
        )
        across = ramp(
            scale * t.width,
            scale * overlap,
            at_start=t.left > 0,
            at_end=t.left + t.width < width,
        )
        yield t, down[:, None] * across[None, :]
