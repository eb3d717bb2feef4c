"""A hole made of pieces of its picture.

The picture is reduced until any piece can be tried anywhere, and it is told what goes where; that,
level by level, is enlarged and made to fit again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adacode_cli.model.fill import fill_holes
from adacode_cli.restore.inpainting.montage import (
    FEW,
    Level,
    chosen,
    finds_of,
    places_of,
    shifts_of,
)
from adacode_cli.restore.inpainting.patch_match import (
    Surroundings,
    agree,
    enlarged,
    synthesise,
)
from adacode_cli.restore.inpainting.pyramid import smooth

Synthesis = tuple[Tensor, Surroundings, Tensor]  # a picture, where its patches lie, and which
SMALLEST = 24  # a side of a level, at least
SMALL = 90_000  # pixels of a level for which shifts are chosen one by one
FEWEST = 64, 0.02  # places to take patches from, and as a share of those that need some
LARGEST = 1 << 21  # pixels of a level, up to which patches are searched for
RIM_TONES, FAR = 4.0, 0.1  # pixels; and what is farther apart than that, of 1, is something else


def levels_of(level: Level) -> list[Level]:
    """Picture, holes and drawing at ever half the size, until any shift can be tried anywhere.

    A narrow picture ends before that.
    """
    levels = [level]
    while (level.mask.numel() > SMALL or places_of(level).sum() > FEW) and min(
        level.mask.shape
    ) >= 2 * SMALLEST:
        level = level.halved()
        levels.append(level)
    return levels


def synthesised(levels: list[Level]) -> Synthesis | None:
    """The first of ``levels`` made of patches, and which; None where there are none.

    In one of them it is told what goes where; from there on it is enlarged and made to fit.
    """
    generator = torch.Generator().manual_seed(0)
    small = (n for n, level in enumerate(levels) if level.mask.numel() <= SMALL)
    for begin in reversed(range(next(small, len(levels) - 1) + 1)):
        around = around_of(levels[begin], generator)
        if len(around.sources) >= max(FEWEST[0], FEWEST[1] * len(around.pixels)):
            break
    else:
        return None
    if around.mask.numel() > LARGEST:
        return None
    finds = finds_of(levels[begin], around)
    field = chosen(levels[begin:], shifts_of(around, finds))[around.pixels]
    field = torch.where(field < 0, finds, field)
    made, field = fitted(around, field, search=begin == 0)
    for level in reversed(levels[:begin]):
        before, around = around, around_of(level, generator)
        made, field = fitted(around, enlarged(field, before, around), search=True)
    return made, around, field


def fitted(around: Surroundings, field: Tensor, *, search: bool) -> tuple[Tensor, Tensor]:
    """What the patches at ``field`` (N,) agree on, (3, h, w); if ``search``, better ones nearby."""
    field = around.completed(field)
    made = agree(around, field, around.credibility)
    if search and around.mask.numel() <= LARGEST:
        return synthesise(around, made, field)
    return made, field


def around_of(level: Level, generator: torch.Generator) -> Surroundings:
    """Where a level's patches may come from."""
    return Surroundings(level.rgb, level.mask, level.unknown, generator)


def missing(around: Surroundings, field: Tensor) -> Tensor:
    """What tones a hole lacks at its rim, and less and less of it inside: (3, h, w).

    The patches over the rim show what is known there, lighter or darker: by as much are they
    lighter or darker within. The differences are carried on harmonically, as in Poisson image
    editing (Pérez et al., 2003).
    """
    known = ~around.mask.flatten()[around.pixels]
    at, rgb = around.pixels[known], around.rgb.flatten(1)
    lacks = torch.zeros_like(around.rgb)
    rim = torch.zeros_like(around.mask)
    rim.flatten()[at] = True
    lacks.flatten(1)[:, at] = (rgb[:, at] - rgb[:, field[known]]).clamp(-FAR, FAR)
    y, x = (around.mask | rim).nonzero().unbind(dim=1)
    rows, columns = (slice(int(n.min()), int(n.max()) + 1) for n in (y, x))
    rim = rim[rows, columns]
    even = smooth(lacks[:, rows, columns], rim, RIM_TONES)
    lacks[:, rows, columns] = fill_holes(even[None], (~rim)[None, None].to(even))[0]
    return lacks
