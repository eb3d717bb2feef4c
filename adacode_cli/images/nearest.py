"""Which of some pixels lies nearest to each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nearest(places: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Of some places (H, W), one at least, the nearest to each pixel.

    A label for each pixel, (H, W), and the place that a label stands for, counted row by row.
    """
    import cv2

    _, labels = cv2.distanceTransformWithLabels(
        (~places).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(labels.max() + 1, np.int64)
    number[labels[places]] = np.flatnonzero(places)
    return labels, number
