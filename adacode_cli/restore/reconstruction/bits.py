"""How much a picture's codes and weights weigh, and coarser weights that weigh less."""

from __future__ import annotations

from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from adacode_cli.model.config import CodebookConfig
from adacode_cli.restore.reconstruction.codes import Codes

WHOLE = 32  # bits of a weight as the network computes it


def round_weights(weights: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """(K, h, w) in 2**bits even steps between each codebook's smallest and largest weight."""
    steps = 2**bits - 1
    least, most = (f(weights, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    span = np.where(most > least, most - least, 1)
    return (least + np.round((weights - least) / span * steps) / steps * span).astype(np.float32)


def bits_per_pixel(
    codes: Codes, books: tuple[CodebookConfig, ...], weight_bits: int = WHOLE
) -> dict[str, float]:
    """Of the picture, at full size: what the codes take as plain numbers, and what the weights.

    ``books`` are those that paint. A network of one codebook has no weights.
    """
    places, (width, height) = codes.indices[0].size, codes.size
    share = places / (width * height)  # of a code, a pixel
    weighed = len(codes.indices) > 1
    return {
        "codes": share * sum(ceil(log2(book.codes)) for book in books),
        "weights": share * len(books) * weight_bits if weighed else 0.0,
    }
