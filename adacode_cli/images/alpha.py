"""Colour where nothing shows, so that nothing strange bleeds over an edge."""

from __future__ import annotations

import numpy as np

from adacode_cli.images.nearest import nearest
from adacode_cli.images.picture import Plane


def fill_transparent(rgb: Plane, alpha: Plane) -> Plane:
    """Give each fully transparent pixel the colour of the nearest visible one.

    rgb: (3, H, W), alpha: (H, W). The network mixes neighbours; what files keep under full
    transparency, often black, would come out as a dark fringe.
    """
    visible = alpha > 0
    if visible.all() or not visible.any():
        return rgb
    labels, number = nearest(visible)
    return np.ascontiguousarray(rgb.reshape(3, -1)[:, number][:, labels])
