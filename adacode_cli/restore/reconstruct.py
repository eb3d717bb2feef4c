"""To codes and back: what the prior alone knows of a picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from adacode_cli.model.config import CODE_STRIDE
from adacode_cli.restore.codes import Codes, CodesError
from adacode_cli.restore.restorer import OVERLAP, TILE, WHOLE, Restorer
from adacode_cli.restore.tiling import Tile, restore_tiled, split

OnTile = Callable[[int, int], None]


def encode(restorer: Restorer, image: Tensor, on_tile: OnTile | None = None) -> Codes:
    """The codes of (C, H, W), C as the network takes it; a large picture's by tiles.

    Where tiles overlap, each brings what lies on its side of the middle.
    """
    scale, multiple = restorer.scale, restorer.model.config.multiple
    _, h, w = image.shape
    if scale * max(h, w) <= WHOLE:
        tiles = [Tile(0, 0, h, w)]
    else:
        tiles = split(h, w, TILE // scale, OVERLAP // scale, multiple)
    parts = []
    for done, tile in enumerate(tiles, start=1):
        rows, columns = (
            slice(tile.top, tile.top + tile.height),
            slice(tile.left, tile.left + tile.width),
        )
        parts.append(restorer.encode_whole(image[:, rows, columns]))
        if on_tile and len(tiles) > 1:
            on_tile(done, len(tiles))
    indices, weights = (assemble(tiles, stack, scale) for stack in zip(*parts, strict=True))
    return Codes(indices.numpy().astype(np.uint16), weights.numpy(), (scale * w, scale * h))


def assemble(tiles: list[Tile], parts: tuple[Tensor, ...], scale: int) -> Tensor:
    """The maps (K, h, w) of each tile as one; tiles come row by row."""
    corners = [(scale * t.top // CODE_STRIDE, scale * t.left // CODE_STRIDE) for t in tiles]
    half = OVERLAP // CODE_STRIDE // 2
    height, width = (
        max(c[i] + p.shape[i + 1] for c, p in zip(corners, parts, strict=True)) for i in (0, 1)
    )
    whole = parts[0].new_zeros(parts[0].shape[0], height, width)
    for (top, left), part in zip(corners, parts, strict=True):
        down, across = (half if top else 0), (half if left else 0)
        rows, columns = (
            slice(top + down, top + part.shape[1]),
            slice(left + across, left + part.shape[2]),
        )
        whole[:, rows, columns] = part[:, down:, across:]
    return whole


@torch.no_grad()
def decode(restorer: Restorer, codes: Codes, on_tile: OnTile | None = None) -> Tensor:
    """The picture of codes alone, (3, H, W) in [0, 1]; the same every time on one machine.

    Raises ``CodesError`` for codes that this network doesn't have.
    """
    check_fit(restorer, codes)
    indices, weights = codes.tensors
    with restorer.computing():
        merged = restorer.model.represent(indices.to(restorer.device), weights.to(restorer.device))
        merged = merged[0].float().cpu()
        image = decode_merged(restorer, merged, on_tile)
    width, height = codes.size
    return restorer.finished(image[:, :height, :width])


def decode_merged(restorer: Restorer, merged: Tensor, on_tile: OnTile | None) -> Tensor:
    """(C, h, w) → (3, 8h, 8w), in tiles where it is large."""

    def draw(part: Tensor) -> Tensor:
        return restorer.model.decode(part[None].to(restorer.device))[0].float().cpu()

    if CODE_STRIDE * max(merged.shape[-2:]) <= WHOLE:
        return draw(merged)
    tile, overlap = TILE // CODE_STRIDE, OVERLAP // CODE_STRIDE
    return restore_tiled(merged, draw, CODE_STRIDE, tile, overlap, on_tile=on_tile)


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
