"""A Picture becomes a file."""

from __future__ import annotations

import io
import shutil
import struct
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from adacode_cli.errors import UsageError
from adacode_cli.images.formats import Format, add_plugin, format_of
from adacode_cli.images.held import to_image
from adacode_cli.images.metadata import MARK, TOO_LARGE, finished_exif
from adacode_cli.images.picture import (
    Animation,
    Metadata,
    Picture,
    PictureError,
    PictureInBands,
    Plane,
    Samples,
    to_samples,
    whole,
)
from adacode_cli.images.png_colour import other_than_srgb, png_colour_chunks
from adacode_cli.images.unfinished import OccupiedError, unfinished
from adacode_cli.images.write_png import write_png
from adacode_cli.images.write_tiff import write_pages, write_tiff

BY_ROWS = {"PNG": write_png, "TIFF": write_tiff}  # one picture, written by ourselves
IN_MEMORY = 1 << 28  # bytes of samples; what is larger waits for standard output in a file
Content = Picture | PictureInBands | Animation
# What Pillow, its plug-ins and the file system raise.
FAULTS = (OSError, ValueError, SystemError, RuntimeError, struct.error)


@dataclass(frozen=True)
class Encoding:
    """How a file is to be written."""

    quality: int | None = None  # 1 to 100; None: visually lossless
    lossless: bool = False
    strip_metadata: bool = False  # the photo's, but not its profile, which is about the pixels
    mark: str | None = None  # kept in the file: how it was made

    def options(self, form: Format) -> dict[str, Any]:
        """What Pillow is to be told. Raises ``UsageError`` for what the format can't do."""
        check_encoding(self, form)
        if form.quality is None:
            return dict(form.options)
        if self.lossless:
            return {**form.options, **(form.lossless or {})}
        return {**form.options, "quality": self.quality or form.quality}


def check_encoding(encoding: Encoding, form: Format) -> None:
    """Raise ``UsageError`` for a wish that the format can't grant."""
    name = form.suffixes[0][1:]
    if encoding.quality is not None and not 1 <= encoding.quality <= 100:
        raise UsageError(f"--quality {encoding.quality}: it goes from 1 to 100")
    if encoding.lossless and form.lossless is None:
        raise UsageError(f"{name} has no lossless form; use --format png, webp or tiff")
    if encoding.quality is not None and encoding.lossless:
        raise UsageError("--quality and --lossless exclude each other")


def write(
    picture: Content, path: Path, encoding: Encoding | None = None, *, replace: bool = True
) -> tuple[str, ...]:
    """Encode beside ``path``, then rename; returns notes on what the format can't hold.

    Raises ``PictureError``, and what computing a PictureInBands raises; ``OccupiedError`` when
    something has the name by then, and ``replace`` doesn't allow to take its place.
    """
    form = format_of(path)
    add_plugin(form, str(path))
    with (
        named_faults(picture, str(path)) as content,
        unfinished(path, replace=replace) as (file, finish),
    ):
        notes = encode(content, file, form, encoding or Encoding())
        finish()
    return notes


def write_stream(picture: Content, form: Format, encoding: Encoding) -> tuple[str, ...]:
    """The same to standard output, nothing of it before the picture is encoded as a whole."""
    name = "standard output"
    add_plugin(form, name)
    with buffer_for(picture) as buffer:
        with named_faults(picture, name) as content:
            notes = encode(content, buffer, form, encoding)
        buffer.seek(0)
        shutil.copyfileobj(buffer, sys.stdout.buffer, 1 << 20)
    sys.stdout.buffer.flush()
    return notes


def buffer_for(picture: Content) -> IO[bytes]:
    """Where an encoded picture is put together: in memory, or on the disk if it is large."""
    if isinstance(picture, PictureInBands) and picture.row_bytes * picture.size[1] > IN_MEMORY:
        return tempfile.TemporaryFile()
    return io.BytesIO()


