"""A file becomes a Picture."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from adacode_cli.images.picture import Picture, PictureError, Plane

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"})
GRAY_MODES = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"})


MAX_PIXELS = 250_000_000  # more than any camera's; a small file can claim to be larger


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode ``path``, turned upright.

    Raises ``PictureError``, one line, for a file that is missing, no picture, broken or larger
    than ``max_pixels``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a person should know is in the notes
            return decode(path, max_pixels)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not a picture in a format that can be read") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: too many pixels to be opened safely ({error})") from error
    except Exception as error:  # decoders meet damage with whatever they like
        raise PictureError(f"{path}: broken picture ({error})") from error


def decode(path: Path, max_pixels: int) -> Picture:
    """``read``, with the errors as Pillow raises them."""
    with Image.open(path) as image:
        if image.width * image.height > max_pixels:
            raise Image.DecompressionBombError(
                f"{image.width} × {image.height}, and {max_pixels} are allowed"
            )
        deep = ";16" in str(image.tile)  # Pillow decodes 16 bits of colour to 8
        image.load()
        return to_picture(image, deep=deep)


def to_picture(image: Image.Image, *, deep: bool = False) -> Picture:
    """A decoded Pillow image with its orientation applied and its metadata kept.

    ``deep``: whether its file holds more than 8 bits a channel.
    """
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("only its first frame is restored")
    icc_profile, dpi = image.info.get("icc_profile"), image.info.get("dpi")
    try:
        upright, exif = ImageOps.exif_transpose(image), upright_exif(image)
    except Exception:  # noqa: BLE001 as above; the pixels are worth more than their EXIF
        upright, exif = image, None
        notes.append("its damaged EXIF is dropped")
    if upright.mode == "CMYK":
        upright, icc_profile = from_cmyk(upright, icc_profile), None
        notes.append("converted from CMYK to sRGB")
    if upright.mode.startswith("I") or upright.mode == "F":
        upright, deep = reduce_depth(upright), True
    if deep:
        notes.append("reduced to 8 bits")
    transparent = upright.has_transparency_data
    gray = upright.mode in GRAY_MODES
    if transparent:
        upright = upright.convert("RGBA")
    return Picture(
        rgb=planes(upright.convert("RGB")),
        alpha=plane(upright.getchannel("A")) if transparent else None,
        gray=gray,
        icc_profile=icc_profile,
        exif=exif,
        dpi=dpi,
        notes=tuple(notes),
    )


def upright_exif(image: Image.Image) -> bytes | None:
    """EXIF without orientation and without the embedded preview, which is out of date."""
    exif = image.getexif()
    exif.pop(ExifTags.Base.Orientation, None)
    exif.get_ifd(ExifTags.IFD.IFD1).clear()
    return exif.tobytes() if len(exif) else None


def planes(rgb: Image.Image) -> Plane:
    """An RGB image as (3, H, W) in [0, 1]."""
    return np.ascontiguousarray(plane(rgb).transpose(2, 0, 1))


def plane(image: Image.Image) -> Plane:
    """8-bit pixels in [0, 1], in the image's own order."""
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def from_cmyk(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Through the embedded profile where there is one."""
    if icc_profile is None:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a profile of something else
        converted = None
    return converted or image.convert("RGB")


def reduce_depth(image: Image.Image) -> Image.Image:
    """One channel of 16 bits, or of floats in [0, 1], to 8 bits."""
    full = 1.0 if image.mode == "F" else 65535.0
    pixels = np.clip(np.asarray(image, dtype=np.float32) / full, 0, 1)
    return Image.fromarray(np.rint(255 * pixels).astype(np.uint8))
