"""A whole Picture through the network: colour, and transparency by the same model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.picture import Picture, PictureInBands, Plane, Samples, whole
from adacode_cli.images.wanted_size import WantedSize, passes, resized
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import OnTile


def restore_picture(restorer: Restorer, picture: Picture, on_tile: OnTile | None = None) -> Picture:
    """The restored picture at its depth, with its alpha and metadata."""
    return whole(enlarge_picture(restorer, picture, WantedSize(scale=restorer.scale), on_tile))


def enlarge_picture(
    restorer: Restorer, picture: Picture, wanted: WantedSize, on_tile: OnTile | None = None
) -> Picture | PictureInBands:
    """The same at any size: enlarged as often as it takes, then reduced once.

    A picture that is large enough comes back as it is. What the network's own magnification
    makes too large for one piece comes in bands, while they are computed.
    """
    size = wanted.size_for(picture.size)
    if size == picture.size:
        return picture
    restorer.notes.clear()
    width, height = (restorer.scale * n for n in picture.size)
    if size == (width, height) and restorer.way(height, width).rows < height:
        return in_bands(restorer, picture, on_tile)
    times = passes(wanted.factor(picture.size), restorer.scale)
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None:
        rgb = fill_transparent(rgb, alpha)
    for _ in range(times):
        rgb = restorer.restore(torch.from_numpy(rgb), on_tile).numpy()
        alpha = None if alpha is None else restore_alpha(restorer, alpha, on_tile)
    shown = None if alpha is None else resized(alpha[None], size)[0]
    return picture.noting(*restorer.notes).with_pixels(resized(rgb, size), shown)


def in_bands(restorer: Restorer, picture: Picture, on_tile: OnTile | None) -> PictureInBands:
    """The picture at the network's magnification, computed while its rows are asked for."""
    notes = list(picture.notes)

    def bands() -> Iterator[Samples]:
        rgb, alpha = picture.rgb, picture.alpha
        if alpha is not None:
            rgb = fill_transparent(rgb, alpha)
            alpha = restore_alpha(restorer, alpha)
        top = 0
        for rows in restorer.bands(torch.from_numpy(rgb), on_tile):
            shown = None if alpha is None else alpha[top : top + rows.shape[1]]
            yield picture.with_pixels(rows.clamp(0, 1).numpy(), shown).samples
            top += rows.shape[1]
        notes.extend(restorer.notes)

    return PictureInBands(
        (restorer.scale * picture.size[0], restorer.scale * picture.size[1]),
        picture.samples.shape[2],
        picture.depth,
        bands(),
        picture.metadata,
        notes,
        picture.source,
        picture.facts,
    )


def restore_alpha(restorer: Restorer, alpha: Plane, on_tile: OnTile | None = None) -> Plane:
    """Alpha as a gray picture: (H, W) → (s·H, s·W). What was all one value stays so."""
    enlarged = np.empty([restorer.scale * n for n in alpha.shape], np.float32)
    if alpha.min() == alpha.max():
        enlarged.fill(alpha.flat[0])
        return enlarged
    gray = np.ascontiguousarray(np.broadcast_to(alpha, (3, *alpha.shape)))
    top = 0
    for rows in restorer.bands(torch.from_numpy(gray), on_tile):
        enlarged[top : top + rows.shape[1]] = rows.clamp(0, 1).mean(0).numpy()
        top += rows.shape[1]
    return enlarged
