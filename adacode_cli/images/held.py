"""A picture as far as a format can hold it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adacode_cli.images.colour import is_srgb, to_srgb
from adacode_cli.images.formats import Format
from adacode_cli.images.picture import Picture, Samples


def to_image(picture: Picture, form: Format, notes: list[str]) -> Image.Image:
    """8-bit L, LA, RGB or RGBA, as far as the format can hold them."""
    samples = picture.samples
    if picture.depth == 16:
        samples = reduce_depth(samples)
        notes.append("reduced to 8 bits")
    if picture.transparent and not form.alpha:
        samples = on_white(samples)
        notes.append("white shows where it was transparent")
    if picture.transparent and form.name == "GIF":
        samples = all_or_nothing(samples)
        notes.append("in a GIF, a pixel is transparent or opaque")
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    profile = picture.metadata.icc_profile
    if profile and not form.profile and not is_srgb(profile):
        notes.append("converted to sRGB: its format holds no colour profile")
        return through_profile(image, profile)
    return image


def through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The colours in sRGB; the alpha as it is."""
    if "A" not in image.mode:
        return to_srgb(image, profile, image.mode)
    opaque = to_srgb(image.convert(image.mode[:-1]), profile, image.mode[:-1])
    opaque.putalpha(image.getchannel("A"))
    return opaque


def reduce_depth(samples: Samples) -> Samples:
    """16 bits to the nearest of 8."""
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def all_or_nothing(samples: Samples) -> Samples:
    """8 bits whose alpha is 0, without a colour, or 255."""
    shown = samples[..., -1:] >= 128
    opaque = np.where(shown, samples, 0)
    opaque[..., -1:] = np.where(shown, 255, 0)
    return opaque


def on_white(samples: Samples) -> Samples:
    """8 bits without alpha, as seen on white."""
    alpha = samples[..., -1:].astype(np.float32) / 255
    seen = samples[..., :-1] * alpha + 255 * (1 - alpha)
    return np.rint(seen).astype(np.uint8)
