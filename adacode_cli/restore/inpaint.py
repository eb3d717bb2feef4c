"""Holes filled: each with its surroundings, from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adacode_cli.restore.holes import Mask, depth_of, find_holes
from adacode_cli.restore.pyramid import composite, double, halve
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.texture import is_deep, textured
from adacode_cli.restore.tiling import OnTile

Paint = Callable[[Tensor, Tensor], Tensor]  # rgb and mask → rgb
WHITE = 1.0  # what the published network was taught to take for a hole


@dataclass(frozen=True)
class Filling:
    """How holes are filled; lengths in pixels."""

    near: int = 32  # holes this close are filled together
    context: int = 96  # what is seen around a hole at least
    surround: float = 1.0  # the same, × the hole's longer side
    reach: int = 48  # how far from the rim one pass of the network fills well
    smallest: int = 48  # a side of the coarsest level, at least
    texture: bool = True  # whether deep holes take patches of what is around them


def inpaint(
    restorer: Restorer,
    rgb: Tensor,
    mask: Mask,
    filling: Filling | None = None,
    on_tile: OnTile | None = None,
) -> Tensor:
    """(3, H, W) in [0, 1] with the holes (H, W) filled; every other pixel is as it was.

    Raises ``FloatingPointError`` rather than return a picture with holes in it.
    """
    filling = filling or Filling()
    filled = rgb.clone()
    holes = find_holes(mask, filling.near, filling.context, filling.surround)
    for done, hole in enumerate(holes, start=1):
        unknown = mask[hole.rows, hole.columns]  # other holes are no context
        known = rgb[:, hole.rows, hole.columns]
        part = fill(known, unknown, painter(restorer), filling)
        if filling.texture and is_deep(torch.from_numpy(depth_of(unknown)[hole.mask])):
            part = textured(known, unknown, part)
        filled[:, hole.rows, hole.columns][:, torch.from_numpy(hole.mask)] = restorer.finished(
            part[:, torch.from_numpy(hole.mask)]
        )
        if on_tile and len(holes) > 1:
            on_tile(done, len(holes))
    return filled


def painter(restorer: Restorer) -> Paint:
    """One pass of the network over a picture with holes.

    Ours takes the mask as a fourth channel; the published one sees the holes as white paint.
    """

    def with_mask(rgb: Tensor, mask: Tensor) -> Tensor:
        return restorer.restore_any(torch.cat([rgb, mask.to(rgb)[None]]))

    def with_white(rgb: Tensor, mask: Tensor) -> Tensor:
        return restorer.restore_any(torch.where(mask, WHITE, rgb))

    return with_mask if restorer.model.config.in_channels == 4 else with_white


def fill(rgb: Tensor, mask: Mask, paint: Paint, filling: Filling) -> Tensor:
    """(3, h, w) with all of its holes (h, w) filled.

    The picture is reduced until its holes are within the network's reach, and filled; then,
    level by level, the network paints its rim anew, with that filling inside.
    """
    levels = pyramid(rgb, torch.from_numpy(mask), filling)
    small, hole = levels.pop()
    filled = composite(small, hole, paint(small, hole))
    while levels:
        larger, hole = levels.pop()
        filled = refine(larger, hole, filled, paint, filling)
    return filled


def pyramid(rgb: Tensor, mask: Tensor, filling: Filling) -> list[tuple[Tensor, Tensor]]:
    """The picture and its holes at ever half the size, until all is within reach."""
    levels = [(rgb, mask)]
    depth = depth_of(mask.numpy()).max()
    while depth > filling.reach and min(levels[-1][1].shape) >= 2 * filling.smallest:
        levels.append(halve(*levels[-1]))
        depth /= 2
    return levels


def refine(rgb: Tensor, mask: Tensor, coarse: Tensor, paint: Paint, filling: Filling) -> Tensor:
    """A level's filling from the coarser one's, which is taken for known beyond the reach.

    There is something on both sides of what is left to paint, as there is of a stroke.
    """
    start = composite(rgb, mask, double(coarse, mask.shape))
    depth = torch.from_numpy(depth_of(mask.numpy()))
    rim = mask & (depth <= filling.reach)
    painted = composite(start, rim, paint(start, rim))
    near = ((filling.reach - depth) / (filling.reach / 2)).clamp(0, 1)
    return composite(rgb, mask, near * painted + (1 - near) * start)
