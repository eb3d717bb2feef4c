"""What a network draws far from anything known is smooth; texture comes from the picture around.

The wider a hole, the more of it is made of pieces of its picture: nothing of what is thin, some of
what is broader, as far as the drawing is dull there, and all of what is wide. So the network says
what belongs where and in which tones, and the photo what it looks like from near.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from adacode_cli.restore.inpainting.choice import Texture
from adacode_cli.restore.inpainting.holes import Mask, depth_of
from adacode_cli.restore.inpainting.montage import Level
from adacode_cli.restore.inpainting.patch_match import widened
from adacode_cli.restore.inpainting.pyramid import composite, smooth
from adacode_cli.restore.inpainting.synthesis import levels_of, missing, synthesised

# How far from what is known a place is in its middle, pixels: thin places are drawn, with some
# patches; wide ones made of patches in the tones of the drawing; the widest have their own tones.
WIDE = {Texture.some: (48, 64), Texture.all: (8, 16)}
WIDEST = {Texture.some: (64, 96), Texture.all: (16, 32)}
# Pixels from what is known: up to the first the drawing alone, from the second on patches.
THIN_RIM, WIDE_RIM, WIDEST_RIM = (6, 14), (2, 6), (0, 1)
STEPS, GRADUAL = 8, 2.0  # from thin to wide, and how gradual each is, pixels
APPROXIMATELY = 1.03  # OpenCV measures distances nearly
MARGIN = 8  # pixels of the drawing beyond those, which patches have to agree with
TONES, WIDE_TONES = 6.0, 8.0  # pixels: what varies more slowly is tone, and the rest texture
FINE, ROUND = 3.0, 6.0  # pixels: what textures are compared by, and over how many
DULL = 4.0  # times as lively patches are where a thin drawing takes as much of them as it may
MOST = 0.3  # and how much that is


def textured(rgb: Tensor, mask: Mask, drawn: Tensor, much: Texture = Texture.some) -> Tensor:
    """``drawn`` with texture where its holes are deep: (3, h, w) in [0, 1], holes (h, w).

    rgb: the same where it is known. The same drawing always gets the same texture.
    """
    depth = torch.from_numpy(depth_of(mask))
    if not is_deep(depth, much):
        return drawn
    wide, widest = (share_within(depth, *bounds) for bounds in (WIDE[much], WIDEST[much]))
    inside = share_of_patches(depth, wide, widest)
    unknown = torch.from_numpy(mask)
    sought = unknown & widened(inside > 0, MARGIN)
    start = Level(composite(rgb, unknown & ~sought, drawn), sought, drawn, unknown)
    found = synthesised(levels_of(start))
    if found is None:
        return drawn
    made, around, field = found
    thin, broad = (smooth(drawn - made, sought, sigma) for sigma in (TONES, WIDE_TONES))
    own = missing(around, field) if widest.any() else 0.0
    made = made + mixed(widest, mixed(wide, thin, broad), own)
    share = inside * mixed(wide, MOST * dullness(drawn, made, sought), 1.0)
    return composite(drawn, sought, mixed(share, drawn, made))


def is_deep(depth: Tensor, much: Texture = Texture.some) -> bool:
    """Whether anything is so far from what is known that it needs texture."""
    return much is not Texture.none and bool(depth.max() > THIN_RIM[0])


def share_within(depth: Tensor, thin: int, wide: int) -> Tensor:
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


def share_of_patches(depth: Tensor, wide: Tensor, widest: Tensor) -> Tensor:
    """How much may be patches, by depth (h, w): from their rim on only in wide places."""
    begins, whole = (
        mixed(widest, mixed(wide, thin, rim), innermost)
        for thin, rim, innermost in zip(THIN_RIM, WIDE_RIM, WIDEST_RIM, strict=True)
    )
    return ((depth - begins) / (whole - begins)).clamp(0, 1)


def mixed(share: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """From a (0) to b (1)."""
    return (1 - share) * a + share * b


def dullness(drawn: Tensor, made: Tensor, mask: Tensor) -> Tensor:
    """Where in the holes (h, w) a drawing (3, h, w) lacks the texture that patches have: 0 to 1.

    The network draws some texture itself, and what it draws fits; where it is as lively as the
    patches are, it is left alone.
    """
    more = liveliness(made, mask) / liveliness(drawn, mask)
    return (torch.log(more) / math.log(DULL)).clamp(0, 1)


def liveliness(x: Tensor, mask: Tensor) -> Tensor:
    """The variance of the texture of (3, h, w) around each pixel of the holes (h, w)."""
    fine = (x - smooth(x, mask, FINE)).mean(dim=0, keepdim=True)
    return smooth(fine.square(), mask, ROUND)[0] + 1e-6
