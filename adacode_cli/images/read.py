"""A file becomes a Picture."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from adacode_cli.images.colour import to_srgb
from adacode_cli.images.formats import BY_NAME, add_plugin, sniff
from adacode_cli.images.metadata import (
    orientation_of,
    read_metadata,
    tiff_metadata,
    turn_upright,
)
from adacode_cli.images.picture import Animation, Metadata, Picture, PictureError, Samples
from adacode_cli.images.read_deep import is_deep, is_monochrome, read_deep, read_tiff, to_uint16
from adacode_cli.images.unlimited import open_unlimited

MAX_PIXELS = 250_000_000  # more than any camera's; a small file can claim to be larger
MOVING = frozenset({"GIF", "PNG", "WEBP", "AVIF"})


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in ``path``, or its first frame, turned upright.

    Raises ``PictureError``, one line, for a file that is missing, no picture, broken or
    larger than ``max_pixels``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a person should know is in the notes
        found = decode(load(path), str(path), max_pixels)
    if isinstance(found, Picture):
        return replace(found, source=path)
    first = found.frames[0]
    return replace(first, source=path, notes=(*first.notes, "only its first frame is read"))


def read_size(path: Path) -> tuple[int, int]:
    """Width and height, upright, from the header alone. Raises ``PictureError``."""
    name = str(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_image(load(path), name) as image:
                sideways = safe_orientation(image) > 4 and image.format not in {"TIFF", "HEIF"}
                return (image.height, image.width) if sideways else image.size
        except UnidentifiedImageError:
            found = decode(load(path), name)
            return found.size
        except PictureError:
            raise
        except Exception as error:
            raise PictureError(f"{name}: broken picture ({error})") from error


def load(path: Path) -> bytes:
    """The bytes of a file. Raises ``PictureError``."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except OSError as error:
        raise PictureError(f"{path}: can't be read ({error.strerror})") from error


