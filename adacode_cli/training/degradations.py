"""Blind degradation: what happened to a photo before it reached us.

After BSRGAN (Zhang et al., 2021, section 3): two blurs, a reduction that may take a detour,
noise of several kinds and JPEG, in random order and of random strength; JPEG comes last. First
a recipe is drawn, then it is followed, so that what was done can be told and done again.
Images are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

Image = NDArray[np.uint8]
Pixels = NDArray[np.float32]  # the same, as floats in [0, 255]
Range = tuple[float, float]

RESAMPLING = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
# As image programs reduce: kernels that grow with the factor.
ANTIALIASED = {
    "bicubic": PillowImage.Resampling.BICUBIC,
    "lanczos3": PillowImage.Resampling.LANCZOS,
}
REDUCTIONS = ("area", "linear", "cubic")
# What training draws from, for inputs that are only reduced.
CLEAN_REDUCTIONS = ("bicubic", "lanczos3", "cubic", "area")
NoiseKind = Literal["colour", "gray", "correlated", "poisson", "speckle"]
NOISES: tuple[NoiseKind, ...] = ("colour", "gray", "correlated", "poisson", "speckle")
NOISE_SHARES = (0.35, 0.25, 0.15, 0.15, 0.1)


@dataclass(frozen=True)
class Strengths:
    """How hard an image may be hit; ranges are uniform, chances are probabilities."""

    clean_chance: float = 0.15  # of a plain reduction and nothing else
    # One of these; test sets keep to the one they have always had.
    clean_reductions: tuple[str, ...] = ("cubic",)
    blur_chance: float = 0.7
    blur_sigma: Range = (0.1, 0.7)  # × scale, in pixels of the clean image
    stretched_blur_chance: float = 0.3  # of a second blur, along a random direction
    stretched_blur_sigma: Range = (0.1, 0.9)  # likewise, each axis
    detour_chance: float = 0.3  # of a reduction in two steps
    detour_factor: Range = (0.6, 2.0)  # the first step's size, of the final one
    noise_chance: float = 0.7
    noise_sigma: Range = (1.0, 12.0)  # of 255
    early_jpeg_chance: float = 0.15
    jpeg_chance: float = 0.8
    jpeg_quality: tuple[int, int] = (40, 95)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur with two axes, in pixels, the first at ``angle`` (radians)."""

    sigma_x: float
    sigma_y: float
    angle: float

    def apply(self, pixels: Pixels) -> Pixels:
        """The blurred pixels, borders mirrored."""
        kernel = gaussian_kernel(self.sigma_x, self.sigma_y, self.angle)
        return cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


@dataclass(frozen=True)
class Resize:
    """To ``width`` × ``height``, by OpenCV (``RESAMPLING``) or by Pillow (``ANTIALIASED``)."""

    width: int
    height: int
    mode: str

    def apply(self, pixels: Pixels) -> Pixels:
        """Resize; but for nearest and area, OpenCV sees the average at twice the size."""
        if self.mode in ANTIALIASED:
            return self.antialiased(pixels)
        between = (2 * self.width, 2 * self.height)
        if self.mode in ("linear", "cubic", "lanczos") and between[0] < pixels.shape[1]:
            pixels = cv2.resize(pixels, between, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        size = (self.width, self.height)
        return cv2.resize(pixels, size, interpolation=RESAMPLING[self.mode])  # type: ignore[return-value]

    def antialiased(self, pixels: Pixels) -> Pixels:
        """Resize by Pillow, each channel for itself, not rounded."""
        size, kernel = (self.width, self.height), ANTIALIASED[self.mode]
        channels = [PillowImage.fromarray(channel) for channel in np.moveaxis(pixels, 2, 0)]
        return np.stack([np.asarray(c.resize(size, kernel)) for c in channels], axis=2)


@dataclass(frozen=True)
class Noise:
    """Noise of a mean standard deviation ``sigma`` (of 255).

    ``colour``: every channel for itself; ``gray``: all alike; ``correlated``: channels mixed at
    random; ``poisson``: shot noise, which grows with the root of the light; ``speckle``: grows
    with the light.
    """

    kind: NoiseKind
    sigma: float
    seed: int

    def apply(self, pixels: Pixels) -> Pixels:
        """The noisy pixels, not clipped."""
        rng = np.random.default_rng(self.seed)
        channels = 1 if self.kind == "gray" else 3
        noise = rng.standard_normal((*pixels.shape[:2], channels), dtype=np.float32)
        if self.kind == "correlated":
            mixing = rng.standard_normal((3, 3)).astype(np.float32)
            noise = noise @ (mixing / np.linalg.norm(mixing, axis=0))  # each channel of variance 1
        light = np.clip(pixels, 0, 255) / 128
        growth = {"poisson": np.sqrt(light), "speckle": light}.get(self.kind, np.float32(1))
        return np.asarray(pixels + self.sigma * growth * noise, dtype=np.float32)


@dataclass(frozen=True)
class Jpeg:
    """Through JPEG and back."""

    quality: int

    def apply(self, pixels: Pixels) -> Pixels:
        """What JPEG leaves."""
        bgr = cv2.cvtColor(to_bytes(pixels), cv2.COLOR_RGB2BGR)
        _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR_RGB), dtype=np.float32)


