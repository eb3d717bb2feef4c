"""A picture with holes at ever half the size, the way back, and what is seen from afar."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def halve(rgb: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Means of what is known of four pixels; a hole where less than half is."""
    known = (~mask).to(rgb)[None]
    share = half(known)
    return half(rgb * known) / share.clamp(min=0.25), share[0] < 0.5


def half(x: Tensor) -> Tensor:
    """Means of 2×2: (C, h, w) → (C, ⌈h/2⌉, ⌈w/2⌉)."""
    return F.avg_pool2d(x[None], 2, ceil_mode=True, count_include_pad=False)[0]


def double(x: Tensor, size: torch.Size) -> Tensor:
    """Smooth enlargement of (C, ·, ·) to (C, *size)."""
    larger = F.interpolate(x[None], scale_factor=2.0, mode="bicubic")[0]
    return larger[:, : size[0], : size[1]]


def composite(rgb: Tensor, mask: Tensor, painted: Tensor) -> Tensor:
    """``painted`` in the holes, ``rgb`` elsewhere."""
    return torch.where(mask, painted.clamp(0, 1), rgb)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """What of (C, h, w) varies slowly."""
    return torch.from_numpy(np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in x.numpy()]))


def smooth(x: Tensor, mask: Tensor, sigma: float) -> Tensor:
    """What of ``x`` (C, h, w) varies slowly, seen within some places (h, w) alone."""
    within = mask.to(x)[None]
    return blurred(x * within, sigma) / blurred(within, sigma).clamp(min=1e-6)
