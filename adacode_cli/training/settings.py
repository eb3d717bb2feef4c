"""How long and how hard to train. No PyTorch here, so that the commands can show the defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adacode_cli.errors import UsageError
from adacode_cli.model.config import CODE_STRIDE


@dataclass(frozen=True)
class Settings:
    """The hyperparameters that every stage shares.

    Raises ``UsageError`` for a run without a budget, or with patches that don't fit the codes.
    """

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
            raise UsageError("training needs a budget: --for 90m or --steps 10000")
        if self.patch % CODE_STRIDE:
            raise UsageError(f"patches of {self.patch} pixels: take a multiple of {CODE_STRIDE}")

    def share(self, part: float) -> Settings:
        """The same with a part of the budget."""
        steps = None if self.steps is None else round(self.steps * part)
        return replace(self, steps=steps, seconds=self.seconds and self.seconds * part)

    def spent(self, steps: int, seconds: float) -> float:
        """The share of the budget that is spent, 0 to 1."""
        shares = [
            1.0 if budget == 0 else done / budget
            for done, budget in ((steps, self.steps), (seconds, self.seconds))
            if budget is not None
        ]
        return min(1.0, max(shares))
