"""Holes to learn inpainting on: brush strokes, boxes and outlines.

The strokes are the paper's (section 4.3): one to three lines of many vertices, 12 to 80 pixels
wide at 512; that patches are parts of something larger is ours. Masks are (H, W) uint8, 255
where the picture is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Points = NDArray[np.int32]
HoleKind = Literal["strokes", "boxes", "outlines"]
KINDS: tuple[HoleKind, ...] = ("strokes", "boxes", "outlines")
# A patch of 256 pixels is a part of a photo of up to twice its side, with holes to match.
LARGER = (1.0, 2.0)
COVERED = (0.02, 0.5)  # of a patch
TRIES = 8


@dataclass(frozen=True)
class Brush:
    """How holes are drawn; lengths are shares of the mean side, ranges are uniform."""

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)  # of strokes, boxes, outlines
    strokes: tuple[int, int] = (1, 3)
    vertices: tuple[int, int] = (8, 28)
    width: tuple[float, float] = (12 / 512, 80 / 512)
    step: tuple[float, float] = (0.02, 0.16)  # from vertex to vertex
    most: float = 0.35  # of the picture; strokes end where they would cover more
    boxes: tuple[int, int] = (1, 4)
    box_side: tuple[float, float] = (0.06, 0.3)
    outlines: tuple[int, int] = (1, 3)
    outline_radius: tuple[float, float] = (0.06, 0.22)


def draw_holes(
    size: tuple[int, int], rng: np.random.Generator, brush: Brush | None = None
) -> tuple[Mask, HoleKind]:
    """A mask of (height, width) and what it is made of; never empty, never everything."""
    b = brush or Brush()
    kind = KINDS[int(rng.choice(len(KINDS), p=b.shares))]
    mask = np.zeros(size, np.uint8)
    {"strokes": draw_strokes, "boxes": draw_boxes, "outlines": draw_outlines}[kind](mask, rng, b)
    return mask, kind


def draw_part(size: tuple[int, int], rng: np.random.Generator, brush: Brush | None = None) -> Mask:
    """A mask of a patch (height, width) as a part of something larger, cut out at random.

    Holes that are all drawn within their patch are smaller than those of the photos that it
    stands for, and seldom reach its border. Never empty, never everything.
    """
    for _ in range(TRIES):
        factor = rng.uniform(*LARGER)
        whole, _ = draw_holes((round(factor * size[0]), round(factor * size[1])), rng, brush)
        top, left = (
            int(rng.integers(n - s, endpoint=True)) for n, s in zip(whole.shape, size, strict=True)
        )
        part = whole[top : top + size[0], left : left + size[1]]
        if COVERED[0] <= np.mean(part > 0) <= COVERED[1]:
            return np.ascontiguousarray(part)
    return draw_holes(size, rng, brush)[0]


def draw_strokes(mask: Mask, rng: np.random.Generator, b: Brush) -> None:
    """Lines that turn a little at every vertex, round at their ends."""
    side = sum(mask.shape) / 2
    for _ in range(int(rng.integers(*b.strokes, endpoint=True))):
        width = max(2, round(side * rng.uniform(*b.width)))
        at, heading = rng.uniform(0, mask.shape[::-1]), rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(*b.vertices, endpoint=True))):
            if np.count_nonzero(mask) > b.most * mask.size:
                return
            heading += rng.normal(0, 0.9)
            way = side * rng.uniform(*b.step) * np.array((np.cos(heading), np.sin(heading)))
            to = np.clip(at + way, 0, np.subtract(mask.shape[::-1], 1))
            cv2.line(mask, pixel(at), pixel(to), 255, width)
            cv2.circle(mask, pixel(to), width // 2, 255, -1)
            at = to


def draw_boxes(mask: Mask, rng: np.random.Generator, b: Brush) -> None:
    """Upright rectangles."""
    for _ in range(int(rng.integers(*b.boxes, endpoint=True))):
        size = [max(2, round(n * rng.uniform(*b.box_side))) for n in mask.shape]
        top, left = (int(rng.integers(n - s)) for n, s in zip(mask.shape, size, strict=True))
        mask[top : top + size[0], left : left + size[1]] = 255


def draw_outlines(mask: Mask, rng: np.random.Generator, b: Brush) -> None:
    """Shapes like those of things: closed curves, filled, or only their line."""
    side = sum(mask.shape) / 2
    for _ in range(int(rng.integers(*b.outlines, endpoint=True))):
        radius = side * rng.uniform(*b.outline_radius)
        points = closed_curve(rng.uniform(0.1, 0.9, 2) * mask.shape[::-1], radius, rng)
        if rng.random() < 0.7:
            cv2.fillPoly(mask, [points], 255)
        else:
            cv2.polylines(mask, [points], True, 255, max(2, round(radius * rng.uniform(0.1, 0.3))))


def closed_curve(centre: NDArray[Any], radius: float, rng: np.random.Generator) -> Points:
    """A wobbly circle: (64, 2) points (x, y)."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    wobble = sum(
        rng.normal(0, 0.3 / n) * np.cos(n * angle + rng.uniform(0, 2 * np.pi)) for n in range(1, 6)
    )
    distance = radius * np.clip(1 + wobble, 0.3, 2)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.rint(centre + distance[:, None] * around).astype(np.int32)


def pixel(point: NDArray[Any]) -> tuple[int, int]:
    """(x, y), rounded."""
    x, y = np.rint(point).astype(int).tolist()
    return x, y
