"""A whole Picture through the network: colour, and transparency by the same model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.picture import Picture, Plane
from adacode_cli.restore.restorer import Restorer


def restore_picture(
    restorer: Restorer, picture: Picture, on_tile: Callable[[int, int], None] | None = None
) -> Picture:
    """The restored picture at its depth, with its alpha and metadata."""
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None:
        rgb = fill_transparent(rgb, alpha)
    restored = restorer(torch.from_numpy(rgb), on_tile).numpy()
    return picture.with_pixels(
        restored, None if alpha is None else restore_alpha(restorer, alpha, on_tile)
    )


def restore_alpha(
    restorer: Restorer, alpha: Plane, on_tile: Callable[[int, int], None] | None = None
) -> Plane:
    """Alpha as a gray picture: (H, W) → (s·H, s·W). What was all one value stays so."""
    if alpha.min() == alpha.max():
        return np.full([restorer.scale * n for n in alpha.shape], alpha.flat[0], np.float32)
    gray = np.ascontiguousarray(np.broadcast_to(alpha, (3, *alpha.shape)))
    return np.asarray(restorer(torch.from_numpy(gray), on_tile).numpy().mean(0))