Step = Blur | Resize | Noise | Jpeg
Recipe = tuple[Step, ...]


def degrade(
    clean: Image, scale: int, rng: np.random.Generator, strengths: Strengths | None = None
) -> Image:
    """A degraded version of ``clean``, ``scale`` times smaller: (H, W, 3) → (H/s, W/s, 3).

    Raises ``ValueError`` when the sides of ``clean`` are not multiples of ``scale``.
    """
    return follow(draw_recipe(clean.shape[:2], scale, rng, strengths or Strengths()), clean)


def follow(recipe: Recipe, clean: Image) -> Image:
    """Do what the recipe says, one step after the other."""
    pixels = clean.astype(np.float32)
    for step in recipe:
        pixels = step.apply(pixels)
    return to_bytes(pixels)


def tell(recipe: Recipe) -> list[dict[str, Any]]:
    """The recipe for a JSON file: each step's name and numbers."""
    return [{"step": type(step).__name__.lower(), **asdict(step)} for step in recipe]


def draw_recipe(
    size: tuple[int, int], scale: int, rng: np.random.Generator, s: Strengths
) -> Recipe:
    """What will be done to an image of ``size`` (height, width).

    Raises ``ValueError`` when a side is not a multiple of ``scale``.
    """
    h, w = size
    if h % scale or w % scale:
        raise ValueError(f"a side of {w}×{h} is not a multiple of {scale}")
    small = (w // scale, h // scale)
    if rng.random() < s.clean_chance:
        return (Resize(*small, str(rng.choice(s.clean_reductions))),) if scale > 1 else ()
    parts = [draw_reduction(small, scale, rng, s)]
    parts += [[kind] for kind in draw_damage(rng, s)]
    order = rng.permutation(len(parts))
    shuffled = [step for i in order for step in parts[i]]
    recipe = in_pixels_of_the_moment(shuffled, scale)
    if rng.random() < s.jpeg_chance:
        recipe.append(Jpeg(draw_quality(rng, s)))
    return tuple(recipe)


def draw_reduction(
    small: tuple[int, int], scale: int, rng: np.random.Generator, s: Strengths
) -> list[Step]:
    """To ``small`` (width, height), sometimes by way of another size; at ×1 only the way."""
    steps: list[Step] = []
    if rng.random() < s.detour_chance:
        factor = rng.uniform(*s.detour_factor)
        width, height = (max(1, round(factor * n)) for n in small)
        steps.append(Resize(width, height, str(rng.choice((*REDUCTIONS, "lanczos")))))
    if scale > 1 or steps:
        steps.append(Resize(*small, str(rng.choice(REDUCTIONS))))
    return steps


def draw_damage(rng: np.random.Generator, s: Strengths) -> list[Step]:
    """Blurs, noise and an early JPEG, as chance has it; blurs in units of the scale."""
    damage: list[Step] = []
    if rng.random() < s.blur_chance:
        sigma = rng.uniform(*s.blur_sigma)
        damage.append(Blur(sigma, sigma, 0.0))
    if rng.random() < s.stretched_blur_chance:
        along, across = rng.uniform(*s.stretched_blur_sigma, 2).tolist()
        damage.append(Blur(along, across, rng.uniform(0, np.pi)))
    if rng.random() < s.noise_chance:
        kind = NOISES[int(rng.choice(len(NOISES), p=NOISE_SHARES))]
        damage.append(Noise(kind, rng.uniform(*s.noise_sigma), int(rng.integers(2**31))))
    if rng.random() < s.early_jpeg_chance:
        damage.append(Jpeg(draw_quality(rng, s)))
    return damage


def in_pixels_of_the_moment(steps: list[Step], scale: int) -> list[Step]:
    """Blurs drawn in units of the scale, in pixels: the image may be large or small by then."""
    now = scale
    done: list[Step] = []
    for step in steps:
        if isinstance(step, Blur):
            done.append(Blur(now * step.sigma_x, now * step.sigma_y, step.angle))
        else:
            done.append(step)
            now = 1 if isinstance(step, Resize) else now
    return done


def draw_quality(rng: np.random.Generator, s: Strengths) -> int:
    """A JPEG quality, 1 to 100."""
    return int(rng.integers(*s.jpeg_quality, endpoint=True))


def to_bytes(pixels: NDArray[Any]) -> Image:
    """Round to 8 bits."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float) -> Pixels:
    """A normalised kernel wide enough for its larger sigma (pixels, radians)."""
    radius = max(1, int(np.ceil(2.5 * max(sigma_x, sigma_y))))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    u = np.cos(angle) * x + np.sin(angle) * y
    v = -np.sin(angle) * x + np.cos(angle) * y
    kernel = np.exp(-0.5 * ((u / sigma_x) ** 2 + (v / sigma_y) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)