def decode(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Picture | Animation:
    """A file's content as pictures; ``name`` is for messages. Raises ``PictureError``.

    Pillow's warnings are left to the caller: silencing them is for the whole process.
    """
    if not data:
        raise PictureError(f"{name}: is empty (0 bytes)")
    try:
        with open_image(data, name) as image:
            refuse_bomb(image, name, max_pixels)
            return not_empty(decode_frames(image, data), name)
    except PictureError as error:
        raise named(error, name) from error
    except UnidentifiedImageError as error:
        return not_empty(decode_tiff(data, name, error), name)
    except ImportError:  # not the picture is broken
        raise
    except Exception as error:  # decoders meet damage with whatever they like
        raise PictureError(f"{name}: broken picture ({error})") from error


def not_empty(found: Picture | Animation, name: str) -> Picture | Animation:
    """The same. Raises ``PictureError`` where a damaged header left no pixel."""
    width, height = found.size
    if not width * height:
        raise PictureError(f"{name}: broken picture: it claims to have {width}×{height} pixels")
    return found


def named(error: PictureError, name: str) -> PictureError:
    """The same error with the file's name in it."""
    return error if name in str(error) else PictureError(f"{name}: {error}")


def open_image(data: bytes, name: str) -> Image.Image:
    """The file's header, read by Pillow or what it needs."""
    form = sniff(data)
    if form is not None:
        add_plugin(form, name)
    return open_unlimited(io.BytesIO(data))


def refuse_bomb(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise ``PictureError`` for more pixels in all frames than are allowed."""
    frames = getattr(image, "n_frames", 1) if image.format in MOVING else 1
    pixels = image.width * image.height * frames
    if pixels > max_pixels:
        raise PictureError(
            f"{name}: {pixels / 1e6:,.0f} megapixels in it, and {max_pixels / 1e6:,.0f} are "
            f"allowed; if it is what it should be, use --max-pixels {-(-pixels // 10**6)}M"
        )


def decode_frames(image: Image.Image, data: bytes) -> Picture | Animation:
    """One picture, or all frames of an animation, or all pages of a TIFF."""
    count = getattr(image, "n_frames", 1)
    moving, pages = image.format in MOVING, image.format == "TIFF"
    if count == 1 or not (moving or pages) or (pages and is_deep(image, data)):
        note = f"only the first of its {count} pictures is kept"
        still = to_picture(image, data)
        return still.noting(note) if count > 1 else still
    hidden = moving and bool(image.info.get("default_image"))  # shown by programs that can't
    loops = int(image.info.get("loop", 1))
    if image.format == "GIF" and "loop" in image.info and loops:
        loops += 1  # a GIF counts what comes after the first time
    frames, durations = [], []
    for number in range(int(hidden), count):
        image.seek(number)
        frames.append(to_picture(image, data, whole=False))
        durations.append(float(image.info.get("duration") or 0))
    if pages:
        return Animation(tuple(frames))
    if len(frames) == 1:
        return frames[0]
    return Animation(alike(frames), tuple(durations), loops)


def alike(frames: list[Picture]) -> tuple[Picture, ...]:
    """Frames with the same channels, those that any of them needs."""
    gray = all(frame.gray for frame in frames)
    transparent = any(frame.transparent for frame in frames)
    return tuple(
        replace(frame, samples=with_channels(frame.samples, gray=gray, alpha=transparent))
        for frame in frames
    )


def with_channels(samples: Samples, *, gray: bool, alpha: bool) -> Samples:
    """(H, W, C) as gray or RGB, with or without alpha; opaque where there was none."""
    channels = samples.shape[2]
    order = [0] * (1 if gray else 3) if channels < 3 else [0, 1, 2]
    colour = samples[..., order]
    if not alpha:
        return np.ascontiguousarray(colour)
    full = np.full_like(samples[..., :1], np.iinfo(samples.dtype).max)
    return np.concatenate([colour, samples[..., -1:] if channels % 2 == 0 else full], axis=2)


def to_picture(image: Image.Image, data: bytes, *, whole: bool = True) -> Picture:
    """A picture, upright, with its metadata. ``whole``: it is all of the file ``data``."""
    deep = is_deep(image, data)
    if deep and whole and image.mode not in {"CMYK", "LAB"}:
        return to_deep_picture(image, data)
    image.load()  # which turns a TIFF upright
    orientation = safe_orientation(image)
    metadata, damaged = read_metadata(image, data)
    samples, metadata, changed = from_pillow(image, metadata, gray=is_monochrome(image, data))
    notes = damaged + (("reduced to 8 bits",) if deep else ()) + changed
    upright = turn_upright(samples, orientation)
    return Picture(upright, metadata, notes, lossy=is_lossy(image))


def to_deep_picture(image: Image.Image, data: bytes) -> Picture:
    """A picture of 16 bits, upright, with its metadata."""
    samples, cut_off = read_deep(image, data)
    orientation = safe_orientation(image)  # before loading, which turns a TIFF in Pillow only
    image.load()  # Pillow sees damage that other decoders pass over
    metadata, damaged = read_metadata(image, data)
    upright = turn_upright(samples, orientation)
    return Picture(upright, metadata, damaged + cut_off, lossy=is_lossy(image))


def is_lossy(image: Image.Image) -> bool:
    """Whether a file's format may change samples, whatever the file is called."""
    form = BY_NAME.get(own_name(image))
    return form is not None and form.quality is not None


def own_name(image: Image.Image) -> str:
    """Pillow's name for a file's format; several JPEGs in one file, as of a phone, are a JPEG."""
    return "JPEG" if image.format == "MPO" else image.format or ""


def safe_orientation(image: Image.Image) -> int:
    """The orientation, unless the format means another one or its EXIF is damaged."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # its decoder has turned it; EXIF may still tell the old one
    try:
        return orientation_of(image)
    except Exception:  # noqa: BLE001 as above; the pixels are worth more than their EXIF
        return 1


def from_pillow(
    image: Image.Image, metadata: Metadata, *, gray: bool
) -> tuple[Samples, Metadata, tuple[str, ...]]:
    """8-bit samples of a loaded image; other colour spaces through their profile to sRGB."""
    notes: tuple[str, ...] = ()
    if image.mode in {"CMYK", "LAB"}:
        through = "its profile" if metadata.icc_profile or image.mode == "LAB" else "no profile"
        notes = (f"converted from {image.mode} to sRGB through {through}",)
        image = to_srgb(image, metadata.icc_profile)
        metadata = replace(metadata, icc_profile=None)
    palette = image.mode in {"P", "PA"} or image.format == "GIF"
    colour = "L" if image.mode in {"1", "L", "LA", "La"} or gray else "RGB"
    image = image.convert(colour + "A" if image.has_transparency_data else colour)
    samples = np.asarray(image)
    samples = samples[..., None] if samples.ndim == 2 else samples
    if palette and samples.shape[2] > 2 and not metadata.icc_profile and is_colourless(samples):
        samples = np.ascontiguousarray(samples[..., [0, 3] if samples.shape[2] == 4 else [0]])
    return samples, metadata, notes


def is_colourless(samples: Samples) -> bool:
    """Whether the three channels are one."""
    red, green, blue = (samples[..., n] for n in range(3))
    return bool((red == green).all() and (green == blue).all())


def decode_tiff(data: bytes, name: str, error: Exception) -> Picture:
    """A TIFF of a kind that Pillow doesn't know: floats in colour, or gray with deep alpha."""
    if data[:4] not in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        raise PictureError(f"{name}: not a picture in a format that can be read") from error
    try:
        metadata, orientation = tiff_metadata(data)
        samples, cut_off = to_uint16(read_tiff(data))
        return Picture(turn_upright(samples, orientation), metadata, cut_off)
    except Exception as other:
        raise PictureError(f"{name}: a TIFF that can't be read ({other})") from other
