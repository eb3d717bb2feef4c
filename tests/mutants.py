"""Damaged and hostile pictures without end: number N of a seed is always the same one."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import ExifTags, Image, ImageCms

from tests.conftest import make_photo

Random = np.random.Generator
ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\n\x00"
LARGE = 1 << 26  # bytes that a few compressed ones unpack to


@dataclass(frozen=True)
class Mutant:
    """A file that a person may meet: its name, its bytes, and what was done to it."""

    name: str
    data: bytes
    story: str


@dataclass(frozen=True)
class Seed:
    """A sound file to start from."""

    suffix: str
    data: bytes


@cache
def seeds() -> tuple[Seed, ...]:
    """Every format and many of its kinds, small."""
    photo = make_photo(61, 43)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = {"exif": exif.tobytes(), "icc_profile": icc}
    deep = Image.fromarray((np.asarray(photo.convert("L")).astype(np.uint16)) * 257)
    alpha = photo.convert("RGBA")
    alpha.putalpha(photo.convert("L"))
    frames = [photo.convert("P"), photo.rotate(90).convert("P")]
    return (
        Seed("png", encode(photo, "PNG", **told)),
        Seed("png", encode(alpha, "PNG")),
        Seed("png", encode(photo.convert("P"), "PNG")),
        Seed("png", encode(photo.convert("1"), "PNG")),
        Seed("png", encode(deep, "PNG")),
        Seed("jpg", encode(photo, "JPEG", **told)),
        Seed("jpeg", encode(photo, "JPEG", progressive=True)),
        Seed("jpg", encode(photo.convert("L"), "JPEG")),
        Seed("jpg", encode(photo.convert("CMYK"), "JPEG")),
        Seed("webp", encode(photo, "WEBP", **told)),
        Seed("webp", encode(alpha, "WEBP", lossless=True)),
        Seed("tif", encode(photo, "TIFF")),
        Seed("tiff", encode(photo, "TIFF", compression="tiff_lzw")),
        Seed("tif", encode(photo, "TIFF", compression="tiff_adobe_deflate", **told)),
        Seed("tif", encode(deep, "TIFF")),
        Seed("tif", encode(photo, "TIFF", save_all=True, append_images=[photo])),
        Seed("bmp", encode(photo, "BMP")),
        Seed("gif", encode(photo.convert("P"), "GIF")),
        Seed("gif", encode(frames[0], "GIF", save_all=True, append_images=frames[1:])),
        Seed("avif", encode(photo, "AVIF", **told)),
    )


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def mutant(number: int, seed: int = 0) -> Mutant:
    """Number ``number`` of ``seed``: one or two things wrong with a sound file."""
    rng = np.random.default_rng([seed, number])
    start = seeds()[rng.integers(len(seeds()))]
    kind = KINDS[number % len(KINDS)]
    data = kind(rng, start)
    story = f"{start.suffix}: {kind.__name__}"
    if rng.random() < 0.2:
        data = flip_bits(rng, Seed(start.suffix, data))
        story += ", flip_bits"
    suffix = start.suffix
    if rng.random() < 0.05:
        suffix = seeds()[rng.integers(len(seeds()))].suffix
        story += f", named .{suffix}"
    odd = "\x1b[31mred " if rng.random() < 0.02 else ""
    return Mutant(f"{odd}{number:06}.{suffix}", data, story)


def truncate(rng: Random, seed: Seed) -> bytes:
    """Cut anywhere, often early."""
    return seed.data[: int(len(seed.data) * rng.random() ** 2)]


def flip_bits(rng: Random, seed: Seed) -> bytes:
    """One to 30 bits, anywhere or within the first hundred bytes."""
    data = bytearray(seed.data)
    reach = min(len(data), 100) if rng.random() < 0.5 else len(data)
    for place in rng.integers(0, reach, rng.integers(1, 31)) if reach else ():
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def overwrite(rng: Random, seed: Seed) -> bytes:
    """A stretch becomes zeros, ones or noise."""
    start, end = sorted(rng.integers(0, len(seed.data), 2))
    fill = (bytes(end - start), b"\xff" * (end - start), rng.bytes(end - start))[rng.integers(3)]
    return seed.data[:start] + fill + seed.data[end:]


def cut_out(rng: Random, seed: Seed) -> bytes:
    """A stretch is missing."""
    start, end = sorted(rng.integers(0, len(seed.data), 2))
    return seed.data[:start] + seed.data[end:]


def repeat(rng: Random, seed: Seed) -> bytes:
    """A stretch comes up to fifty times."""
    start, end = sorted(rng.integers(0, len(seed.data), 2))
    again = seed.data[start:end] * int(rng.integers(2, 50))
    return seed.data[:start] + again + seed.data[end:]


def splice(rng: Random, seed: Seed) -> bytes:
    """The head of one file and the body of another."""
    other = seeds()[rng.integers(len(seeds()))].data
    place = int(rng.integers(1, min(len(seed.data), len(other))))
    return seed.data[:place] + other[place:]


def something_else(rng: Random, _: Seed) -> bytes:
    """Nothing, zeros, text, a page, an archive, noise: under a picture's name."""
    return (
        b"",
        bytes(int(rng.integers(1, 5000))),
        b"just text\n" * int(rng.integers(1, 100)),
        b"<!doctype html><script>alert(1)</script>",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1e9' height='1e9'/>",
        b"PK\x03\x04" + rng.bytes(200),
        rng.bytes(int(rng.integers(1, 5000))),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\nshowpage\n",
        b"P6 99999999 99999999 255\n" + rng.bytes(100),
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"MM\x00*\x00\x00\x00\x08",
    )[rng.integers(12)]


