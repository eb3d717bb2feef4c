"""Colour that stays what it was: other spaces through their profile, and --color-lock."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from adacode_cli.images.picture import Plane

REACH = 1 / 32  # of the longer side: finer than this, colour may change


def to_srgb(image: Image.Image, icc_profile: bytes | None, mode: str = "RGB") -> Image.Image:
    """A CMYK, LAB or RGB image in sRGB, through its profile where it has one that fits."""
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(image, lab, srgb(), outputMode=mode) or image
    if icc_profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            converted = ImageCms.profileToProfile(image, source, srgb(), outputMode=mode)
        except (ImageCms.PyCMSError, OSError):  # a profile of something else
            converted = None
        if converted is not None:
            return converted
    return image.convert(mode)


def srgb() -> Any:
    """The profile of what screens show."""
    return ImageCms.createProfile("sRGB")


def is_srgb(icc_profile: bytes) -> bool:
    """Whether a profile calls itself sRGB."""
    try:
        name = ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)))
    except (ImageCms.PyCMSError, OSError):
        return False
    return "srgb" in name.lower()


def lock_colour(restored: Plane, original: Plane) -> Plane:
    """``restored`` with the coarse colour of ``original``: (3, h, w) each, of any size.

    What both are after the same strong blur is compared, and the difference is taken back.
    """
    import cv2

    _, height, width = original.shape
    drift = np.stack(
        [
            cv2.resize(now, (width, height), interpolation=cv2.INTER_AREA) - before
            for now, before in zip(restored, original, strict=True)
        ]
    )
    sigma = max(REACH * max(height, width), 1)
    locked = np.empty_like(restored)
    for channel, difference in enumerate(drift):
        coarse = cv2.GaussianBlur(difference, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        size = restored.shape[2], restored.shape[1]
        locked[channel] = restored[channel] - cv2.resize(
            coarse, size, interpolation=cv2.INTER_LINEAR
        )
    return np.clip(locked, 0, 1, out=locked)
