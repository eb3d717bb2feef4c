"""Colour where nothing shows, so that nothing strange bleeds over an edge."""

from __future__ import annotations

import numpy as np

from adacode_cli.images.picture import Plane


def fill_transparent(rgb: Plane, alpha: Plane) -> Plane:
    """Give each fully transparent pixel the colour of the nearest visible one.

    rgb: (3, H, W), alpha: (H, W). The network mixes neighbours; what files keep under full
    transparency, often black, would come out as a dark fringe.
    """
    hidden = (alpha == 0).astype(np.uint8)
    if hidden.all() or not hidden.any():
        return rgb
    import cv2

    _, labels = cv2.distanceTransformWithLabels(
        hidden, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    visible = hidden == 0
    colours = np.zeros((3, labels.max() + 1), np.float32)
    colours[:, labels[visible]] = rgb[:, visible]
    return np.ascontiguousarray(colours[:, labels])
