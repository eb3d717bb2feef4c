"""Which formats there are, and what each can hold."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adacode_cli.errors import UsageError
from adacode_cli.images.picture import PictureError


@dataclass(frozen=True)
class Format:
    """One kind of file, under Pillow's name for it."""

    name: str
    suffixes: tuple[str, ...]  # the first is written
    alpha: bool = True
    deep: bool = False  # 16 bits a channel
    moving: bool = False  # several frames
    profile: bool = True  # a colour profile
    exif: bool = True
    dpi: bool = False  # outside EXIF
    lossless: Mapping[str, Any] | None = None  # how to ask for it; None: it can't
    quality: int | None = None  # visually lossless; None: it never loses anything
    options: Mapping[str, Any] = field(default_factory=dict)
    plugin: str = ""  # the module that adds it to Pillow
    package: str = ""  # and the package that brings the module

    @property
    def marked(self) -> bool:
        """Whether a file can hold how it was made: in EXIF, or a comment."""
        return self.exif or self.name == "GIF"


FORMATS = (
    Format(
        "PNG",
        (".png", ".apng"),
        deep=True,
        moving=True,
        dpi=True,
        lossless={},
        # Pillow's own level takes 2.7 times as long, for 3 % of the size.
        options={"compress_level": 4},
    ),
    Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        alpha=False,
        dpi=True,
        quality=95,
        options={"subsampling": "4:4:4"},
    ),
    Format(
        "WEBP",
        (".webp",),
        moving=True,
        lossless={"lossless": True, "exact": True, "quality": 75},
        quality=95,
    ),
    Format(
        "TIFF",
        (".tif", ".tiff"),
        deep=True,
        moving=True,
        dpi=True,
        lossless={},
    ),
    Format("BMP", (".bmp",), alpha=False, profile=False, exif=False, dpi=True, lossless={}),
    Format("GIF", (".gif",), moving=True, profile=False, exif=False),
    Format("AVIF", (".avif",), moving=True, quality=90, options={"subsampling": "4:4:4"}),
    Format(
        "HEIF",
        (".heic", ".heif", ".hif"),
        lossless={"quality": -1, "chroma": 444, "matrix_coefficients": 0},
        quality=90,
        options={"chroma": 444},
        plugin="pillow_heif.HeifImagePlugin",
        package="pillow-heif",
    ),
    Format(
        "JXL",
        (".jxl",),
        profile=False,
        lossless={"lossless": True},
        quality=95,
        plugin="pillow_jxl",
        package="pillow-jxl-plugin",
    ),
)
BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}
BY_NAME = {form.name: form for form in FORMATS}
SUFFIXES = frozenset(BY_SUFFIX)


def format_of(path: Path) -> Format:
    """The format that ``path``'s suffix names. Raises ``PictureError``."""
    form = BY_SUFFIX.get(path.suffix.lower())
    if form is None:
        raise PictureError(
            f"{path}: can't write {path.suffix or 'a file without suffix'}; use .png"
        )
    return form


def format_named(word: str) -> Format:
    """'png', 'jpg' or '.webp' as a format. Raises ``UsageError``."""
    form = BY_SUFFIX.get(f".{word.lower().removeprefix('.')}")
    if form is None:
        known = ", ".join(f.suffixes[0][1:] for f in FORMATS)
        raise UsageError(f"no format is called {word!r}; use same, {known}")
    return form


def add_plugin(form: Format, name: str) -> None:
    """Teach Pillow a format it lacks. Raises ``PictureError`` that names what to install."""
    if not form.plugin:
        return
    try:
        importlib.import_module(form.plugin)
    except ModuleNotFoundError as error:
        raise PictureError(
            f"{name}: {form.suffixes[0][1:].upper()} needs {form.package}; "
            "pip install 'adacode[formats]' brings it"
        ) from error


def sniff(data: bytes) -> Format | None:
    """The format with a plug-in that ``data`` starts like, whatever its name says."""
    brands = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
    if data[4:8] == b"ftyp" and data[8:12] in brands and b"avif" not in data[8:64]:
        return BY_NAME["HEIF"]
    if data[:2] == b"\xff\x0a" or data[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
        return BY_NAME["JXL"]
    return None
