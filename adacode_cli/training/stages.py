"""The three stages of training (paper, section 3), as data.

Stage I learns one class codebook in an ordinary VQ network. Stage II keeps the codebooks
and learns everything else on clean images of all classes. Stage III keeps codebooks and
decoder, and learns an encoder and weight map for degraded images. ``finetune`` is ours: it
lets go of everything but the codes once the encoder has found them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Stage:
    """What a stage trains and by which losses."""

    name: str
    trains: str  # a regular expression of parameter names
    losses: dict[str, float] = field(default_factory=dict)  # loss → weight
    codes_move: bool = False
    teacher: bool = False  # whether the stage II network shows the way


CODEBOOK = Stage(
    name="codebook",
    trains=r".*",
    losses={"reconstruction": 1.0, "perceptual": 0.01, "commitment": 0.05},
    codes_move=True,
)
REPRESENTATION = Stage(
    name="representation",
    trains=r".*",
    losses={"reconstruction": 1.0, "perceptual": 0.01, "commitment": 0.05},
)
RESTORATION = Stage(
    name="restoration",
    trains=r"encoder\.|weight_map\.|codebooks\.\d+\.before\.",
    losses={"reconstruction": 1.0, "perceptual": 0.01, "feature": 0.1, "code": 0.05},
    teacher=True,
)
FINETUNE = Stage(
    name="finetune",
    trains=r".*",
    # The teacher stays: without it every feature drifts to one code within 600 steps.
    losses={"reconstruction": 1.0, "perceptual": 0.006, "code": 0.05},
    teacher=True,
)


def freeze_for(model: nn.Module, stage: Stage) -> list[nn.Parameter]:
    """Freeze what the stage doesn't train, and the codes always; return what it does."""
    for name, parameter in model.named_parameters():
        trained = re.match(stage.trains, name) and not name.endswith(".codes")
        parameter.requires_grad_(bool(trained))
    return [p for p in model.parameters() if p.requires_grad]
