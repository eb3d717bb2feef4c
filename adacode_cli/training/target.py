"""What super-resolution is to make of a patch: the photo, or a calmer and crisper one.

Photos carry grain and blocks of their own, and their edges are as soft as their lenses. What a
network should draw may differ from them, as in the targets of Real-ESRGAN (Wang et al., 2021,
section 3.3), so that it learns clean surfaces and sharp edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adacode_cli.training.degradations import Image, to_bytes

RADIUS = 2.0  # pixels: the standard deviation of the blur that sharpening compares with
EDGE = 6.0  # of 255: differences that are sharpened
NEAR = 7  # pixels across: where calming looks for pixels that are alike
SPREAD = 2.5  # pixels: how fast those further away count less
REACH = 5  # pixels across: sharpening may go beyond the tones there
BEYOND = 0.2  # by so much of their range


@dataclass(frozen=True)
class Target:
    """How a clean patch is changed before a network learns to draw it.

    calm: differences, of 255 and summed over the channels, that count as grain and are smoothed
    away; sharpen: how much of the difference to a blur is added at edges. 0 and 0 leave it be.
    """

    calm: float = 0.0
    sharpen: float = 0.0

    def __call__(self, clean: Image) -> Image:
        """(H, W, 3) uint8 → the same."""
        return sharpened(calmed(clean, self.calm), self.sharpen)


def calmed(clean: Image, levels: float) -> Image:
    """A bilateral filter (Tomasi and Manduchi, 1998): (H, W, 3) → the same.

    Steps of much more than ``levels`` (of 255, summed over the channels) stay as they are.
    """
    if not levels:
        return clean
    return cv2.bilateralFilter(clean, NEAR, levels, SPREAD)  # type: ignore[return-value]


def sharpened(clean: Image, amount: float) -> Image:
    """An unsharp mask around edges: (H, W, 3) → the same; ``amount`` 0.5 adds half a difference.

    With a narrower blur than Real-ESRGAN's. Where a pixel differs from its surroundings by more
    than ``EDGE``, it is applied, fading out over some ``RADIUS`` pixels; elsewhere are noise and
    what is out of focus, which stay. A pixel may leave the range of the tones around it by
    ``BEYOND`` of that range: edges get steeper, without wide halos.
    """
    if not amount:
        return clean
    pixels = clean.astype(np.float32)
    detail = pixels - cv2.GaussianBlur(pixels, (0, 0), RADIUS)
    edges = cv2.GaussianBlur((np.abs(detail) > EDGE).astype(np.float32), (0, 0), RADIUS)
    square = np.ones((REACH, REACH), np.uint8)
    darkest, lightest = cv2.erode(clean, square), cv2.dilate(clean, square)
    beyond = BEYOND * (lightest.astype(np.float32) - darkest)
    crisp = np.clip(pixels + amount * edges * detail, darkest - beyond, lightest + beyond)
    return to_bytes(crisp)
