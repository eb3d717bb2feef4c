"""Where the holes of a picture are, and how much of the picture each needs around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Hole:
    """Neighbouring holes to be filled together, and the part of the picture around them.

    rows, columns: that part. mask: within it, the pixels to be filled here.
    """

    rows: slice
    columns: slice
    mask: Mask


def find_holes(mask: Mask, near: int, least: int, surround: float) -> list[Hole]:
    """The holes of (H, W), those within ``near`` pixels of each other as one.

    Around each lies ``surround`` times its longer side, and ``least`` pixels or more.
    """
    if not mask.any():
        return []
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (near + 1, near + 1))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        cv2.dilate(mask.astype(np.uint8), kernel)
    )
    labels[~mask] = 0
    return [cut(labels, number, boxes[number], least, surround) for number in range(1, count)]


def cut(labels: NDArray[Any], number: int, box: NDArray[Any], least: int, surround: float) -> Hole:
    """One hole with its surroundings; ``box``: left, top, width and height of the region."""
    left, top, width, height = (int(n) for n in box[:4])
    margin = max(least, round(surround * max(width, height)))
    rows = slice(max(0, top - margin), top + height + margin)
    columns = slice(max(0, left - margin), left + width + margin)
    return Hole(rows, columns, labels[rows, columns] == number)


def depth_of(mask: Mask) -> NDArray[np.float32]:
    """How far each pixel of the holes is from the nearest known one, in pixels: (H, W)."""
    reachable = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.minimum(reachable, max(mask.shape)).astype(np.float32)
