"""Our files: safetensors, with the configuration and the training's story in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from adacode_cli.model.config import AdaCodeConfig


class CheckpointError(ValueError):
    """A file that can't be used, with the path and the first thing wrong with it."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: the network's configuration, its tensors, the training's story."""

    config: AdaCodeConfig
    state: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def save(
    path: Path,
    config: AdaCodeConfig,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write ``state`` to ``path``, whole or not at all; ``dtype`` converts floats (float16)."""
    tensors = {name: stored_form(tensor, dtype) for name, tensor in state.items()}
    story = {**(metadata or {}), "adacode": json.dumps(config.to_dict())}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        # Bytes, not save_file: that one makes files only their owner may read.
        unfinished.write_bytes(serialise(tensors, metadata=story))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def stored_form(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy on the host in plain memory order, floats converted to ``dtype`` if given."""
    host = tensor.detach().cpu().contiguous()
    return host.to(dtype) if dtype and host.is_floating_point() else host


def load(path: Path) -> Checkpoint:
    """Read a file of ours. Raises ``CheckpointError`` naming the path and the problem."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if "adacode" not in metadata:
        raise CheckpointError(
            f"{path}: has no 'adacode' metadata, so it is not an AdaCode file of ours"
        )
    try:
        config = AdaCodeConfig.from_dict(json.loads(metadata.pop("adacode")))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(config, state, metadata)


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy ``state`` into ``model``, strictly.

    Raises ``CheckpointError`` naming the first tensor that is missing, unknown, of
    another shape or not finite.
    """
    expected = model.state_dict()
    for name in expected:
        if name not in state:
            raise CheckpointError(f"{path}: the tensor {name!r} is missing")
    for name, tensor in state.items():
        if name not in expected:
            raise CheckpointError(f"{path}: the tensor {name!r} is unknown to this network")
        if tensor.shape != expected[name].shape:
            found, wanted = tuple(tensor.shape), tuple(expected[name].shape)
            raise CheckpointError(f"{path}: {name!r} has shape {found}; it should have {wanted}")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name!r} holds values that are not finite")
    model.load_state_dict(state)
