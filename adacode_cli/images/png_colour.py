"""What a PNG without a profile says about its colours: primaries, gamma or code points.

The samples stay as they are, so what they mean has to go along (PNG, third edition, sections
11.3.2.1, 11.3.2.2 and 11.3.2.6).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = {b"IDAT", b"IEND"}
LENGTHS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32}
OVERRULING = {b"iCCP", b"sRGB"}  # beside one of these, only cICP counts
# As sRGB says it, which is what whoever ignores these chunks takes for granted.
SRGB = {
    b"cICP": bytes((1, 13, 0, 1)),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}


def read_png_colour(data: bytes) -> bytes | None:
    """Those of a PNG's chunks that count, each as its kind and content; None without any."""
    if not data.startswith(SIGNATURE):
        return None
    found = dict(chunks_before_pixels(data))
    overruled = bool(OVERRULING & found.keys())
    kept = [kind + found[kind] for kind in LENGTHS if kind in found]
    return b"".join(chunk for chunk in kept if chunk[:4] == b"cICP" or not overruled) or None


def chunks_before_pixels(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each; the content of those alone that are about colours."""
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in PIXELS:
            return
        if kind in OVERRULING or LENGTHS.get(kind) == length:
            yield kind, data[place + 8 : place + 8 + LENGTHS.get(kind, 0)]
        place += 12 + length


def png_colour_chunks(blob: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each that ``read_png_colour`` found; nothing of anything else."""
    rest = blob or b""
    while (length := LENGTHS.get(rest[:4])) is not None and len(rest) >= 4 + length:
        yield rest[:4], rest[4 : 4 + length]
        rest = rest[4 + length :]


def other_than_srgb(blob: bytes | None) -> str:
    """The names of those that say anything but sRGB."""
    chunks = png_colour_chunks(blob)
    return " and ".join(kind.decode() for kind, content in chunks if content != SRGB[kind])
