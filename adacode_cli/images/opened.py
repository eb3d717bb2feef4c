"""An image that Pillow has opened becomes a Picture, as its file would."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adacode_cli.images.picture import Metadata, Picture
from adacode_cli.images.read import from_pillow, is_lossy
from adacode_cli.images.read_deep import is_deep_mode, to_uint16


def opened(image: Image.Image) -> Picture:
    """The pixels of an image of any mode, neither turned upright nor with its metadata.

    The modes I and F come in 16 bits, from 0 to 65535 and from 0 to 1; CMYK and LAB through their
    profile. A note tells of values that were cut off.
    """
    if is_deep_mode(image.mode):
        samples, notes = to_uint16(np.asarray(image))
    else:
        given = Metadata(icc_profile=image.info.get("icc_profile"))
        samples, _, notes = from_pillow(image, given, gray=False)
    return Picture(samples, notes=notes, lossy=is_lossy(image))
