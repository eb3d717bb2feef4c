"""What is done to clean photos before they are restored and compared: by task and by seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from adacode_cli.errors import UsageError
from adacode_cli.model.config import CODE_STRIDE
from adacode_cli.training.dataset import load_photo
from adacode_cli.training.degradations import Image, Resize, Strengths, draw_recipe, follow, tell
from adacode_cli.training.holes import KINDS, Brush, Mask, draw_holes

# What may happen to a photo, by task; the first is the default.
DAMAGES: dict[str, tuple[str, ...]] = {
    "sr": ("blind", "bicubic"),
    "inpaint": KINDS,
    "reconstruct": ("none",),
}
WHITE = np.uint8(255)


class TooSmallError(ValueError):
    """A photo of which there is too little to damage, or to compare."""


@dataclass(frozen=True)
class Case:
    """A clean photo (H, W, 3), what is left of it, where its holes are, and what was done."""

    clean: Image
    damaged: Image  # (H/s, W/s, 3); holes are white
    hole: Mask | None = None
    story: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """A task, a kind of damage and a seed; photo number i always suffers the same.

    Raises ``UsageError`` for a damage that the task doesn't know.
    """

    task: str
    scale: int
    damage: str = ""  # the task's first where nothing is said
    seed: int = 0

    def __post_init__(self) -> None:
        known = DAMAGES.get(self.task, ())
        if self.damage and self.damage not in known:
            names = ", ".join(known)
            raise UsageError(f"no {self.task} damage is called {self.damage!r}; there are {names}")

    @property
    def kind(self) -> str:
        """The damage's name."""
        return self.damage or DAMAGES[self.task][0]

    def prepare_file(self, path: Path, number: int) -> Case:
        """The photo in a file, prepared. Raises ``OSError`` or ``TooSmallError``, naming it."""
        photo = load_photo(path)
        try:
            return self.prepare(photo, number)
        except TooSmallError as error:
            raise TooSmallError(f"{path}: {error}") from error

    def prepare(self, photo: Image, number: int) -> Case:
        """The photo, cut to a multiple of 8, and its damaged version. Raises ``TooSmallError``."""
        h, w = (n // CODE_STRIDE * CODE_STRIDE for n in photo.shape[:2])
        if not h * w:
            height, width = photo.shape[:2]
            raise TooSmallError(
                f"{width}×{height} pixels are less than {CODE_STRIDE}×{CODE_STRIDE}"
            )
        clean = photo[:h, :w]
        rng = np.random.default_rng((self.seed, number))
        if self.task == "inpaint":
            return self.punch(clean, rng)
        if self.task == "reconstruct":
            return Case(clean, clean)
        if self.kind == "bicubic":
            size = (w // self.scale, h // self.scale)
            small = PillowImage.fromarray(clean).resize(size, PillowImage.Resampling.BICUBIC)
            told = {"steps": tell((Resize(*size, "bicubic"),))}
            return Case(clean, np.asarray(small), story=told)
        recipe = draw_recipe((h, w), self.scale, rng, Strengths())
        return Case(clean, follow(recipe, clean), story={"steps": tell(recipe)})

    def punch(self, clean: Image, rng: np.random.Generator) -> Case:
        """Holes of the protocol's kind."""
        shares = tuple(float(kind == self.kind) for kind in KINDS)
        mask, kind = draw_holes(clean.shape[:2], rng, Brush(shares=shares))  # type: ignore[arg-type]
        damaged = np.where(mask[..., None] > 0, WHITE, clean)
        share = float(np.mean(mask > 0))
        return Case(clean, damaged, mask, {"holes": kind, "share": round(share, 4)})
