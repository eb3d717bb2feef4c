"""Before and after: what the network made of a photo, beside what any viewer would."""

from __future__ import annotations

import torch
from PIL import Image

from adacode_cli.evaluation.sheet import DETAIL, most_different
from adacode_cli.evaluation.weight_sheet import PANEL, beside
from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.picture import Picture, Plane
from adacode_cli.images.wanted_size import by_bicubic
from adacode_cli.images.write import to_bytes

LEAST = 2  # how many times a detail is magnified


def before_after(before: Picture, after: Picture) -> list[Image.Image]:
    """Both as a whole, and below them, magnified, the detail in which they differ most."""
    rgb = before.rgb
    if before.alpha is not None:
        rgb = fill_transparent(rgb, before.alpha)
    bicubic, restored = by_bicubic(rgb, after.size), after.rgb
    height, width = restored.shape[1:]
    side = min(PANEL // LEAST, DETAIL, height, width)
    top, left = most_different(torch.from_numpy(bicubic), torch.from_numpy(restored), side)
    rows, columns = slice(top, top + side), slice(left, left + side)
    factor = PANEL // side
    # The font has no ×.
    sizes = f"{before.size[0]} x {before.size[1]}", f"{width} x {height}"
    whole = {
        f"{sizes[0]} by bicubic": fitted(bicubic),
        f"restored: {sizes[1]}": fitted(restored),
    }
    detail = {
        f"a detail by bicubic, {factor}:1": magnified(bicubic[:, rows, columns], factor),
        f"restored, {factor}:1": magnified(restored[:, rows, columns], factor),
    }
    return [beside(whole), beside(detail)]


def fitted(planes: Plane) -> Image.Image:
    """As large as a panel."""
    image = Image.fromarray(to_bytes(planes))
    factor = PANEL / max(image.size)
    size = (max(1, round(factor * image.width)), max(1, round(factor * image.height)))
    return image.resize(size, Image.Resampling.LANCZOS)


def magnified(planes: Plane, factor: int) -> Image.Image:
    """Every pixel as a square."""
    image = Image.fromarray(to_bytes(planes))
    size = (factor * image.width, factor * image.height)
    return image.resize(size, Image.Resampling.NEAREST)
