"""Every code of every codebook, decoded: what "animals" or "scenes" learned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from adacode_cli.evaluation.sheet import LABEL, new_sheet, stack
from adacode_cli.images.write import to_bytes
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import CODE_STRIDE

AROUND = 2  # codes on each side of the middle ones, so that no border shows
SHOWN = 3  # codes a side that are seen of a tile
COLUMNS = 32
BATCH = 64
WEIGHTS = (1.0, 0.5, 0.25, 0.125, 0.0625)
OUTSIDE = 0.02  # share of a tile's samples that may lie beyond black and white


def atlas(model: AdaCode) -> Image.Image:
    """A sheet of tiles for each codebook, under its name; neighbours look alike."""
    sheets = []
    for k, book in enumerate(model.config.codebooks):
        tiles = np.concatenate(
            [decode_tiles(model, k, part) for part in torch.split(torch.arange(book.codes), BATCH)]
        )
        title = f"{book.name}: {book.codes} codes of {book.dim} numbers"
        sheets.append(sheet(tiles[arrange(tiles)], title))
    return stack(sheets)


def decode_tiles(model: AdaCode, k: int, codes: torch.Tensor) -> NDArray[np.float32]:
    """What an area of nothing but one code looks like, each: (N,) → (N, 3, t, t) in [0, 1].

    Each at the largest of ``WEIGHTS`` at which it is neither black nor white: four codes share
    a place in a photo, so one alone with all of the weight says more than can be shown.
    """
    tiles, outside = at_weight(model, k, codes, WEIGHTS[0])
    for weight in WEIGHTS[1:]:
        over = outside > OUTSIDE
        if over.any():
            tiles[over], outside[over] = at_weight(model, k, codes[over], weight)
    return tiles.clamp(0, 1).float().numpy()


@torch.no_grad()
def at_weight(
    model: AdaCode, k: int, codes: torch.Tensor, weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tiles (N, 3, t, t) of codes (N,), and the share of each that lies outside [0, 1]: (N,)."""
    side = SHOWN + 2 * AROUND
    shape = (len(codes), len(model.books), side, side)
    indices = torch.zeros(shape, dtype=torch.long)
    indices[:, k] = codes[:, None, None]
    weights = torch.zeros(shape)
    weights[:, k] = weight
    edge = AROUND * CODE_STRIDE
    tiles = model.decode(model.represent(indices, weights))[:, :, edge:-edge, edge:-edge]
    return tiles, ((tiles < 0) | (tiles > 1)).float().mean(dim=(1, 2, 3))


def arrange(tiles: NDArray[np.float32]) -> NDArray[np.intp]:
    """An order for rows of ``COLUMNS``: down by brightness and colour, across by the rest.

    By the first principal component the tiles are dealt to rows, by the second they are
    sorted within each.
    """
    features = describe(tiles)
    centred = features - features.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    # A component has no sign of its own: bright tiles first, and reddish ones.
    down, across = axes[0] * -np.sign(axes[0][:3].sum()), axes[1] * np.sign(axes[1][2] - axes[1][0])
    first, second = centred @ down, centred @ across
    by_row = np.argsort(first, kind="stable")
    rows = [by_row[i : i + COLUMNS] for i in range(0, len(by_row), COLUMNS)]
    return np.concatenate([row[np.argsort(second[row], kind="stable")] for row in rows])


def describe(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean colour, contrast and direction of each tile: (N, 3, t, t) → (N, 6)."""
    gray = tiles.mean(axis=1)
    across = np.abs(np.diff(gray, axis=2)).mean(axis=(1, 2))
    down = np.abs(np.diff(gray, axis=1)).mean(axis=(1, 2))
    texture = np.stack([gray.std(axis=(1, 2)), across - down, across + down], axis=1)
    return np.concatenate([tiles.mean(axis=(2, 3)), 2 * texture], axis=1)


def sheet(tiles: NDArray[np.float32], title: str) -> Image.Image:
    """(N, 3, t, t) as rows under a title."""
    side = tiles.shape[-1] + 1
    rows = -(-len(tiles) // COLUMNS)
    image, draw, font = new_sheet(COLUMNS * side, LABEL + rows * side)
    draw.text((4, 4), title, fill="black", font=font)
    for number, tile in enumerate(tiles):
        place = (number % COLUMNS * side, LABEL + number // COLUMNS * side)
        image.paste(Image.fromarray(to_bytes(tile)), place)
    return image
