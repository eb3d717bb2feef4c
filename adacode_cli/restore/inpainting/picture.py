"""A whole Picture with its holes filled, and not a bit changed elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.masks import ALPHA, MaskChoice, MaskFiles, doubts, feathered, holes_in
from adacode_cli.images.picture import Picture, Plane, to_samples
from adacode_cli.restore.inpainting.choice import DEFAULT, Texture
from adacode_cli.restore.inpainting.holes import Mask
from adacode_cli.restore.inpainting.inpaint import Filling, inpaint
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import OnTile


def inpaint_picture(
    restorer: Restorer,
    picture: Picture,
    choice: MaskChoice,
    on_tile: OnTile | None = None,
    *,
    texture: Texture = DEFAULT,
    files: MaskFiles | None = None,
) -> Picture:
    """The picture with its holes filled, at its depth; known samples are the file's own."""
    mask = holes_in(picture, choice, files or MaskFiles())
    picture = picture.noting(*filter(None, [doubts(mask, choice)]))
    if not mask.any():
        return picture
    rgb = picture.rgb
    if picture.alpha is not None:
        # What is to be removed must not lend its colour to what nobody sees.
        rgb = fill_transparent(rgb, np.where(mask, 0, picture.alpha))
    restorer.notes.clear()
    filling = Filling(texture=texture)
    filled = inpaint(restorer, torch.from_numpy(rgb), mask, filling, on_tile).numpy()
    if choice.feather:
        share = feathered(mask, choice.feather)
        filled = picture.rgb * (1 - share) + filled * share
    picture = picture.noting(*restorer.notes)
    return with_filling(picture, filled, mask, opaque=choice.mask == ALPHA)


def with_filling(picture: Picture, filled: Plane, mask: Mask, *, opaque: bool) -> Picture:
    """``filled`` in the samples of the holes; ``opaque``: and they are seen."""
    samples = picture.samples.copy()
    count = 1 if picture.gray else 3
    hole = filled[:, mask]  # (3, N)
    colour = hole.mean(axis=0, keepdims=True) if picture.gray else hole
    samples[mask, :count] = to_samples([colour[:, :, None]], picture.depth)[:, 0]
    if opaque:
        samples[mask, count:] = np.iinfo(samples.dtype).max
    return replace(picture, samples=samples)
