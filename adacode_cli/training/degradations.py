"""Blind degradation: what happened to a photo before it reached us.

After BSRGAN (Zhang et al., 2021, section 3): blur, reduction, noise and JPEG, each of random
strength, blur and noise in random order around the reduction. Images are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Pixels = NDArray[np.float32]  # the same, as floats in [0, 255]


@dataclass(frozen=True)
class Strengths:
    """How hard an image may be hit; ranges are uniform, chances are probabilities."""

    blur_chance: float = 0.8
    blur_sigma: tuple[float, float] = (0.1, 0.7)  # × scale, in pixels of the clean image
    noise_chance: float = 0.7
    noise_sigma: tuple[float, float] = (1.0, 12.0)  # of 255
    jpeg_chance: float = 0.8
    jpeg_quality: tuple[int, int] = (40, 95)
    detour_chance: float = 0.3  # of a reduction in two steps
    clean_chance: float = 0.15  # of a plain reduction and nothing else


REDUCTIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def degrade(
    clean: Image, scale: int, rng: np.random.Generator, strengths: Strengths | None = None
) -> Image:
    """A degraded version of ``clean``, ``scale`` times smaller: (H, W, 3) → (H/s, W/s, 3).

    Raises ``ValueError`` when the sides of ``clean`` are not multiples of ``scale``.
    """
    s = strengths or Strengths()
    h, w = clean.shape[:2]
    if h % scale or w % scale:
        raise ValueError(f"a side of {w}×{h} is not a multiple of {scale}")
    pixels, size = clean.astype(np.float32), (w // scale, h // scale)
    if rng.random() < s.clean_chance:
        return to_bytes(reduce(pixels, size, cv2.INTER_CUBIC))
    early_noise = rng.random() < 0.2
    steps: list[tuple[float, Callable[[Pixels], Pixels]]] = [
        (s.noise_chance * early_noise, lambda x: noisy(x, rng, s)),
        (s.blur_chance, lambda x: blurred(x, scale, rng, s)),
        (1.0, lambda x: reduced(x, size, rng, s)),
        (s.noise_chance * (not early_noise), lambda x: noisy(x, rng, s)),
        (s.jpeg_chance, lambda x: compressed(x, rng, s)),
    ]
    for chance, step in steps:
        if rng.random() < chance:
            pixels = step(pixels)
    return to_bytes(pixels)


def to_bytes(pixels: NDArray[Any]) -> Image:
    """Round to 8 bits."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def blurred(pixels: Pixels, scale: int, rng: np.random.Generator, s: Strengths) -> Pixels:
    """A Gaussian blur, isotropic or along a random direction."""
    sigma_x, sigma_y = scale * rng.uniform(*s.blur_sigma, size=2)
    if rng.random() < 0.5:
        sigma_y = sigma_x
    kernel = gaussian_kernel(sigma_x, sigma_y, angle=rng.uniform(0, np.pi))
    return cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float) -> Pixels:
    """A normalised kernel wide enough for its larger sigma (pixels, radians)."""
    radius = max(1, int(np.ceil(2.5 * max(sigma_x, sigma_y))))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    u = np.cos(angle) * x + np.sin(angle) * y
    v = -np.sin(angle) * x + np.cos(angle) * y
    kernel = np.exp(-0.5 * ((u / sigma_x) ** 2 + (v / sigma_y) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def reduced(
    pixels: Pixels, size: tuple[int, int], rng: np.random.Generator, s: Strengths
) -> Pixels:
    """To ``size`` (width, height), sometimes by way of another size."""
    if rng.random() < s.detour_chance:
        factor = rng.uniform(0.7, 2.0)
        detour = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
        pixels = reduce(pixels, detour, int(rng.choice(REDUCTIONS)))
    return reduce(pixels, size, int(rng.choice(REDUCTIONS)))


def reduce(pixels: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    """Resize without aliasing: linear and cubic see an area-averaged image at twice the size."""
    between = (2 * size[0], 2 * size[1])
    if interpolation != cv2.INTER_AREA and between[0] < pixels.shape[1]:
        pixels = cv2.resize(pixels, between, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return cv2.resize(pixels, size, interpolation=interpolation)  # type: ignore[return-value]


def noisy(pixels: Pixels, rng: np.random.Generator, s: Strengths) -> Pixels:
    """Gaussian noise, in colour or in gray, or shot noise that grows with the light."""
    sigma = rng.uniform(*s.noise_sigma)
    kind = rng.choice(("colour", "gray", "shot"), p=(0.5, 0.25, 0.25))
    channels = 1 if kind == "gray" else 3
    noise = rng.standard_normal((*pixels.shape[:2], channels), dtype=np.float32) * sigma
    if kind == "shot":
        noise *= np.sqrt(np.clip(pixels, 0, 255) / 128)
    return np.asarray(pixels + noise, dtype=np.float32)


def compressed(pixels: Pixels, rng: np.random.Generator, s: Strengths) -> Pixels:
    """Through JPEG and back."""
    quality = int(rng.integers(*s.jpeg_quality, endpoint=True))
    bgr = cv2.cvtColor(to_bytes(pixels), cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR_RGB), dtype=np.float32)
