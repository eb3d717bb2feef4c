"""PNG of 16 bits, and TIFF with all its metadata: what Pillow can't write."""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, TiffTags
from PIL.PngImagePlugin import putchunk
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from adacode_cli.images.picture import Metadata, Samples

PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels → PNG's colour type
UP = 2  # PNG's filter: the difference to the row above
LEVEL = 5  # of compression
XMP_KEYWORD = b"XML:com.adobe.xmp"


def write_png(file: IO[bytes], samples: Samples, metadata: Metadata, exif: Image.Exif) -> None:
    """(H, W, C) of 16 bits as a PNG with everything that is known about it."""
    height, width, channels = samples.shape
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR[channels], 0, 0, 0)
    putchunk(file, b"IHDR", header)
    if metadata.icc_profile:
        putchunk(file, b"iCCP", b"ICC Profile\0\0", zlib.compress(metadata.icc_profile))
    if metadata.dpi:
        across, down = (round(dots / 0.0254) for dots in metadata.dpi)  # a metre
        putchunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))
    if len(exif):
        putchunk(file, b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    if metadata.xmp:
        putchunk(file, b"iTXt", XMP_KEYWORD, b"\0\0\0\0\0", metadata.xmp)
    compressor = zlib.compressobj(LEVEL)
    above = np.zeros(width * channels * 2, np.uint8)
    for top in range(0, height, 256):
        rows = samples[top : top + 256].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = UP
        filtered[:, 1:] = np.diff(rows, axis=0, prepend=above[None])
        above = rows[-1]
        if packed := compressor.compress(filtered.tobytes()):
            putchunk(file, b"IDAT", packed)
    putchunk(file, b"IDAT", compressor.flush())
    putchunk(file, b"IEND", b"")


def write_tiff(file: IO[bytes], samples: Samples, metadata: Metadata, exif: Image.Exif) -> None:
    """(H, W, C) of 8 or 16 bits as a TIFF with everything that is known about it."""
    height, width, channels = samples.shape
    differences = samples.astype(f"<u{samples.itemsize}")
    differences[:, 1:] -= samples[:, :-1]
    pixels = zlib.compress(differences.tobytes(), LEVEL)
    directory = ImageFileDirectory_v2(b"II\x2a\x00\0\0\0\0")
    for tag in exif:
        nested = tag in {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
        directory[tag] = exif.get_ifd(tag) if nested else exif[tag]
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (8 * samples.itemsize,) * channels,
        259: 8,  # deflate
        262: 1 if channels < 3 else 2,  # gray, where 0 is black; RGB
        273: 0,  # the pixels follow the directory
        277: channels,
        278: height,  # one strip
        279: len(pixels),
        284: 1,  # channels beside each other
        317: 2,  # differences along the rows
        339: (1,) * channels,  # unsigned
    }
    if channels % 2 == 0:
        tags[338] = 2  # alpha that isn't multiplied in
    if metadata.dpi:
        tags.update({282: metadata.dpi[0], 283: metadata.dpi[1], 296: 2})
    for tag, value in tags.items():
        directory[tag] = value
    for tag, blob in ((700, metadata.xmp), (34675, metadata.icc_profile)):
        if blob:
            directory.tagtype[tag] = TiffTags.UNDEFINED if tag == 34675 else TiffTags.BYTE
            directory[tag] = blob
    directory.save(file)
    file.write(pixels)
