"""Holes filled: each with its surroundings, from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from adacode_cli.restore.inpainting.choice import DEFAULT, Texture
from adacode_cli.restore.inpainting.holes import Hole, Mask, depth_of, find_holes
from adacode_cli.restore.inpainting.pyramid import blurred, composite, double, halve
from adacode_cli.restore.inpainting.texture import is_deep, textured
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import OnTile

Paint = Callable[[Tensor, Tensor], Tensor]  # rgb and mask → rgb
MIRRORED = 0.42  # the mirror image's say; more wins fidelity and loses sharpness
CONFETTI = 0.9  # pixels: how far a drawing's colours are smoothed
BT601 = (0.299, 0.587, 0.114)  # how bright red, green and blue are
WHITE = 1.0  # what the published network was taught to take for a hole


@dataclass(frozen=True)
class Filling:
    """How holes are filled; lengths in pixels."""

    near: int = 32  # holes this close are filled together
    context: int = 96  # what is seen around a hole at least
    surround: float = 1.0  # the same, × the hole's longer side
    reach: int = 48  # how far from the rim one pass of the network fills well
    smallest: int = 48  # a side of the coarsest level, at least
    texture: Texture = DEFAULT  # how much of dull holes may be pieces of what is around

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a texture that there isn't."""
        object.__setattr__(self, "texture", Texture(self.texture))


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
    # Other holes are no context.
    works = [Work(hole, mask[hole.rows, hole.columns], filling) for hole in holes]
    done, of = count(1), sum(work.steps for work in works)

    def step() -> None:
        number = next(done)
        if on_tile:
            on_tile(number, of)

    for work in works:
        hole, inside = work.hole, torch.from_numpy(work.hole.mask)
        known = rgb[:, hole.rows, hole.columns]
        part = fill(known, work, painter(restorer), filling, step)
        if work.textured:
            part = textured(known, work.unknown, part, filling.texture)
            step()
        filled[:, hole.rows, hole.columns][:, inside] = restorer.finished(part[:, inside])
    return filled


class Work:
    """A hole, what is unknown around it, and how much there is to do.

    levels: how often its surroundings are halved. textured: whether it takes patches, too.
    """

    def __init__(self, hole: Hole, unknown: Mask, filling: Filling) -> None:
        self.hole, self.unknown = hole, unknown
        depth = depth_of(unknown)
        self.levels = levels_for(float(depth.max()), min(unknown.shape), filling)
        self.textured = is_deep(torch.from_numpy(depth[hole.mask]), filling.texture)

    @property
    def steps(self) -> int:
        """Levels to paint, and one for texture."""
        return self.levels + 1 + self.textured


def painter(restorer: Restorer) -> Paint:
    """What the network paints in the holes of a picture.

    Ours takes the mask as a fourth channel; the published one sees the holes as white paint.
    """

    def with_mask(rgb: Tensor, mask: Tensor) -> Tensor:
        return restorer.restore_any(torch.cat([rgb, mask.to(rgb)[None]]))

    def with_white(rgb: Tensor, mask: Tensor) -> Tensor:
        return restorer.restore_any(torch.where(mask, WHITE, rgb))

    return steadied(with_mask) if restorer.model.config.in_channels == 4 else with_white


def steadied(paint: Paint) -> Paint:
    """The same, its brightness drawn towards that of what it paints for the mirror image.

    paint: (3, h, w) and holes (h, w) → (3, h, w).

    Where the two differ, both are guesses, and what lies between is nearer the truth. Colours are
    the first one's: their differences are seen less, and means of them are grayer.
    """

    def both(rgb: Tensor, mask: Tensor) -> Tensor:
        painted = paint(rgb, mask)
        mirrored = paint(rgb.flip(2), mask.flip(1)).flip(2)
        return painted + MIRRORED * brightness(mirrored - painted)

    return both


def brightness(rgb: Tensor) -> Tensor:
    """(3, h, w) → (1, h, w), by BT.601."""
    return torch.einsum("c,chw->hw", rgb.new_tensor(BT601), rgb)[None]


def fill(
    rgb: Tensor, work: Work, paint: Paint, filling: Filling, step: Callable[[], None]
) -> Tensor:
    """(3, h, w) with all of its holes filled; ``step`` is called after every level.

    The picture is reduced until its holes are within the network's reach, and filled; then,
    level by level, the network paints its rim anew, with that filling inside.
    """
    levels = [(rgb, torch.from_numpy(work.unknown))]
    for _ in range(work.levels):
        levels.append(halve(*levels[-1]))
    small, hole = levels.pop()
    filled = composite(small, hole, paint(small, hole))
    step()
    while levels:
        larger, hole = levels.pop()
        filled = refine(larger, hole, filled, paint, filling)
        step()
    return composite(rgb, torch.from_numpy(work.unknown), even_coloured(filled))


def even_coloured(rgb: Tensor) -> Tensor:
    """(3, h, w) without what is finest in its colours, which in a drawing is confetti."""
    gray = brightness(rgb)
    return gray + blurred(rgb - gray, CONFETTI)


def levels_for(depth: float, side: int, filling: Filling) -> int:
    """How often a picture is halved until holes so deep are within reach."""
    levels = 0
    while depth > filling.reach and side >= 2 * filling.smallest:
        depth, side, levels = depth / 2, -(-side // 2), levels + 1
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
