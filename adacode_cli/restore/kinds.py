"""The kinds of image that Python programs have: PIL's, NumPy's and PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adacode_cli.images.opened import opened
from adacode_cli.images.picture import to_samples
from adacode_cli.images.read_deep import is_deep_mode, to_uint16

if TYPE_CHECKING:  # masks take OpenCV, which super-resolution starts without
    from adacode_cli.images.masks import Mask

ImageT = TypeVar("ImageT", Image.Image, NDArray[Any], Tensor)
Back = Callable[[Tensor], Any]
DEPTHS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}
OVERSHOOT = 0.5  # how far floats may leave [0, 1]: resampling adds less, another scale more
HIDDEN = 1  # stands for what lies in a hole, which may be anything


def size_of(image: Any) -> tuple[int, int]:
    """Height and width of any kind.

    Raises ``TypeError`` for what is no image, ``ValueError`` for another shape or no pixels.
    """
    if isinstance(image, Image.Image):
        height, width = image.height, image.width
    elif isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an array of shape {image.shape}; it must be (H, W, 3)")
        height, width, _ = image.shape
    elif isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"a tensor of shape {tuple(image.shape)}; it must be (3, H, W)")
        _, height, width = image.shape
    else:
        raise TypeError(f"{type(image).__name__} is no image; give a PIL image, array or tensor")
    if not height * width:
        raise ValueError(f"an image of {width}×{height} has no pixels")
    return height, width


def to_tensor(image: Any, holes: Mask | None = None) -> tuple[Tensor, Back]:
    """Any kind as (3, H, W) in [0, 1] on the host, and the way back to that kind.

    holes: (H, W); what lies there may be anything, and isn't looked at. Floats that overshoot by
    no more than 0.5 are clipped. Raises ``TypeError`` for another kind and ``ValueError`` for
    another shape or type of numbers, for floats on another scale and for those not finite.
    """
    size_of(image)
    if isinstance(image, Image.Image):
        return from_array(pixels_of(image, holes), holes)[0], as_pil
    if isinstance(image, np.ndarray):
        return from_array(np.asarray(image), holes)
    return from_tensor(image, holes)


def pixels_of(image: Image.Image, holes: Mask | None) -> NDArray[Any]:
    """An image of Pillow's as (H, W, 3): floats of mode F, else 8 or 16 bits.

    Raises ``ValueError`` for transparency, and for integers that 16 bits can't hold.
    """
    if image.has_transparency_data:
        deep = is_deep_mode(image.mode)  # which Pillow converts to white
        remedy = "delete its info['transparency']" if deep else "convert it to RGB"
        raise ValueError(f"an image of mode {image.mode} has transparency; {remedy}")
    if image.mode == "F":
        samples = np.asarray(image)[..., None]
    elif is_deep_mode(image.mode):
        samples = sixteen_bits(hidden(np.asarray(image)[..., None], holes))
    else:
        samples = opened(image).samples
    return np.broadcast_to(samples, (*samples.shape[:2], 3))


def sixteen_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Integers of any width as such of 16 bits. Raises ``ValueError`` if they don't fit."""
    samples, cut_off = to_uint16(values)
    if cut_off:
        raise ValueError(
            "an image of integers is read as 16 bits, 0 to 65535; "
            f"it holds {values.min()} to {values.max()}"
        )
    return samples


def from_array(image: NDArray[Any], holes: Mask | None) -> tuple[Tensor, Back]:
    """(H, W, 3) of uint8, uint16 or floats in [0, 1]. Raises ``ValueError``."""
    kind = image.dtype
    depth = DEPTHS.get(kind.newbyteorder("="))
    if depth is None and kind.kind != "f":
        raise ValueError(f"an array of {kind}; it must hold uint8, uint16 or floats")
    image = hidden(image, holes)
    overshoots = depth is None and is_beyond(float(image.min()), float(image.max()))
    planes = np.require(image.transpose(2, 0, 1), np.float32, ["C", "W"])
    if depth is not None:
        planes /= np.float32(2**depth - 1)
    elif overshoots:
        planes = planes.clip(0, 1)

    def back(made: Tensor) -> Any:
        if depth is not None:
            return to_samples([made.numpy()], depth).astype(kind, copy=False)
        return made.permute(1, 2, 0).numpy().astype(kind)

    return torch.from_numpy(planes), back


def hidden(image: NDArray[Any], holes: Mask | None) -> NDArray[Any]:
    """(H, W, C), its holes painted over."""
    if holes is None:
        return image
    return np.where(holes[..., None], image.dtype.type(HIDDEN), image)


def from_tensor(image: Tensor, holes: Mask | None) -> tuple[Tensor, Back]:
    """(3, H, W) of floats in [0, 1], on any device. Raises ``ValueError``."""
    if not image.is_floating_point():
        raise ValueError(f"a tensor of {image.dtype}; it must hold floats in [0, 1]")
    rgb = on_host(image)
    if rgb.dtype != torch.float64:  # whose largest numbers float32 takes for infinite
        rgb = rgb.float()
    if holes is not None:
        rgb = torch.where(torch.from_numpy(holes), HIDDEN, rgb)
    least, largest = torch.aminmax(rgb)
    overshoots = is_beyond(least.item(), largest.item())
    rgb = rgb.float()
    return rgb.clamp(0, 1) if overshoots else rgb, lambda made: made.to(image)


def on_host(tensor: Tensor) -> Tensor:
    """A tensor's numbers. Raises ``ValueError`` where it has none, or leaves most of them out."""
    if tensor.is_meta:
        raise ValueError("a meta tensor holds no numbers")
    if tensor.layout != torch.strided:
        raise ValueError(f"a tensor of layout {tensor.layout}; give its .to_dense()")
    return tensor.detach().cpu()


def is_beyond(least: float, largest: float) -> bool:
    """Whether floats overshoot [0, 1].

    Raises ``ValueError`` where it is more than that, or they aren't finite.
    """
    if not (math.isfinite(least) and math.isfinite(largest)):
        raise ValueError("the image holds values that are not finite")
    if largest > 1 + OVERSHOOT:
        raise ValueError(f"floats must lie in [0, 1]; the largest is {largest:g}")
    if least < -OVERSHOOT:
        raise ValueError(f"floats must lie in [0, 1]; the smallest is {least:g}")
    return least < 0 or largest > 1


def as_pil(made: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] as an image of 8 bits."""
    return Image.fromarray(to_samples([made.numpy()]))


def keep_outside(filled: Any, image: Any, holes: Mask) -> None:
    """Overwrite what isn't in the holes (H, W) of ``filled`` by ``image``, of one kind.

    The network's numbers are of 32 bits, and in [0, 1]; an image's own may be others. Pillow's
    are 8 bits by now, which come back from floats as they were.
    """
    if isinstance(image, np.ndarray):
        filled[~holes] = image[~holes]
    elif isinstance(image, Tensor):
        outside = torch.from_numpy(~holes).to(image.device)
        filled[:, outside] = image.detach()[:, outside]
