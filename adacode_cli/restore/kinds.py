"""The kinds of image that Python programs have: PIL's, NumPy's and PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adacode_cli.images.opened import opened
from adacode_cli.images.picture import to_samples
from adacode_cli.images.read_deep import is_deep_mode

ImageT = TypeVar("ImageT")
Back = Callable[[Tensor], Any]
DEPTHS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}


def to_tensor(image: Any, channels: int) -> tuple[Tensor, Back]:
    """Any kind as (C, H, W) in [0, 1] on the host, and the way back to that kind.

    channels: how many a tensor may have besides 3. Raises ``TypeError`` for another kind and
    ``ValueError`` for another shape or type of numbers.
    """
    if isinstance(image, Image.Image):
        return from_array(pixels_of(image))[0], as_pil
    if isinstance(image, np.ndarray):
        return from_array(image)
    if not isinstance(image, Tensor):
        raise TypeError(f"{type(image).__name__} is no image; give a PIL image, array or tensor")
    if image.ndim != 3 or image.shape[0] not in {3, channels} or 0 in image.shape:
        raise ValueError(f"a tensor of shape {tuple(image.shape)}; it must be (3, H, W)")
    if not image.is_floating_point():
        raise ValueError(f"a tensor of {image.dtype}; it must hold floats in [0, 1]")
    return image.detach().float().cpu(), lambda made: made.to(image)


def pixels_of(image: Image.Image) -> NDArray[Any]:
    """An image of Pillow's as (H, W, 3): floats of mode F, else 8 or 16 bits.

    Raises ``ValueError`` for transparency, and for integers that 16 bits can't hold.
    """
    if image.has_transparency_data:
        deep = is_deep_mode(image.mode)  # which Pillow converts to white
        remedy = "delete its info['transparency']" if deep else "convert it to RGB"
        raise ValueError(f"an image of mode {image.mode} has transparency; {remedy}")
    if image.mode == "F":
        samples = np.asarray(image)[..., None]
    else:
        picture = opened(image)
        if is_deep_mode(image.mode) and picture.notes:
            least, largest = image.getextrema()
            raise ValueError(
                f"mode {image.mode} is read as 16 bits, 0 to 65535; it holds {least} to {largest}"
            )
        samples = picture.samples
    return np.broadcast_to(samples, (*samples.shape[:2], 3))


def from_array(image: NDArray[Any]) -> tuple[Tensor, Back]:
    """(H, W, 3) of uint8, uint16 or floats in [0, 1]. Raises ``ValueError``."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an array of shape {image.shape}; it must be (H, W, 3)")
    depth = DEPTHS.get(image.dtype)
    if depth is None and image.dtype.kind != "f":
        raise ValueError(f"an array of {image.dtype}; it must hold uint8, uint16 or floats")
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    if depth is not None:
        planes = planes / np.float32(2**depth - 1)

    def back(made: Tensor) -> Any:
        if depth is not None:
            return to_samples([made.numpy()], depth)
        return made.permute(1, 2, 0).numpy().astype(image.dtype)

    return torch.from_numpy(planes), back


def as_pil(made: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] as an image of 8 bits."""
    return Image.fromarray(to_samples([made.numpy()]))


def to_mask(mask: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Any kind as (H, W), true where it isn't 0. Raises ``ValueError`` for another size."""
    if isinstance(mask, Image.Image):
        mask = np.asarray(mask.convert("L"))
    elif isinstance(mask, Tensor):
        mask = mask.detach().cpu().numpy()
    holes = np.asarray(mask) != 0
    if holes.ndim == 3:
        holes = holes.any(axis=0 if holes.shape[1:] == size else 2)
    if holes.shape != size:
        raise ValueError(f"a mask of {holes.shape}; the image is {size}")
    return holes
