"""EXIF, XMP, profile and resolution: what is kept, what is brought up to date."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from adacode_cli.images.picture import Metadata, Samples

Base = ExifTags.Base
# How a TIFF's own pixels lie in it, which its EXIF can't be told from.
LAYOUT = frozenset({254, 255, 273, 317, 320, 338, 339, 340, 341, 347, 700, *range(256, 267)}) | (
    frozenset({277, 278, 279, 284, 33723, 34377, 34675, *range(322, 326), *range(512, 522)})
)
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


def read_metadata(image: Image.Image) -> tuple[Metadata, tuple[str, ...]]:
    """What the file says, made true for an upright picture, and notes on what was damaged."""
    xmp = image.info.get("xmp")
    if not isinstance(xmp, bytes) or not xmp:
        xmp = None
    metadata = Metadata(
        icc_profile=image.info.get("icc_profile") or None,
        xmp=XMP_ORIENTATION.sub(rb"tiff:Orientation\g<1>1", xmp) if xmp else None,
        dpi=positive(image.info.get("dpi")),
    )
    try:
        exif = upright_exif(image)
        dpi = metadata.dpi or exif_dpi(image.getexif())
    except Exception:  # noqa: BLE001 decoders meet damage with whatever they like
        return metadata, ("its damaged EXIF is dropped",)
    return replace(metadata, exif=exif, dpi=dpi), ()


def positive(dpi: object) -> tuple[float, float] | None:
    """A resolution that makes sense, as floats."""
    try:
        across, down = (float(n) for n in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    """The resolution in dots per inch that EXIF tells."""
    found = positive((exif.get(Base.XResolution), exif.get(Base.YResolution)))
    centimetres = exif.get(Base.ResolutionUnit) == 3
    return (found[0] * 2.54, found[1] * 2.54) if found and centimetres else found


def upright_exif(image: Image.Image) -> bytes | None:
    """EXIF without orientation and without the embedded preview, which is out of date."""
    exif = image.getexif()
    exif.pop(Base.Orientation, None)
    exif.get_ifd(ExifTags.IFD.IFD1).clear()
    if image.format == "TIFF":
        for tag in LAYOUT & set(exif):
            del exif[tag]
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
    inner = exif.get_ifd(ExifTags.IFD.Exif)
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
        with Image.open(path) as image:
            comment = image.info.get("comment", b"")
            text = comment.decode("ascii") if isinstance(comment, bytes) else str(comment)
            if image.format != "GIF":
                text = str(image.getexif().get(Base.ProcessingSoftware, ""))
    except Exception:  # noqa: BLE001 as above; a broken file is nobody's result
        return None
    return text.removeprefix(MARK).rstrip("\0") if text.startswith(MARK) else None
