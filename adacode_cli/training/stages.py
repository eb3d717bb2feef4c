"""The three stages of training (paper, section 3), as data.

Stage I learns one class codebook in an ordinary VQ network. Stage II keeps the codebooks
and learns everything else on clean images of all classes. Stage III keeps codebooks and
decoder, and learns an encoder and weight map for degraded images. ``finetune`` is ours: it
lets go of everything but the codes once the encoder has found them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from adacode_cli.errors import UsageError
from adacode_cli.training.names import LOSSES

Codes = Literal["frozen", "averages", "gradient"]
RAMP = 0.15  # of the budget


@dataclass(frozen=True)
class Stage:
    """What a stage trains and by which losses."""

    name: str
    trains: str  # a regular expression of parameter names
    losses: dict[str, float] = field(default_factory=dict)  # loss → weight
    begins: dict[str, float] = field(default_factory=dict)  # loss → share of the budget before it
    codes: Codes = "frozen"
    teacher: bool = False  # whether the stage II network shows the way

    def weights(self, progress: float) -> dict[str, float]:
        """Each loss's weight at a share of the budget; latecomers grow over ``RAMP`` of it."""
        grown = {k: (progress - self.begins.get(k, -RAMP)) / RAMP for k in self.losses}
        return {k: v * min(1.0, grown[k]) for k, v in self.losses.items() if grown[k] > 0}

    def weighing(self, losses: dict[str, float], begins: dict[str, float]) -> Stage:
        """The same with other weights and beginnings; 0 leaves a loss out.

        Raises ``UsageError`` for a loss that nobody knows.
        """
        for name in (*losses, *begins):
            if name not in LOSSES:
                raise UsageError(f"no loss is called {name!r}; there are {', '.join(LOSSES)}")
        merged = {**self.losses, **losses}
        kept = {k: v for k, v in merged.items() if v}
        # A loss that begins with the run has its whole weight at once.
        late = {k: v for k, v in {**self.begins, **begins}.items() if v}
        return replace(self, losses=kept, begins=late)


# A restoration's base is its input: the decoder's own is never asked.
ALL = r"(?!decoder\.base\.)"
ENCODER = r"encoder\.|weight_map\.|codebooks\.\d+\.before\."

LITE = {
    "codebook": Stage(
        name="codebook",
        trains=r".*",
        losses={"reconstruction": 1.0, "perceptual": 0.004, "commitment": 0.05},
        codes="averages",
    ),
    "representation": Stage(
        name="representation",
        trains=r".*",
        losses={"reconstruction": 1.0, "perceptual": 0.004, "commitment": 0.05},
    ),
    "restoration": Stage(
        name="restoration",
        trains=ENCODER,
        losses={"reconstruction": 1.0, "perceptual": 0.01, "feature": 0.1, "code": 0.05},
        teacher=True,
    ),
    "finetune": Stage(
        name="finetune",
        trains=ALL,
        # The teacher stays: without it every feature drifts to one code within 600 steps.
        losses={"reconstruction": 1.0, "perceptual": 0.02, "code": 0.05},
        # Fidelity first: early on, perceptual gradients are mostly noise.
        begins={"perceptual": 0.35},
        teacher=True,
    ),
}

# As published (paper, sections 3 and 4.1).
OFFICIAL = {
    "codebook": Stage(
        name="codebook",
        trains=r".*",
        losses={
            "reconstruction": 1.0,
            "perceptual": 1.0,
            "adversarial": 0.1,
            "codebook": 1.0,
            "commitment": 0.25,
            "semantic": 0.1,
        },
        codes="gradient",
    ),
    "representation": Stage(
        name="representation",
        trains=r".*",
        losses={
            "reconstruction": 1.0,
            "perceptual": 1.0,
            "adversarial": 0.1,
            "commitment": 0.25,
        },
    ),
    "restoration": Stage(
        name="restoration",
        trains=ENCODER,
        losses={
            "reconstruction": 1.0,
            "perceptual": 1.0,
            "adversarial": 0.1,
            "contrast": 1.0,
            "feature": 0.25,
            "style": 1.0,
            "code": 0.25,
            "code_style": 1.0,
        },
        teacher=True,
    ),
    "finetune": Stage(
        name="finetune",
        trains=ALL,
        losses={"reconstruction": 1.0, "perceptual": 1.0, "adversarial": 0.1, "code": 0.25},
        teacher=True,
    ),
}
PRESETS = {"lite": LITE, "official": OFFICIAL}


def freeze_for(model: nn.Module, stage: Stage) -> list[nn.Parameter]:
    """Freeze what the stage doesn't train; return what it does. Codes move by gradient or not."""
    for name, parameter in model.named_parameters():
        trained = bool(re.match(stage.trains, name))
        if name.endswith(".codes"):
            trained = stage.codes == "gradient"
        parameter.requires_grad_(trained)
    return [p for p in model.parameters() if p.requires_grad]
