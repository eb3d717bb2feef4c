"""A whole Picture through the network: colour, and transparency by the same model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.picture import Picture, Plane
from adacode_cli.images.target import Target, passes, resized
from adacode_cli.restore.restorer import Restorer

OnTile = Callable[[int, int], None]


def restore_picture(restorer: Restorer, picture: Picture, on_tile: OnTile | None = None) -> Picture:
    """The restored picture at its depth, with its alpha and metadata."""
    return enlarge_picture(restorer, picture, Target(scale=restorer.scale), on_tile)


def enlarge_picture(
    restorer: Restorer, picture: Picture, target: Target, on_tile: OnTile | None = None
) -> Picture:
    """The same at any size: enlarged as often as it takes, then reduced once.

    A picture that is large enough comes back as it is.
    """
    size = target.size_for(picture.size)
    if size == picture.size:
        return picture
    times = passes(target.factor(picture.size), restorer.scale)
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None:
        rgb = fill_transparent(rgb, alpha)
    for _ in range(times):
        rgb = restorer.restore(torch.from_numpy(rgb), on_tile).numpy()
        alpha = None if alpha is None else restore_alpha(restorer, alpha, on_tile)
    shown = None if alpha is None else resized(alpha[None], size)[0]
    return picture.with_pixels(resized(rgb, size), shown)


def restore_alpha(restorer: Restorer, alpha: Plane, on_tile: OnTile | None = None) -> Plane:
    """Alpha as a gray picture: (H, W) → (s·H, s·W). What was all one value stays so."""
    if alpha.min() == alpha.max():
        return np.full([restorer.scale * n for n in alpha.shape], alpha.flat[0], np.float32)
    gray = np.ascontiguousarray(np.broadcast_to(alpha, (3, *alpha.shape)))
    return np.asarray(restorer.restore(torch.from_numpy(gray), on_tile).numpy().mean(0))
