"""To codes and back: what the prior alone knows of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adacode_cli.model.config import CODE_STRIDE
from adacode_cli.restore.bands import bands, stored
from adacode_cli.restore.codes import Codes, CodesError
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import OnTile


def encode(restorer: Restorer, image: Tensor, on_tile: OnTile | None = None) -> Codes:
    """The codes of (C, H, W), C as the network takes it."""
    height, width = (restorer.scale * n for n in image.shape[1:])
    way = restorer.way(height, width)
    noted = restorer.noted(image, way)
    indices, weights = in_bands(
        [noted.indices, noted.weight_map], max(1, way.rows // CODE_STRIDE), on_tile
    )
    return Codes(indices[0].numpy().astype(np.uint16), weights[0].float().numpy(), (width, height))


def decode(restorer: Restorer, codes: Codes, on_tile: OnTile | None = None) -> Tensor:
    """The picture of codes alone, (3, H, W) in [0, 1]; the same every time on one machine.

    Raises ``CodesError`` for codes that this network doesn't have.
    """
    check_fit(restorer, codes)
    width, height = codes.size
    way = restorer.way(height, width)
    with way.computing():
        merged = restorer.model.represent(*(stored(t, way.device) for t in codes.tensors))
        image = restorer.model.decode(merged)
    (drawn,) = in_bands([image], way.rows, on_tile)
    return restorer.finished(drawn[0, :, :height, :width].float())


def in_bands(wanted: Sequence[Any], step: int, on_tile: OnTile | None) -> list[Tensor]:
    """The whole maps, which are of one height, on the host; computed ``step`` rows at a time."""
    height = wanted[0].shape[-2]
    parts = []
    for top, rows in bands(wanted, step):
        parts.append([part.cpu() for part in rows])
        if on_tile and step < height:
            on_tile(top // step + 1, -(-height // step))
    return [torch.cat(column, dim=-2) for column in zip(*parts, strict=True)]


def check_fit(restorer: Restorer, codes: Codes) -> None:
    """Raise ``CodesError`` where the network has no such codes or they don't fill the picture."""
    books = restorer.model.config.codebooks
    if len(codes.indices) != len(books):
        raise CodesError(f"codes of {len(codes.indices)} codebooks; the network has {len(books)}")
    for book, indices in zip(books, codes.indices, strict=True):
        if indices.max() >= book.codes:
            raise CodesError(f"code {indices.max()} of {book.name}, which has {book.codes}")
    height, width = (CODE_STRIDE * n for n in codes.indices.shape[1:])
    if codes.size[0] > width or codes.size[1] > height or min(codes.size) < 1:
        raise CodesError(f"codes of {width}×{height} pixels can't be a picture of {codes.size}")
