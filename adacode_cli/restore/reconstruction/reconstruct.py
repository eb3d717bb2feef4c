"""To codes and back: what the prior alone knows of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from adacode_cli.counted import counted
from adacode_cli.model.adacode import AdaCode, indices_of
from adacode_cli.model.config import CODE_STRIDE
from adacode_cli.restore.bands.banded import stored
from adacode_cli.restore.bands.run import bands
from adacode_cli.restore.reconstruction.codes import Codes, CodesError
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import OnTile
from adacode_cli.restore.way import Way, persevere


def encode(restorer: Restorer, image: Tensor, on_tile: OnTile | None = None) -> Codes:
    """The codes of (C, H, W), C as the network takes it.

    What runs out of memory or precision goes on as ``Restorer.bands`` does.
    """
    height, width = (restorer.scale * n for n in image.shape[1:])
    multiple = restorer.scale * restorer.model.config.multiple
    padded = -(-height // multiple) * multiple

    def compute(way: Way, top: int) -> Iterator[Tensor]:
        restorer.move_to(way.device)
        wanted = restorer.noted(image, way, codes_of)
        step, first = max(1, way.rows // CODE_STRIDE), top // CODE_STRIDE
        for _, (indices, weights, z) in bands(wanted, step, first):
            if not torch.isfinite(z.sum()):  # codes of what is no number look like any others
                raise FloatingPointError
            yield torch.cat([indices[0].float(), weights[0].float()]).cpu()  # (2·K, n, w)

    way = restorer.way(height, width)
    ladder = persevere(way, padded, compute, restorer.notes.append, on_tile, CODE_STRIDE)
    indices, weights = gathered(ladder).chunk(2)
    return Codes(indices.numpy().astype(np.uint16), weights.numpy(), (width, height))


def decode(restorer: Restorer, codes: Codes, on_tile: OnTile | None = None) -> Tensor:
    """The picture of codes alone, (3, H, W) in [0, 1]; the same every time on one machine.

    Raises ``CodesError`` for codes that this network doesn't have.
    """
    check_fit(restorer, codes)
    width, height = codes.size

    def compute(way: Way, top: int) -> Iterator[Tensor]:
        restorer.move_to(way.device)
        with way.computing():
            noted = restorer.foreseen(partial(picture_of, restorer.model, codes, way.device))
        for _, (drawn,) in bands(noted, way.rows, top, height):
            yield drawn[0, :, :, :width].float().cpu()

    way = restorer.way(height, width)
    return gathered(persevere(way, height, compute, restorer.notes.append, on_tile)).clamp_(0, 1)


def codes_of(model: AdaCode, batch: Tensor) -> list[Tensor]:
    """Indices, weights and features of a batch, as what is to be computed; nothing is decoded."""
    features, quantised, weight = model.encode(batch)
    return [indices_of(quantised), weight, features.z]


def picture_of(model: AdaCode, codes: Codes, device: torch.device) -> list[Tensor]:
    """What codes and weights mean, drawn: (1, 3, 8h, 8w), as what is to be computed."""
    return [model.decode(model.represent(*(stored(t, device) for t in codes.tensors)))]


def gathered(rows: Iterable[Tensor]) -> Tensor:
    """Bands (C, n, w), one below the other."""
    return torch.cat(list(rows), dim=1)


def check_fit(restorer: Restorer, codes: Codes) -> None:
    """Raise ``CodesError`` where the network has no such codes or they don't fill the picture."""
    books = restorer.model.config.codebooks
    if len(codes.indices) != len(books):
        found = counted(len(codes.indices), "codebook")
        raise CodesError(f"codes of {found}; the network has {len(books)}")
    for book, indices in zip(books, codes.indices, strict=True):
        if indices.max() >= book.codes:
            raise CodesError(f"code {indices.max()} of {book.name}, which has {book.codes}")
    height, width = (CODE_STRIDE * n for n in codes.indices.shape[1:])
    if codes.size[0] > width or codes.size[1] > height or min(codes.size) < 1:
        raise CodesError(f"codes of {width}×{height} pixels can't be a picture of {codes.size}")