@contextmanager
def named_faults(picture: Content, name: str) -> Iterator[Content]:
    """The picture to write to ``name``; the faults of writing become a ``PictureError``.

    Bands are over afterwards, whether all were taken or not.
    """
    raised: list[BaseException] = []
    with ExitStack() as ending:
        if isinstance(picture, PictureInBands):
            bands = ending.enter_context(closing(remembering(picture.bands, raised)))
            picture = replace(picture, bands=bands)
        try:
            yield picture
        except (UsageError, OccupiedError):  # nothing was written
            raise
        except FAULTS as error:
            if error in raised:
                raise
            reason = getattr(error, "strerror", None) or error
            raise PictureError(f"{name}: can't be written ({reason})") from error


def remembering(
    bands: Iterator[Samples], raised: list[BaseException]
) -> Generator[Samples, None, None]:
    """The same bands; what computing them raises is noted in ``raised``."""
    try:
        yield from bands
    except BaseException as error:
        raised.append(error)
        raise


def encode(picture: Content, file: IO[bytes], form: Format, encoding: Encoding) -> tuple[str, ...]:
    """Write ``picture`` to an open file; returns notes on what the format can't hold."""
    check_encoding(encoding, form)
    notes: list[str] = []
    note_colours(picture, form, notes)
    if isinstance(picture, Animation):
        picture = as_held(picture, form, notes)
    if isinstance(picture, Animation) and form.name == "TIFF":
        encode_pages(picture, file, form, encoding)
    elif not isinstance(picture, Animation) and form.name in BY_ROWS:
        encode_by_rows(picture, file, form, encoding)
    else:
        encode_whole(picture, file, form, encoding, notes)
    return tuple(dict.fromkeys(notes))


def note_colours(picture: Content, form: Format, notes: list[str]) -> None:
    """A line where only a PNG can say what the colours are."""
    first = picture.frames[0] if isinstance(picture, Animation) else picture
    chunks = other_than_srgb(first.metadata.png_colour)
    if chunks and form.name != "PNG":
        notes.append(f"its colours are taken for sRGB: what {chunks} says, only a PNG can hold")


def as_held(animation: Animation, form: Format, notes: list[str]) -> Picture | Animation:
    """All of it, or the first picture where the format has no place for more.

    Pages may differ in size, and nobody turns them over in what is shown as time goes by.
    """
    paged = not animation.durations
    if len(animation.frames) > 1 and (form.name == "TIFF" if paged else form.moving):
        return animation
    if len(animation.frames) > 1:
        more = "; --format tif keeps all" if paged else ""
        kind = "page" if paged else "frame"
        notes.append(f"only its first {kind} is kept: {form.name} has one{more}")
    return animation.frames[0]


def encode_pages(animation: Animation, file: IO[bytes], form: Format, encoding: Encoding) -> None:
    """Pages, or frames as pages; the first is marked, and has the EXIF."""
    pages = [
        replace(frame.in_bands(), metadata=kept(frame.metadata, encoding))
        for frame in animation.frames
    ]
    exif = finished_exif(pages[0].metadata, pages[0].size, encoding.mark, dpi=not form.dpi)
    write_pages(file, pages, exif)


def encode_by_rows(
    picture: Picture | PictureInBands, file: IO[bytes], form: Format, encoding: Encoding
) -> None:
    """One picture as it comes; these formats hold all of it."""
    rows = picture if isinstance(picture, PictureInBands) else picture.in_bands()
    rows = replace(rows, metadata=kept(rows.metadata, encoding))
    exif = finished_exif(rows.metadata, rows.size, encoding.mark, dpi=not form.dpi)
    BY_ROWS[form.name](file, rows, exif)


