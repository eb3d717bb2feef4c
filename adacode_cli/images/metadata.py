"""EXIF, XMP, profile and resolution: what is kept, what is brought up to date."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image, UnidentifiedImageError

from adacode_cli.images.picture import Metadata, Samples
from adacode_cli.images.png_colour import read_png_colour
from adacode_cli.images.unlimited import open_unlimited

Base = ExifTags.Base
# How a TIFF's own pixels lie in it, which its EXIF can't be told from.
LAYOUT = frozenset({254, 255, 273, 317, 320, 338, 339, 340, 341, 347, 700, *range(256, 267)}) | (
    frozenset({277, 278, 279, 284, 33723, 34377, 34675, *range(322, 326), *range(512, 522)})
)
LAYOUT_IN_WORDS = ('{"shape"', "ImageJ=")
TOO_LARGE = 65000  # bytes; what a JPEG's segment can hold
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(=\"|=\'|>)[2-8]")
MARK = "adacode "

# EXIF's orientation → rows mirrored, columns mirrored, then rows and columns exchanged.
TURNS = {
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


def turn_upright(samples: Samples, orientation: int) -> Samples:
    """(H, W, C) as it is meant to be seen."""
    rows, columns, exchange = TURNS.get(orientation, (False, False, False))
    turned = samples[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if exchange else turned)


def orientation_of(image: Image.Image) -> int:
    """1 to 8 as in EXIF; 1 where it is missing or senseless."""
    found = image.getexif().get(Base.Orientation, 1)
    return found if found in TURNS else 1


def read_metadata(image: Image.Image, data: bytes) -> tuple[Metadata, tuple[str, ...]]:
    """What the file ``data`` says, made true for an upright picture, and notes on damage."""
    xmp = image.info.get("xmp")
    if not isinstance(xmp, bytes) or not xmp:
        xmp = None
    metadata = Metadata(
        icc_profile=image.info.get("icc_profile") or None,
        xmp=XMP_ORIENTATION.sub(rb"tiff:Orientation\g<1>1", xmp) if xmp else None,
        # Of a TIFF without a resolution Pillow says one dot per inch.
        dpi=positive(image.info.get("dpi")) if image.format != "TIFF" else None,
        png_colour=read_png_colour(data),
    )
    try:
        exif = upright_exif(image.getexif(), tiff=image.format == "TIFF")
        dpi = metadata.dpi or exif_dpi(image.getexif())
    except Exception:  # noqa: BLE001 decoders meet damage with whatever they like
        return metadata, ("its damaged EXIF is dropped",)
    return replace(metadata, exif=exif, dpi=dpi), ()


def tiff_metadata(data: bytes) -> tuple[Metadata, int]:
    """What a TIFF that Pillow can't open says, and its orientation."""
    exif = Image.Exif()
    exif.load(data)
    orientation = exif.get(Base.Orientation, 1)
    profile, dpi = exif.get(Base.InterColorProfile), exif_dpi(exif)
    return Metadata(profile, upright_exif(exif, tiff=True), dpi=dpi), orientation


def positive(dpi: object) -> tuple[float, float] | None:
    """A resolution that makes sense, as floats."""
    try:
        across, down = (float(n) for n in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    """The resolution in dots per inch that EXIF tells; none where its unit is none."""
    if exif.get(Base.ResolutionUnit) == 1:
        return None
    found = positive((exif.get(Base.XResolution), exif.get(Base.YResolution)))
    centimetres = exif.get(Base.ResolutionUnit) == 3
    return (found[0] * 2.54, found[1] * 2.54) if found and centimetres else found


def upright_exif(exif: Image.Exif, *, tiff: bool) -> bytes | None:
    """EXIF without orientation and without the embedded preview, which is out of date.

    tiff: whether it is a TIFF's own directory, with the layout of the pixels among it.
    """
    exif.pop(Base.Orientation, None)
    exif.get_ifd(ExifTags.IFD.IFD1).clear()
    if tiff:
        for tag in LAYOUT & set(exif):
            del exif[tag]
        if str(exif.get(Base.ImageDescription, "")).startswith(LAYOUT_IN_WORDS):
            del exif[Base.ImageDescription]
    return exif.tobytes() if len(exif) else None


def finished_exif(
    metadata: Metadata, size: tuple[int, int], mark: str | None, *, dpi: bool
) -> Image.Exif:
    """The EXIF to write: true for this size, marked with how it was made.

    dpi: whether the resolution has no other place in the file.
    """
    exif = Image.Exif()
    if metadata.exif is not None:
        exif.load(metadata.exif)
    # Asking for a directory that isn't there makes an empty one.
    inner = exif.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in exif else {}
    for tag, value in zip((Base.ExifImageWidth, Base.ExifImageHeight), size, strict=True):
        if tag in inner:
            inner[tag] = value
    if mark is not None:
        exif[Base.ProcessingSoftware] = MARK + mark
    if metadata.dpi and (dpi or Base.XResolution in exif):
        exif[Base.XResolution], exif[Base.YResolution] = metadata.dpi
        exif[Base.ResolutionUnit] = 2
    return exif


def read_mark(path: Path) -> str | None:
    """The mark that ``finished_exif`` or a GIF's comment left, if this program made the file."""
    try:
        with open_unlimited(path) as image:
            comment = image.info.get("comment", b"")
            text = comment.decode("ascii") if isinstance(comment, bytes) else str(comment)
            if image.format != "GIF":
                text = str(image.getexif().get(Base.ProcessingSoftware, ""))
    except UnidentifiedImageError:
        text = mark_in_tiff(path)
    except Exception:  # noqa: BLE001 as above; a broken file is nobody's result
        return None
    return text.removeprefix(MARK).rstrip("\0") if text.startswith(MARK) else None


def mark_in_tiff(path: Path) -> str:
    """The same of a TIFF that Pillow doesn't know: deep gray with alpha. Empty without one."""
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            return str(page.tags[int(Base.ProcessingSoftware)].value)
    except (tifffile.TiffFileError, KeyError, OSError, ValueError, IndexError):
        return ""
