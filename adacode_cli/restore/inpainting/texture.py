"""What a network draws far from anything known is smooth; texture comes from the picture around.

Where a drawing lacks the texture that it should have, it is made of pieces of its picture instead:
little of what is thin, more of what is wide. So the network says what belongs where, and the photo
what it looks like from near. A drawing stays where it is as lively as it should be, since it fits,
and in narrow places where the pieces are livelier than that. In the widest, where it is fog, there
is nothing to fall back on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from adacode_cli.model.fill import fill_holes
from adacode_cli.restore.inpainting.choice import DEFAULT, Texture
from adacode_cli.restore.inpainting.holes import Mask, depth_of
from adacode_cli.restore.inpainting.montage import Level
from adacode_cli.restore.inpainting.patch_match import widened
from adacode_cli.restore.inpainting.pyramid import composite, smooth
from adacode_cli.restore.inpainting.synthesis import Synthesis, levels_of, missing, synthesised

Range = tuple[float, float]
THIN_SHARE = 0.3  # of pieces in thin places, if they are so many times as lively as the drawing:
THIN_DULL = 1.0, 4.0  # none up to the first, the share from the second on
ALIEN = 3.0, 8.0  # times as lively as a narrow place should be: none of the pieces is alien; all
STEPS, GRADUAL = 8, 2.0  # from thin to wide, and how gradual each is, pixels
APPROXIMATELY = 1.03  # OpenCV measures distances nearly
MARGIN = 8  # pixels of the drawing beyond those, which pieces have to agree with
TONES, WIDE_TONES = 6.0, 8.0  # pixels: what varies more slowly is tone, and the rest texture
FAINT = 1.5e-5  # variance of a level of 255: to the eye, texture that is fainter is none
FINE, ROUND = 3.0, 6.0  # pixels: what textures are compared by, and over how many


@dataclass(frozen=True)
class Mixture:
    """Where a filling is drawn, and where it is pieces of its picture.

    wide, widest: how far from what is known a place is in its middle, pixels. Thin places are
    drawn, with some pieces; in wide ones pieces have the tones of the drawing, and in the widest
    their own. thin_rim, wide_rim, widest_rim: pixels from what is known, up to which there is the
    drawing alone, and from which on there is all that may be pieces. share: of pieces in wide
    places; in the widest they may be all. dull, for these two: how many times as lively as the
    drawing a place should be, by what is around; up to the first the drawing stays, from the second
    on pieces replace it.
    """

    wide: Range
    widest: Range
    thin_rim: Range
    wide_rim: Range
    widest_rim: Range
    share: float
    dull: Range


MIXTURES = {
    Texture.some: Mixture(
        wide=(12, 20),
        widest=(48, 64),
        thin_rim=(6, 14),
        wide_rim=(4, 10),
        widest_rim=(2, 6),
        share=0.35,
        dull=(3.0, 6.0),
    ),
    Texture.all: Mixture(
        wide=(4, 8),
        widest=(16, 32),
        thin_rim=(3, 8),
        wide_rim=(1, 4),
        widest_rim=(0, 1),
        share=1.0,
        dull=(1.5, 3.0),
    ),
}


def textured(rgb: Tensor, mask: Mask, drawn: Tensor, much: Texture = DEFAULT) -> Tensor:
    """``drawn`` with texture where its holes lack it: (3, h, w) in [0, 1], holes (h, w).

    rgb: the same where it is known. The same drawing always gets the same texture.
    """
    depth = torch.from_numpy(depth_of(mask))
    if not is_deep(depth, much):
        return drawn
    mixture = MIXTURES[much]
    wide, widest = (share_within(depth, *bounds) for bounds in (mixture.wide, mixture.widest))
    inside = share_by_depth(depth, wide, widest, mixture)
    unknown = torch.from_numpy(mask)
    sought = unknown & widened(inside > 0, MARGIN)
    start = Level(composite(rgb, unknown & ~sought, drawn), sought, drawn, unknown)
    found = synthesised(levels_of(start))
    if found is None:
        return drawn
    made = in_tones(drawn, found, wide, widest)
    thin, broad, alien = lacking(start, made, mixture.dull)
    narrow = mixed(wide, THIN_SHARE * thin, mixture.share * broad) * (1 - alien)
    return composite(drawn, sought, mixed(inside * mixed(widest, narrow, broad), drawn, made))


def lacking(level: Level, made: Tensor, dull: Range) -> tuple[Tensor, Tensor, Tensor]:
    """Where a drawing lacks texture that pieces (3, h, w) have: if it is thin, if not: (h, w).

    And where the pieces are alien. All from 0 to 1. dull: how many times as lively as the drawing a
    place that isn't thin should be.
    """
    expected = expected_liveliness(level)
    own, theirs = (liveliness(x, level.mask) for x in (level.drawn, made))
    ratios = (theirs / own, THIN_DULL), (expected / own, dull), (theirs / expected, ALIEN)
    thin, broad, alien = (exceeding(times, bounds) for times, bounds in ratios)
    return thin, broad, alien


def is_deep(depth: Tensor, much: Texture) -> bool:
    """Whether anything is so far from what is known that it needs texture."""
    return much is not Texture.none and bool(depth.max() > MIXTURES[much].thin_rim[0])


def in_tones(drawn: Tensor, found: Synthesis, wide: Tensor, widest: Tensor) -> Tensor:
    """Pieces in the tones of the drawing (3, h, w), or with their own where it is widest (h, w)."""
    made, around, field = found
    tones = [smooth(drawn - made, around.mask, sigma) for sigma in (TONES, WIDE_TONES)]
    own = missing(around, field) if widest.any() else 0.0
    return made + mixed(widest, mixed(wide, *tones), own)


def share_within(depth: Tensor, thin: float, wide: float) -> Tensor:
    """How wide the place around each pixel is, by the depth of the holes (h, w): 0 to 1.

    A place is as wide as the widest disc within the hole that covers it.
    """
    share = np.zeros(depth.shape, np.float32)
    for radius in np.linspace(thin, wide, STEPS):
        outside = (depth.numpy() < radius).astype(np.uint8)
        if outside.all():
            break
        away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5)
        share += (away <= APPROXIMATELY * radius + 1) / STEPS
    return smooth(torch.from_numpy(share)[None], depth > 0, GRADUAL)[0]


def share_by_depth(depth: Tensor, wide: Tensor, widest: Tensor, mixture: Mixture) -> Tensor:
    """How much may be pieces, by depth (h, w): from their rim on only in wide places."""
    rims = zip(mixture.thin_rim, mixture.wide_rim, mixture.widest_rim, strict=True)
    begins, whole = (mixed(widest, mixed(wide, a, b), c) for a, b, c in rims)
    return ramp(depth, begins, whole)


def ramp(x: Tensor, begins: Tensor | float, whole: Tensor | float) -> Tensor:
    """0 up to where it begins, 1 from where it is whole."""
    return ((x - begins) / (whole - begins)).clamp(0, 1)


def mixed(share: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """From a (0) to b (1)."""
    return (1 - share) * a + share * b


def exceeding(times: Tensor, bounds: Range) -> Tensor:
    """Ratios as 0 up to the first of the bounds, and 1 from the second on."""
    begins, whole = (math.log(bound) for bound in bounds)
    return ramp(torch.log(times), begins, whole)


def expected_liveliness(level: Level) -> Tensor:
    """How lively the holes of a picture should be, by what is around them: (h, w)."""
    unknown = level.unknown
    known = torch.log(liveliness(level.rgb, ~unknown))
    filled = fill_holes(known[None, None], unknown[None, None].to(known))
    return torch.exp(filled[0, 0])


def liveliness(x: Tensor, mask: Tensor) -> Tensor:
    """The variance of the texture of (3, h, w) around each pixel of some places (h, w)."""
    fine = (x - smooth(x, mask, FINE)).mean(dim=0, keepdim=True)
    return smooth(fine.square(), mask, ROUND)[0] + FAINT
