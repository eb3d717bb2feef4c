"""How long and how hard to train."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from adacode_cli.device import has_fast_bf16


@dataclass(frozen=True)
class Settings:
    """How long and how hard to train."""

    steps: int | None = None  # optimiser steps; whichever budget ends first
    seconds: float | None = None
    batch: int = 16  # patches
    patch: int = 128  # pixels of the clean image
    learning_rate: float = 4e-4
    warmup: int = 100  # steps
    ema: float = 0.999  # of the weights that are saved
    clip: float = 1.0  # norm of the gradient
    workers: int = 1  # processes that prepare patches
    seed: int = 0
    precision: str = "auto"  # fp32, bf16
    checkpoint_every: float = 180.0  # seconds
    log_every: int = 50  # steps

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            raise ValueError("training needs a budget: steps or seconds")

    def share(self, part: float) -> Settings:
        """The same with a part of the budget."""
        steps = round(self.steps * part) if self.steps else None
        return replace(self, steps=steps, seconds=self.seconds * part if self.seconds else None)


def mixed_precision(precision: str) -> str:
    """Accelerate's word for it; auto is bf16 where the hardware multiplies it natively."""
    if precision == "auto":
        return "bf16" if has_fast_bf16("cuda" if torch.cuda.is_available() else "cpu") else "no"
    return "no" if precision == "fp32" else precision
