"""The kinds of mask that Python programs have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adacode_cli.images.masks import Mask, marked
from adacode_cli.images.opened import opened
from adacode_cli.restore.kinds import on_host

NUMBERS = "biufO"  # kinds of an array's numbers


def to_mask(mask: Any, size: tuple[int, int]) -> Mask:
    """Any kind as (H, W), true in the holes: where it is neither 0 nor transparent.

    mask: an image of Pillow's, read as ``--mask`` reads its file; an array (H, W) or (H, W, C); a
    tensor (H, W) or (C, H, W). The last of 2 or 4 channels is transparency, unless they are bool.
    Raises ``TypeError`` for what is no mask and ``ValueError`` for another size.
    """
    if isinstance(mask, Image.Image):
        holes = marked(opened(mask))
    elif isinstance(mask, np.ndarray | Tensor | list | tuple):
        holes = nonzero(mask, size)
    else:
        raise TypeError(f"{type(mask).__name__} is no mask; give a PIL image, array or tensor")
    if holes.shape != size:
        raise ValueError(f"a mask of {holes.shape}; the image is {size}")
    return holes


def nonzero(mask: Any, size: tuple[int, int]) -> Mask:
    """Where the numbers of an array or tensor aren't 0, its channels taken together."""
    channels_first = isinstance(mask, Tensor)
    if isinstance(mask, Tensor):
        marks, is_bool = (on_host(mask) != 0).numpy(), mask.dtype == torch.bool
    else:
        values = np.asarray(mask)
        if values.dtype.kind not in NUMBERS:
            raise TypeError(f"a mask of {values.dtype}; it must hold numbers")
        marks, is_bool = values != 0, values.dtype == np.bool_
    if marks.ndim != 3:
        return marks
    if marks.shape[1:] == size and (channels_first or marks.shape[:2] != size):
        marks = np.moveaxis(marks, 0, 2)
    if marks.shape[2] in {2, 4} and not is_bool:
        marks = marks[..., :-1] & marks[..., -1:]
    return np.asarray(marks.any(axis=2))
