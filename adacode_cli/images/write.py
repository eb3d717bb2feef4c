"""A Picture becomes a file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adacode_cli.images.picture import Picture, PictureError, Plane

# Visually lossless: a restoration shouldn't be followed by a new loss.
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90},
    "TIFF": {"compression": "tiff_lzw"},
}
STRIP = 64  # rows
WITHOUT_ALPHA = frozenset({"JPEG", "BMP"})


def format_of(path: Path) -> str:
    """Pillow's name of the format for ``path``'s suffix. Raises ``PictureError``."""
    form = Image.registered_extensions().get(path.suffix.lower())
    if form is None or form not in Image.SAVE:
        raise PictureError(
            f"{path}: can't write {path.suffix or 'a file without suffix'}; use .png"
        )
    return form


def write(picture: Picture, path: Path) -> None:
    """Encode ``picture`` beside ``path``, then rename. Raises ``PictureError``."""
    form = format_of(path)
    image = to_image(picture, with_alpha=form not in WITHOUT_ALPHA)
    kept = {"icc_profile": picture.icc_profile, "exif": picture.exif, "dpi": picture.dpi}
    known = {name: value for name, value in kept.items() if value is not None}
    unfinished = path.with_name(f".{os.getpid()}.unfinished{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(unfinished, format=form, **OPTIONS.get(form, {}), **known)
        unfinished.replace(path)
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: can't be written ({error})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def to_image(picture: Picture, *, with_alpha: bool) -> Image.Image:
    """8-bit L, LA, RGB or RGBA; where alpha can't stay, white shows through."""
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None and not with_alpha:
        rgb, alpha = rgb * alpha + (1 - alpha), None
    channels = rgb.mean(0, keepdims=True) if picture.gray else rgb
    stacked = channels if alpha is None else np.concatenate([channels, alpha[None]])
    return Image.fromarray(to_bytes(stacked))


def to_bytes(channels: Plane) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(C, H, W) in [0, 1] → (H, W, C) of 8 bits, (H, W) for one channel.

    By strips of rows: a whole copy in floats would double what a large picture needs.
    """
    count, height, width = channels.shape
    pixels = np.empty((height, width, count), np.uint8)
    for top in range(0, height, STRIP):
        strip = channels[:, top : top + STRIP].transpose(1, 2, 0)
        pixels[top : top + STRIP] = np.rint(255 * np.clip(strip, 0, 1))
    return pixels[..., 0] if count == 1 else pixels
