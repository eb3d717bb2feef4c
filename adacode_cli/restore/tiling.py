"""How a large picture is cut up: into bands of rows, as wide as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from adacode_cli.errors import UsageError
from adacode_cli.model.adacode import AdaCode

Statistics = Literal["exact", "sampled"]
Moments = tuple[Tensor, Tensor]  # mean and variance of each group

# Output pixels: a picture of up to as many is done whole, and a band has about as many.
WHOLE = {"lite": 2 << 20, "official": 1 << 20}
BAND = {"lite": 1 << 20, "official": 1 << 18}
FEWEST = 8  # rows of a band
# The sample that `sampled` statistics are taken of: this many squares, each of so many pixels.
SQUARES, SIDE = 12, 64


@dataclass(frozen=True)
class Tiling:
    """Bands of ``rows`` rows of the output; None: as it suits; 0: the whole picture at once.

    statistics: of normalisation, over the whole picture (exact), or a sample of it.
    """

    rows: int | None = None
    statistics: Statistics = "exact"

    def rows_for(self, family: str, height: int, width: int) -> int:
        """The height of a band of an output of this size; ``height`` for all of it."""
        if self.rows is not None:
            return min(self.rows or height, height)
        if height * width <= WHOLE[family]:
            return height
        return max(FEWEST, BAND[family] // width // FEWEST * FEWEST)


def parse_tiling(tile: str, statistics: str) -> Tiling:
    """What ``--tile`` and ``--tile-stats`` say. Raises ``UsageError``."""
    if statistics not in get_args(Statistics):
        raise UsageError(f"--tile-stats {statistics}: it is exact or sampled")
    taken: Statistics = "sampled" if statistics == "sampled" else "exact"
    if tile in ("auto", "off"):
        return Tiling(None if tile == "auto" else 0, taken)
    if not tile.isdigit() or int(tile) < FEWEST:
        raise UsageError(f"--tile {tile}: it is auto, off, or a number of rows from {FEWEST} up")
    return Tiling(int(tile), taken)


KNOWN: ContextVar[dict[Tensor, Moments] | None] = ContextVar("KNOWN", default=None)


@contextmanager
def known(moments: dict[Tensor, Moments] | None) -> Iterator[None]:
    """Within, normalisations take these statistics for theirs, by their weight."""
    token = KNOWN.set(moments)
    try:
        yield
    finally:
        KNOWN.reset(token)


def known_moments(weight: Tensor) -> Moments | None:
    """Statistics that were taken before, of the normalisation with this weight."""
    moments = KNOWN.get()
    return None if moments is None else moments[weight]


def sample_moments(model: AdaCode, image: Tensor, device: torch.device) -> dict[Tensor, Moments]:
    """Statistics of every normalisation, from a few squares of (1, C, H, W) side by side."""
    moments: dict[Tensor, Moments] = {}

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.GroupNorm):
            groups = args[0].float().reshape(module.num_groups, -1)
            variance, mean = torch.var_mean(groups, dim=1, correction=0)
            moments[module.weight] = (mean, variance)

    norms = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    hooks = [module.register_forward_pre_hook(note) for module in norms]
    try:
        model(squares(image, SIDE).to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def squares(image: Tensor, side: int) -> Tensor:
    """Squares from all over (1, C, H, W), one below the other: (1, C, n·side, side)."""
    _, _, h, w = image.shape
    if min(h, w) <= side:
        return image
    down = max(1, round((SQUARES * h / w) ** 0.5))
    across = max(1, SQUARES // down)
    corners = [
        (int((h - side) * (i + 0.5) / down), int((w - side) * (j + 0.5) / across))
        for i in range(down)
        for j in range(across)
    ]
    return torch.cat([image[..., y : y + side, x : x + side] for y, x in corners], dim=-2)
