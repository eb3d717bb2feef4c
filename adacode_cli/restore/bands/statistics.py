"""Statistics that a normalisation takes for those of the whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from adacode_cli.model.adacode import AdaCode

Moments = tuple[Tensor, Tensor]  # mean and variance of each group
# A sample is this many squares, each of so many pixels a side.
SQUARES, SIDE = 12, 64

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