def encode_whole(
    picture: Content, file: IO[bytes], form: Format, encoding: Encoding, notes: list[str]
) -> None:
    """One picture or several, by Pillow."""
    frames = picture.frames if isinstance(picture, Animation) else (whole(picture),)
    first = replace(frames[0], metadata=kept(frames[0].metadata, encoding))
    exif = finished_exif(first.metadata, first.size, encoding.mark, dpi=not form.dpi)
    images = [to_image(replace(first, samples=f.samples), form, notes) for f in frames]
    options = {**encoding.options(form), **metadata_options(first, form, exif, encoding, notes)}
    if form.name == "AVIF" and images[0].mode == "L":
        options["subsampling"] = "4:0:0"
    if isinstance(picture, Animation):
        options.update(moving_options(picture, images, form))
    images[0].save(file, format=form.name, **options)


def kept(metadata: Metadata, encoding: Encoding) -> Metadata:
    """What of the metadata is to be written."""
    if not encoding.strip_metadata:
        return metadata
    return Metadata(metadata.icc_profile, png_colour=metadata.png_colour)


def metadata_options(
    picture: Picture, form: Format, exif: Image.Exif, encoding: Encoding, notes: list[str]
) -> dict[str, Any]:
    """The metadata in the words that Pillow has for them in this format."""
    metadata = picture.metadata
    options: dict[str, Any] = {}
    if metadata.icc_profile and form.profile:
        options["icc_profile"] = metadata.icc_profile
    if metadata.dpi and form.dpi:
        options["dpi"] = metadata.dpi
    if form.name == "PNG" and metadata.png_colour:
        options["pnginfo"] = info = PngInfo()
        for kind, content in png_colour_chunks(metadata.png_colour):
            info.add(kind, content)
    if not form.exif:
        note_what_is_lost(metadata, form, notes)
    if metadata.xmp and form.exif:
        place_xmp(options, fitting(metadata.xmp, "XMP", form, notes), form)
    if form.exif and len(exif):
        options["exif"] = fitting(exif.tobytes(), "EXIF", form, notes)
    if form.name == "GIF" and encoding.mark:
        options["comment"] = (MARK + encoding.mark).encode()
    return {name: value for name, value in options.items() if value is not None}


def fitting(blob: bytes, name: str, form: Format, notes: list[str]) -> bytes | None:
    """``blob``, unless the format can't hold so much."""
    if form.name == "JPEG" and len(blob) > TOO_LARGE:
        notes.append(f"its {name} is dropped: {len(blob)} bytes are too many for a JPEG")
        return None
    return blob


def note_what_is_lost(metadata: Metadata, form: Format, notes: list[str]) -> None:
    """For a format without EXIF and XMP: a line where there were any."""
    lost = [name for name, blob in (("EXIF", metadata.exif), ("XMP", metadata.xmp)) if blob]
    if lost:
        notes.append(f"its {' and '.join(lost)} can't be kept: {form.name} has no place for it")


def place_xmp(options: dict[str, Any], xmp: bytes | None, form: Format) -> None:
    """Where Pillow wants the XMP of this format."""
    if xmp is None:
        return
    if form.name == "PNG":
        info = options.setdefault("pnginfo", PngInfo())
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    else:
        options["xmp"] = xmp


def moving_options(animation: Animation, images: list[Image.Image], form: Format) -> dict[str, Any]:
    """What makes several images one animation."""
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:]}
    options["duration"] = [round(ms) for ms in animation.durations]
    if "A" in images[0].mode:  # no frame shows through another
        options.update({"GIF": {"disposal": 2}, "WEBP": {"kmin": 0, "kmax": 1}}.get(form.name, {}))
    if form.name in {"PNG", "WEBP"}:
        options["loop"] = animation.loops
    elif form.name == "GIF" and animation.loops != 1:
        # A GIF counts what comes after the first time, and says nothing if it is the only one.
        options["loop"] = max(animation.loops - 1, 0)
    return options


def to_bytes(channels: Plane) -> Any:
    """(C, H, W) in [0, 1] → (H, W, C) of 8 bits, (H, W) for one channel."""
    samples = to_samples([channels])
    return samples[..., 0] if samples.shape[2] == 1 else samples