def absurd_size(rng: Random, seed: Seed) -> bytes:
    """The header claims a width and a height that nobody has."""
    width, height = (int(2 ** rng.uniform(0, 32)) & 0xFFFFFFFF for _ in range(2))
    data = bytearray(seed.data)
    if seed.suffix == "png":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif seed.suffix == "bmp":
        data[18:26] = struct.pack("<II", width, height)
    elif seed.suffix == "gif":
        data[6:10] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif seed.suffix in ("jpg", "jpeg"):
        marker = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[marker + 5 : marker + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif seed.suffix in ("tif", "tiff"):
        set_tiff_sizes(data, width, height)
    else:  # WebP, AVIF: wherever the right size stands, as two bytes
        for right, wrong in ((61, width), (60, width), (43, height), (42, height)):
            for form in ("<H", ">H"):
                data = data.replace(struct.pack(form, right), struct.pack(form, wrong & 0xFFFF), 1)
    return bytes(data)


def set_tiff_sizes(data: bytearray, width: int, height: int) -> None:
    """Change the width and the height in the first directory of a little-endian TIFF."""
    (first,) = struct.unpack_from("<I", data, 4)
    if first + 2 > len(data):
        return
    (count,) = struct.unpack_from("<H", data, first)
    for entry in range(first + 2, min(first + 2 + 12 * count, len(data) - 12), 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (256, 257):
            value = width if tag == 256 else height
            struct.pack_into("<HII", data, entry + 2, 4, 1, value)


def hostile_png(rng: Random, _: Seed) -> bytes:
    """Chunks that unpack to far more than they are, lie, or talk to the terminal."""
    text = ESCAPES.encode() * 5
    bomb = zlib.compress(bytes(LARGE), 9)
    chunk = (
        (b"zTXt", b"Comment\0\0" + bomb),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        (b"iCCP", b"profile\0\0" + bomb),
        (b"iCCP", b"profile\0\0" + zlib.compress(rng.bytes(3000))),
        (b"eXIf", rng.bytes(300)),
        (b"eXIf", circular_exif()),
        (b"tEXt", b"Title\0" + text),
        (b"pHYs", struct.pack(">IIB", 0xFFFFFFFF, 0, 1)),
        (b"gAMA", bytes(4)),
        (b"acTL", struct.pack(">II", 0xFFFFFFFF, 0)),
        (b"tRNS", rng.bytes(7)),
        (b"PLTE", rng.bytes(770)),
    )[rng.integers(12)]
    sound = encode(make_photo(61, 43), "PNG")
    return sound[:33] + png_chunk(*chunk) + sound[33:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def hostile_jpeg(rng: Random, _: Seed) -> bytes:
    """Segments of metadata with absurd contents, many of them."""
    segment = (
        (0xE1, b"Exif\0\0" + rng.bytes(400)),
        (0xE1, b"Exif\0\0" + circular_exif()),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60000),
        (0xE2, b"ICC_PROFILE\0\1\xff" + rng.bytes(1000)),
        (0xE2, b"MPF\0" + rng.bytes(300)),
        (0xEE, b"Adobe" + rng.bytes(7)),
        (0xE0, b"JFIF\0\1\1\1\0\0\0\0\xff\xff"),
        (0xFE, ESCAPES.encode() * 100),
        (0xDD, b"\xff\xff"),
        (0xED, b"Photoshop 3.0\08BIM" + rng.bytes(500)),
    )[rng.integers(10)]
    sound = encode(make_photo(61, 43), "JPEG")
    body = bytes([0xFF, segment[0]]) + struct.pack(">H", len(segment[1]) + 2) + segment[1]
    return sound[:2] + body * int(rng.integers(1, 40)) + sound[2:]


def circular_exif() -> bytes:
    """Directories that lead to themselves, and counts that nothing holds."""
    entry = struct.pack("<HHII", ExifTags.IFD.Exif, 4, 1, 8)
    huge = struct.pack("<HHII", ExifTags.Base.Make, 2, 0xFFFFFFF0, 8)
    turned = struct.pack("<HHII", ExifTags.Base.Orientation, 4, 0x7FFFFFFF, 6)
    head = b"II*\0" + struct.pack("<I", 8)
    return head + struct.pack("<H", 3) + entry + huge + turned + struct.pack("<I", 8)


def hostile_tiff(rng: Random, _: Seed) -> bytes:
    """A directory of random entries, or one that leads to itself."""
    kinds = rng.integers(0, 14, 12)
    tags = rng.choice(
        [256, 257, 258, 259, 262, 273, 277, 278, 279, 320, 322, 339, 34675, 33432], 12
    )
    entries = b"".join(
        struct.pack("<HHII", tag, kind, int(2 ** rng.uniform(0, 32)), int(2 ** rng.uniform(0, 32)))
        for tag, kind in zip(sorted(tags), kinds, strict=True)
    )
    after = 8 if rng.random() < 0.5 else 0
    body = struct.pack("<H", 12) + entries + struct.pack("<I", after) + rng.bytes(500)
    return b"II*\0" + struct.pack("<I", 8) + body


KINDS: tuple[Callable[[Random, Seed], bytes], ...] = (
    truncate,
    flip_bits,
    overwrite,
    cut_out,
    repeat,
    splice,
    something_else,
    absurd_size,
    hostile_png,
    hostile_jpeg,
    hostile_tiff,
)
