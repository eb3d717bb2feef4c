"""More than 8 bits a channel, which Pillow would reduce."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from adacode_cli.images.picture import PictureError, Samples

ORIENTATION = 274  # the tag
WHITE = 65535
SLIGHTLY = 66  # a thousandth: what computing may add
TWELVE_BITS, DEEP, MONOCHROME = 0b0010_0000, 0b0100_0000, 0b0001_0000


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether an opened, not yet loaded file holds more than 8 bits a channel."""
    if image.format == "AVIF":
        return bool(av1_flags(data) & DEEP)
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8)) > 8
    return is_deep_mode(image.mode) or ";16" in str(getattr(image, "tile", ""))


def is_deep_mode(mode: str) -> bool:
    """Whether Pillow's images of this mode have one channel of more than 8 bits."""
    return mode == "F" or mode.startswith("I")


def is_monochrome(image: Image.Image, data: bytes) -> bool:
    """Whether an AVIF holds gray only, which Pillow decodes to RGB."""
    return image.format == "AVIF" and bool(av1_flags(data) & MONOCHROME)


def av1_flags(data: bytes) -> int:
    """The third byte of an AVIF's decoder configuration: depth, gray and subsampling."""
    place = data.find(b"av1C", 0, 1 << 16)
    return data[place + 6] if 0 <= place < len(data) - 6 else 0


def read_deep(image: Image.Image, data: bytes) -> tuple[Samples, tuple[str, ...]]:
    """(H, W, C) of 16 bits, as they lie in the file, and notes on what they can't hold.

    Raises ``PictureError`` for a layout that can't be read.
    """
    if image.format == "TIFF" and image.mode not in {"CMYK", "LAB"}:
        return to_uint16(read_tiff(data))
    if image.format == "PNG":
        gray = image.mode.startswith("I") or "LA;16" in str(getattr(image, "tile", ""))
        return from_opencv(data, gray=gray), ()
    if image.format == "AVIF":
        full = 4095 if av1_flags(data) & TWELVE_BITS else 1023
        deep = from_opencv(data, gray=is_monochrome(image, data)).astype(np.float32)
        return to_uint16(deep / np.float32(full))
    if image.format == "HEIF":
        return read_heif(data), ()
    return to_uint16(np.asarray(image))


class Silence:
    """OpenCV's own words on damaged files, kept back while any thread is within.

    Its log level is one for the whole process; the first to come in keeps it, and the last to go
    gives it back.
    """

    lock = threading.Lock()
    within = 0
    level = 0

    def __enter__(self) -> None:
        import cv2

        with Silence.lock:
            if not Silence.within:
                silent = cv2.utils.logging.LOG_LEVEL_SILENT
                Silence.level = cv2.utils.logging.setLogLevel(silent)
            Silence.within += 1

    def __exit__(self, *_: object) -> None:
        import cv2

        with Silence.lock:
            Silence.within -= 1
            if not Silence.within:
                cv2.utils.logging.setLogLevel(Silence.level)


def from_opencv(data: bytes, *, gray: bool) -> Samples:
    """An encoded picture by OpenCV, its channels in our order; of gray, one."""
    import cv2

    with Silence():
        decoded: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise PictureError("its pixels can't be decoded")
    if decoded.ndim == 2:
        return decoded[..., None]
    order = ([0] if gray else [2, 1, 0]) + [3] * (decoded.shape[2] == 4)
    return decoded[..., order]


def read_heif(data: bytes) -> Samples:
    """10 or 12 bits as 16, by the plug-in that opened the file."""
    import pillow_heif

    file: Any = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    samples = np.asarray(file)
    return samples[..., None] if samples.ndim == 2 else samples


def read_tiff(data: bytes) -> NDArray[Any]:
    """The first page of a TIFF, (H, W, C), whatever its samples are."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        channels = page.samplesperpixel
        refuse_other_channels(channels, page.photometric)
        try:
            pixels = page.asarray()
        except ValueError:  # a compression that it leaves to a package we don't need
            return from_opencv(without_orientation(data, page), gray=channels < 3)
        if channels > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, channels)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return white_at_the_top(pixels)
    return with_plain_alpha(pixels, int(page.extrasamples[0])) if page.extrasamples else pixels


def refuse_other_channels(channels: int, meaning: tifffile.PHOTOMETRIC) -> None:
    """Raise ``PictureError`` for channels that aren't gray or RGB, with or without alpha."""
    known = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB}
    inverted = channels == 1 and meaning == tifffile.PHOTOMETRIC.MINISWHITE
    if channels > 4 or not (meaning in known or inverted):
        raise PictureError(
            f"a TIFF of {channels} channels, {meaning.name}: only gray and RGB can be read"
        )


def white_at_the_top(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 1) where 0 is white → where 0 is black."""
    if pixels.dtype.kind != "u":
        return 1 - pixels
    return np.iinfo(pixels.dtype).max - pixels


def with_plain_alpha(pixels: NDArray[Any], kind: int) -> NDArray[Any]:
    """(H, W, C) whose last channel is of a TIFF's ``kind``: nothing, multiplied in, or alpha."""
    if kind == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return pixels[..., :-1]
    if kind == tifffile.EXTRASAMPLE.ASSOCALPHA:
        full = np.float64(np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)
        share = np.maximum(pixels[..., -1:] / full, 1e-9)
        colour = np.clip(pixels[..., :-1] / share, 0, full)
        colour = np.rint(colour) if pixels.dtype.kind == "u" else colour
        return np.concatenate([colour.astype(pixels.dtype), pixels[..., -1:]], axis=2)
    return pixels


def without_orientation(data: bytes, page: Any) -> bytes:
    """The file with its orientation overwritten: OpenCV would apply it, and can't always."""
    if ORIENTATION not in page.tags:
        return data
    place = page.tags[ORIENTATION].valueoffset
    upright = (1).to_bytes(2, "little" if page.parent.byteorder == "<" else "big")
    return data[:place] + upright + data[place + 2 :]


def to_uint16(pixels: NDArray[Any]) -> tuple[Samples, tuple[str, ...]]:
    """16 bits, and a note where values were cut off.

    From 8 and 16 as they are, from wider ones by their own full scale, from floats in [0, 1] and
    from signed integers up to 65535, as 16 bits are where a decoder has no better place for them.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.dtype == np.uint8:
        return pixels, ()
    if pixels.dtype == np.uint16:
        return np.ascontiguousarray(pixels, dtype=np.uint16), ()  # in this machine's byte order
    if pixels.dtype.kind == "u":
        return (pixels // (np.iinfo(pixels.dtype).max // WHITE)).astype(np.uint16), ()
    if pixels.dtype.kind == "f":
        # Half precision has no 65535.
        pixels = WHITE * np.nan_to_num(pixels.astype(np.float32, copy=False))
    beyond = bool(pixels.size) and (pixels.min() < -SLIGHTLY or pixels.max() > WHITE + SLIGHTLY)
    notes = ("what is darker than black or lighter than white is cut off",) if beyond else ()
    return np.rint(np.clip(pixels, 0, WHITE)).astype(np.uint16), notes
