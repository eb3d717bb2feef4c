"""What a network draws far from anything known is smooth; texture comes from the picture around.

The drawing is reduced until patches see across it, becomes something made of patches there, and
that, level by level, is enlarged and made to fit again. So the network says what belongs where and
in which tones, and the photo what it looks like from near.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from adacode_cli.restore.inpainting.holes import Mask, depth_of
from adacode_cli.restore.inpainting.patch_match import (
    Search,
    Surroundings,
    agree,
    enlarged,
    synthesise,
    widened,
)
from adacode_cli.restore.inpainting.pyramid import composite, half, halve

# Pixels from what is known: the drawing alone up to here, patches as well from there; in wide
# places, patches.
THIN, WIDE = (6, 14), (0, 1)
WIDTHS = (64, 96)  # depth of a thin place, and of a wide one
MARGIN = 8  # pixels of the drawing beyond those, which patches have to agree with
TONES = 3.0  # pixels: what varies more slowly is tone, and the rest texture
ROUND = 6.0  # pixels, over which two textures are compared
DULL = 4.0  # times as lively patches are where a thin drawing takes as much of them as it may
MOST = 0.5  # and how much that is
NEARBY = 96  # pixels, within which a place is as wide as its widest
COARSEST = 12  # depth of the holes that patches see across
SMALLEST = 48  # a side of a level, at least
FEWEST = 64, 0.02  # places to take patches from, and as a share of those that need some
LARGEST = 1 << 21  # pixels of a level, up to which patches are searched for
FIRST, MIDDLE, LAST = Search(8, 3, 1 << 16), Search(4, 2, 8), Search(2, 2, 8)


class Level(NamedTuple):
    """The picture at some size, (3, h, w), and what is to become of it, (h, w).

    rgb: the photo, and the drawing where that is good enough. mask: what is to be made of
    patches. drawn: the drawing there, too. unknown: where patches may not come from.
    """

    rgb: Tensor
    mask: Tensor
    drawn: Tensor
    unknown: Tensor


def textured(rgb: Tensor, mask: Mask, drawn: Tensor) -> Tensor:
    """``drawn`` with texture where its holes are deep: (3, h, w) in [0, 1], holes (h, w).

    rgb: the same where it is known. The same drawing always gets the same texture.
    """
    depth = torch.from_numpy(depth_of(mask))
    if not is_deep(depth):
        return drawn
    unknown, wide = torch.from_numpy(mask), width_of(depth)
    inside = share_of_patches(depth, wide)
    sought = unknown & widened(inside > 0, MARGIN)
    start = Level(composite(rgb, unknown & ~sought, drawn), sought, drawn, unknown)
    made = synthesised(levels_of(start))
    if made is None:
        return drawn
    made = made + (1 - wide) * smooth(drawn - made, sought)  # wide drawings have no tones
    share = inside * (wide + (1 - wide) * MOST * dullness(drawn, made, sought))
    return composite(drawn, sought, share * made + (1 - share) * drawn)


def is_deep(depth: Tensor) -> bool:
    """Whether anything is so far from what is known that it needs texture."""
    return bool(depth.max() > THIN[0])


def width_of(depth: Tensor) -> Tensor:
    """How wide the place around each pixel is, by the depth of the holes (h, w): 0 to 1."""
    square = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * NEARBY + 1,) * 2)
    deepest = torch.from_numpy(cv2.dilate(depth.numpy(), square))
    return ((deepest - WIDTHS[0]) / (WIDTHS[1] - WIDTHS[0])).clamp(0, 1)


def share_of_patches(depth: Tensor, wide: Tensor) -> Tensor:
    """How much may be patches, by depth (h, w): from their rim on only in wide places."""
    begins, whole = (thin + wide * (rim - thin) for thin, rim in zip(THIN, WIDE, strict=True))
    return ((depth - begins) / (whole - begins)).clamp(0, 1)


def dullness(drawn: Tensor, made: Tensor, mask: Tensor) -> Tensor:
    """Where in the holes (h, w) a drawing (3, h, w) lacks the texture that patches have: 0 to 1.

    The network draws some texture itself, and what it draws fits; where it is as lively as the
    patches are, it is left alone.
    """
    more = liveliness(made, mask) / liveliness(drawn, mask)
    return (torch.log(more) / math.log(DULL)).clamp(0, 1)


def liveliness(x: Tensor, mask: Tensor) -> Tensor:
    """The variance of the texture of (3, h, w) around each pixel of the holes (h, w)."""
    fine = (x - smooth(x, mask)).mean(dim=0, keepdim=True)
    return smooth(fine.square(), mask, ROUND)[0] + 1e-6


def smooth(x: Tensor, mask: Tensor, sigma: float = TONES) -> Tensor:
    """What of ``x`` (C, h, w) varies slowly, seen within the holes (h, w) alone."""
    within = mask.float().numpy()
    share = np.maximum(cv2.GaussianBlur(within, (0, 0), sigma), 1e-6)
    parts = [cv2.GaussianBlur(plane * within, (0, 0), sigma) / share for plane in x.numpy()]
    return torch.from_numpy(np.stack(parts))


def levels_of(level: Level) -> list[Level]:
    """Picture, holes and drawing at ever half the size, until patches see across the holes."""
    levels = [level]
    depth = depth_of(level.mask.numpy()).max()
    while (depth > COARSEST or level.mask.numel() > LARGEST) and min(
        level.mask.shape
    ) >= 2 * SMALLEST:
        level = halved(level)
        levels.append(level)
        depth /= 2
    return levels


def halved(level: Level) -> Level:
    """The same at half the size."""
    rgb, mask = halve(level.rgb, level.mask)
    unknown = half(level.unknown[None].float())[0] > 0
    return Level(rgb, mask, composite(rgb, mask, half(level.drawn)), unknown)


def synthesised(levels: list[Level]) -> Tensor | None:
    """The first of ``levels`` made of patches, from the last one on; None where there are none."""
    generator = torch.Generator().manual_seed(0)
    made = before = None
    for number, (rgb, mask, drawn, unknown) in reversed(list(enumerate(levels))):
        around = Surroundings(rgb, mask, unknown, generator)
        fewest = max(FEWEST[0], FEWEST[1] * len(around.targets))
        too_large = before is None and mask.numel() > LARGEST
        if len(around.sources) < fewest or too_large:
            made = before = None
            continue
        if before is None:
            search = replace(FIRST, farthest=max(mask.shape) // 2)
            made, field = synthesise(around, drawn, None, search)
        else:
            field = around.completed(enlarged(field, before, around))
            made = agree(around, field, around.credibility)
            if mask.numel() <= LARGEST:
                made, field = synthesise(around, made, field, MIDDLE if number else LAST)
        before = around
    return made
