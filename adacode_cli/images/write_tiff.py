"""A TIFF whose rows come bit by bit, with all its metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, TiffTags
from PIL.TiffImagePlugin import AppendingTiffWriter, ImageFileDirectory_v2

from adacode_cli.images.deflate import BLOCK, WRAPPED, packed, side_by_side
from adacode_cli.images.picture import Metadata, PictureInBands, Samples

OFFSETS, COUNTS = 273, 279  # the tags that say where each strip is, and how long
CLASSIC, BIG = b"II\x2a\0" + bytes(4), b"II\x2b\0\x08\0\0\0" + bytes(8)  # how a file begins
LONG8 = 16  # the type of a number of 64 bits
LARGEST = 4 * 10**9  # bytes of samples; more, packed badly, may not fit into 32 bits


def write_tiff(file: IO[bytes], picture: PictureInBands, exif: Image.Exif) -> None:
    """A TIFF with everything that is known about the picture; ``exif`` instead of its own.

    The directory comes first, and is written again when it is known where the strips are.
    """
    height = picture.size[1]
    rows = min(max(1, BLOCK // picture.row_bytes), height)
    strips = -(-height // rows)
    large = picture.row_bytes * height > LARGEST
    directory = ImageFileDirectory_v2(BIG if large else CLASSIC)
    fill_in(directory, layout(picture, rows), picture.metadata, exif)
    for tag in (OFFSETS, COUNTS):
        directory.tagtype[tag] = LONG8 if large else TiffTags.LONG
        directory[tag] = (0,) * strips
    directory.save(file)
    end = file.tell()
    offsets, counts = [], []
    for data in side_by_side(pack_strip, picture.in_blocks(rows)):
        offsets.append(file.tell() - end)  # which is how Pillow counts
        counts.append(len(data))
        file.write(data)
    directory[OFFSETS], directory[COUNTS] = tuple(offsets), tuple(counts)
    file.seek(0)
    directory.save(file)
    file.seek(0, 2)


def write_pages(file: IO[bytes], pages: Iterable[PictureInBands], exif: Image.Exif) -> None:
    """Several pictures, of any sizes, in one TIFF; the first has ``exif``."""
    appended = AppendingTiffWriter(file, new=True)
    for page in pages:
        write_tiff(appended, page, exif)
        appended.newFrame()
        exif = Image.Exif()  # directories within one are where a later page can't find them


def layout(picture: PictureInBands, rows: int) -> dict[int, Any]:
    """The tags that say how the samples lie in strips of ``rows`` rows."""
    channels = picture.channels
    tags: dict[int, Any] = {
        256: picture.size[0],
        257: picture.size[1],
        258: (picture.depth,) * channels,
        259: 8,  # deflate
        262: 1 if channels < 3 else 2,  # gray, where 0 is black; RGB
        277: channels,
        278: rows,
        284: 1,  # channels beside each other
        317: 2,  # differences along the rows
        339: (1,) * channels,  # unsigned
    }
    return {**tags, 338: 2} if channels % 2 == 0 else tags  # alpha that isn't multiplied in


def fill_in(
    directory: ImageFileDirectory_v2, tags: dict[int, Any], metadata: Metadata, exif: Image.Exif
) -> None:
    """Everything but where the strips are."""
    for tag in exif:
        nested = tag in {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
        directory[tag] = exif.get_ifd(tag) if nested else exif[tag]
    if metadata.dpi:
        tags = {**tags, 282: metadata.dpi[0], 283: metadata.dpi[1], 296: 2}
    for tag, value in tags.items():
        directory[tag] = value
    for tag, blob in ((700, metadata.xmp), (34675, metadata.icc_profile)):
        if blob:
            directory.tagtype[tag] = TiffTags.UNDEFINED if tag == 34675 else TiffTags.BYTE
            directory[tag] = blob


def pack_strip(samples: Samples) -> bytes:
    """(rows, W, C) as differences to the pixel on the left, packed."""
    differences = samples.astype(f"<u{samples.itemsize}")
    differences[:, 1:] -= samples[:, :-1]
    return packed(differences.view(np.uint8), WRAPPED)
