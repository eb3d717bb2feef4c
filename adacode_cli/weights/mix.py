"""Two trainings of one network as one: between the two, weight by weight.

Where one was fine-tuned from the other, what lies between them is good, too (Wang et al.,
2018, section 3.4): of a faithful and a sharp network, as sharp as the eye allows.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from adacode_cli.model import checkpoint
from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.weights.convert import read_whole
from adacode_cli.weights.record import sha256


def mix(first: Path, second: Path, share: float, target: Path, dtype: torch.dtype | None) -> None:
    """Write (1 - share) · first + share · second, with the story of the second.

    ``dtype`` converts the floats. Raises ``CheckpointError`` for what wouldn't load, and for
    two networks of different shape or with different codes.
    """
    a, b = read_whole(first), read_whole(second)
    if a.config != b.config:
        raise CheckpointError(f"{second}: another network than {first}")
    for name, tensor in a.state.items():
        if name.endswith(".codes") and not torch.equal(tensor, b.state[name]):
            raise CheckpointError(f"{second}: {name!r} holds other codes than in {first}")
    mixed = {name: between(tensor, b.state[name], share) for name, tensor in a.state.items()}
    story = {**b.metadata, "mixed_from": f"{sha256(first)} {sha256(second)}", "share": str(share)}
    checkpoint.save(target, a.config, mixed, story, dtype)


def between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """A point on the way from one tensor to the other, in float32."""
    return torch.lerp(first.float(), second.float(), share)
