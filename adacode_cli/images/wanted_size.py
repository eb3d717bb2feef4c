"""How large a picture is to become."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from adacode_cli.errors import UsageError
from adacode_cli.images.picture import PictureError, Plane

Size = tuple[int, int]  # width and height in pixels
MOST = 32  # times larger
NUMBER = r"\d[\d.]*(e[+-]\d+)?"
# What ``WantedSize.suffix`` gives.
SUFFIX = rf"_(x{NUMBER}|{NUMBER}mp|(w|h|long|short)\d+|fit\d+x\d+)"


@dataclass(frozen=True)
class WantedSize:
    """The wanted size: one of these, the shape kept. Raises ``UsageError``.

    scale: times larger. width, height, long_edge, short_edge: pixels. megapixels: millions.
    fit: the largest size within this width and height.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    long_edge: int | None = None
    short_edge: int | None = None
    megapixels: float | None = None
    fit: Size | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            words = " and ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"{words} exclude each other" if given else "no size is given")
        for name, value in given.items():
            least = min(value) if isinstance(value, tuple) else value
            if not math.isfinite(least) or least <= 0:
                raise UsageError(f"--{name.replace('_', '-')} {least:g} is no size")
        if self.scale is not None and not 1 < self.scale <= MOST:
            raise UsageError(f"--scale {self.scale:g}: it goes from above 1 to {MOST}, such as 4")

    def factor(self, size: Size) -> float:
        """How many times larger a picture of ``size`` is to become; 1 or less: it is already."""
        width, height = size
        if self.scale is not None:
            return self.scale
        if self.fit is not None:
            return min(self.fit[0] / width, self.fit[1] / height)
        if self.megapixels is not None:
            return math.sqrt(self.megapixels * 1e6 / (width * height))
        wanted = self.width or self.height or self.long_edge or self.short_edge
        assert wanted is not None
        if self.width or self.height:
            return wanted / (width if self.width else height)
        return wanted / (max(size) if self.long_edge else min(size))

    def size_for(self, size: Size) -> Size:
        """Width and height that a picture of ``size`` is to have; its own if it is large enough.

        Raises ``PictureError`` where that is beyond ``MOST``.
        """
        factor = self.factor(size)
        if factor <= 1:
            return size
        if factor > MOST:
            raise PictureError(
                f"{self.option} would make {size[0]}×{size[1]} pixels {factor:,.1f} times larger; "
                f"{MOST} times is the most, so ask for less"
            )
        width, height = (max(1, round(factor * n)) for n in size)
        return width, height

    def told(self) -> dict[str, object]:
        """Its fields, for a result's mark: --scale 4 is the model's own 4, not 4.0."""
        fields = asdict(self)
        if self.scale is not None and self.scale == int(self.scale):
            fields["scale"] = int(self.scale)
        return fields

    @property
    def option(self) -> str:
        """The wish in the words of the command line: --width 1920."""
        name, value = next((name, value) for name, value in vars(self).items() if value is not None)
        words = f"{value[0]}x{value[1]}" if isinstance(value, tuple) else f"{value:.12g}"
        return f"--{name.replace('_', '-')} {words}"

    @property
    def suffix(self) -> str:
        """What names of results say: _x4, _w1920, _fit800x600."""
        if self.scale is not None:
            return f"_x{self.scale:g}"
        if self.fit is not None:
            return f"_fit{self.fit[0]}x{self.fit[1]}"
        if self.megapixels is not None:
            return f"_{self.megapixels:g}mp"
        short = {"w": self.width, "h": self.height, "long": self.long_edge}
        return next((f"_{n}{v}" for n, v in short.items() if v), f"_short{self.short_edge}")


def parse_fit(text: str) -> Size:
    """'1920x1080' as width and height. Raises ``UsageError``."""
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--fit {text}: write it as 1920x1080")
    return int(width), int(height)


def passes(factor: float, scale: int) -> int:
    """How often a network that enlarges ``scale`` times must be used to reach ``factor``."""
    count = 1
    while scale**count < factor - 1e-9:
        count += 1
    return count


def scale_for(factor: float, scales: list[int]) -> int:
    """The least magnification at or above ``factor``, or the largest there is."""
    return min((s for s in scales if s >= factor - 1e-9), default=max(scales))


def resized(planes: Plane, size: Size) -> Plane:
    """(C, H, W) at another size by Lanczos, every pixel of the larger picture counted."""
    if planes.shape[:0:-1] == size:
        return planes
    made = [Image.fromarray(p).resize(size, Image.Resampling.LANCZOS) for p in planes]
    return np.clip(np.stack([np.asarray(image) for image in made]), 0, 1)


def by_bicubic(planes: Plane, size: Size) -> Plane:
    """(C, H, W) enlarged as any viewer does."""
    made = [Image.fromarray(p).resize(size, Image.Resampling.BICUBIC) for p in planes]
    return np.clip(np.stack([np.asarray(image) for image in made]), 0, 1)
