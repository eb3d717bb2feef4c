"""Pictures mirrored up to a size that the network takes."""

from __future__ import annotations

import torch
from torch import Tensor


def pad(batch: Tensor, multiple: int, *, always: bool) -> Tensor:
    """Mirror (B, 3, H, W) at the bottom and right up to a multiple of ``multiple``.

    ``always``: by at least a pixel, as the published inference does.
    """
    h, w = batch.shape[-2:]
    extra = int(always)
    bottom, right = (-(n + extra) % multiple + extra for n in (h, w))
    return mirror(mirror(batch, bottom, 2), right, 3)


def mirror(batch: Tensor, count: int, dim: int) -> Tensor:
    """``count`` more rows or columns, mirrored with the edge, and again where it is small."""
    while count > 0:
        piece = min(count, batch.shape[dim])
        flipped = batch.flip(dim).narrow(dim, 0, piece)
        batch, count = torch.cat([batch, flipped], dim), count - piece
    return batch
