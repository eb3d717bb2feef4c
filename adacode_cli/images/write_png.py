"""A PNG whose rows come bit by bit; of 16 bits a channel, too, which Pillow can't write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import putchunk

from adacode_cli.images.deflate import BLOCK, RAW, Bytes, packed, side_by_side
from adacode_cli.images.picture import Metadata, PictureInBands
from adacode_cli.images.png_colour import png_colour_chunks

COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels → PNG's colour type
XMP_KEYWORD = b"XML:com.adobe.xmp"
HEADER, LAST = b"\x78\x5e", b"\x03\x00"  # of zlib: how it begins, and an empty last block


def write_png(file: IO[bytes], picture: PictureInBands, exif: Image.Exif) -> None:
    """A PNG with everything that is known about the picture; ``exif`` instead of its own."""
    (width, height), channels, depth = picture.size, picture.channels, picture.depth
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, depth, COLOUR[channels], 0, 0, 0)
    putchunk(file, b"IHDR", header)
    put_metadata(file, picture.metadata, exif)
    putchunk(file, b"IDAT", HEADER)
    checksum = zlib.adler32(b"")
    for filtered, data in side_by_side(pack_rows, with_row_above(picture)):
        checksum = zlib.adler32(filtered.data, checksum)
        putchunk(file, b"IDAT", data)
    putchunk(file, b"IDAT", LAST, struct.pack(">I", checksum))
    putchunk(file, b"IEND", b"")


def put_metadata(file: IO[bytes], metadata: Metadata, exif: Image.Exif) -> None:
    """The chunks that come before the pixels."""
    for kind, content in png_colour_chunks(metadata.png_colour):
        putchunk(file, kind, content)
    if metadata.icc_profile:
        putchunk(file, b"iCCP", b"ICC Profile\0\0", zlib.compress(metadata.icc_profile))
    if metadata.dpi:
        across, down = (round(dots / 0.0254) for dots in metadata.dpi)  # a metre
        putchunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))
    if len(exif):
        putchunk(file, b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    if metadata.xmp:
        putchunk(file, b"iTXt", XMP_KEYWORD, b"\0\0\0\0\0", metadata.xmp)


def with_row_above(picture: PictureInBands) -> Iterator[tuple[Bytes, int]]:
    """Blocks of rows as PNG's bytes, (rows + 1, W * bytes), the row above first; bytes a pixel."""
    above = np.zeros((1, picture.row_bytes), np.uint8)
    for block in picture.in_blocks(max(1, BLOCK // picture.row_bytes)):
        rows = block.astype(f">u{block.itemsize}", copy=False).view(np.uint8)
        rows = np.concatenate([above, rows.reshape(len(block), -1)])
        above = rows[-1:]
        yield rows, picture.channels * block.itemsize


def pack_rows(block: tuple[Bytes, int]) -> tuple[Bytes, bytes]:
    """The rows below the first as differences, each after its filter's number; and packed."""
    filtered = filter_rows(*block)
    return filtered, packed(filtered, RAW)


def filter_rows(rows: Bytes, step: int) -> Bytes:
    """(rows + 1, n) → (rows, 1 + n): each row by the filter whose differences are smallest.

    step: bytes a pixel.
    """
    row = rows[1:]
    best = np.empty((len(row), row.shape[1] + 1), np.uint8)
    best[:, 0], best[:, 1:] = 0, row
    least = sizes(row)
    for number, prediction in enumerate(predictions(rows, step), start=1):
        differences = row - prediction
        size = sizes(differences)
        better = size < least
        best[better, 0], best[better, 1:] = number, differences[better]
        least = np.minimum(size, least)
    return best


def sizes(differences: Bytes) -> NDArray[np.uint64]:
    """How large the bytes of each row are, as numbers from -128 to 127."""
    return np.minimum(differences, np.uint8(0) - differences).sum(axis=1, dtype=np.uint64)


def predictions(rows: Bytes, step: int) -> Iterator[Bytes]:
    """What PNG's filters expect of all rows but the first: Sub, Up, Average and Paeth."""
    up, left, corner = rows[:-1], np.zeros_like(rows[1:]), np.zeros_like(rows[1:])
    left[:, step:], corner[:, step:] = rows[1:, :-step], rows[:-1, :-step]
    yield left
    yield up
    yield (left & up) + ((left ^ up) >> 1)  # half their sum, without an overflow
    yield paeth(left, up, corner)


def paeth(left: Bytes, up: Bytes, corner: Bytes) -> Bytes:
    """Whichever is nearest to left + up - corner; the earlier one of equals."""
    a, b, c = (neighbour.astype(np.int16) for neighbour in (left, up, corner))
    b -= c
    a -= c
    to_corner = np.abs(a + b)
    to_left, to_up = np.abs(b, out=b), np.abs(a, out=a)
    nearest = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
