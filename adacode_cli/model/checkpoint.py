"""Our files: safetensors, with the configuration and the training's story in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from adacode_cli.model.config import AdaCodeConfig

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


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
        unfinished.write_bytes(in_order(serialise(tensors, metadata=story)))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def in_order(data: bytes) -> bytes:
    """A safetensors file with its header sorted: the same content is the same file."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def stored_form(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy on the host in plain memory order, floats converted to ``dtype`` if given."""
    host = tensor.detach().cpu().contiguous()
    return host.to(dtype) if dtype and host.is_floating_point() else host


@dataclass(frozen=True)
class Label:
    """What a file says of itself, without its tensors."""

    config: AdaCodeConfig
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: tuple[str, ...]  # as safetensors calls them: F16, F32 …


def look(path: Path) -> Label:
    """What a file of ours says of itself. Raises ``CheckpointError``."""
    with opened(path) as file:
        config, metadata = read_label(file, path)
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
        dtypes = tuple(sorted({part.get_dtype() for part in parts.values()}))
    return Label(config, metadata, shapes, dtypes)


def load(path: Path) -> Checkpoint:
    """Read a file of ours. Raises ``CheckpointError`` naming the path and the problem."""
    with opened(path) as file:
        config, metadata = read_label(file, path)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(config, state, metadata)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file; what it meets on reading is a ``CheckpointError``."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except CheckpointError:
        raise
    # Damaged headers come out as whatever the reader stumbled over.
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error


def read_label(file: Any, path: Path) -> tuple[AdaCodeConfig, dict[str, str]]:
    """The configuration, and the rest of the metadata."""
    metadata = dict(file.metadata() or {})
    if "adacode" not in metadata:
        raise CheckpointError(
            f"{path}: has no 'adacode' metadata, so it is not an AdaCode file of ours"
        )
    try:
        return AdaCodeConfig.from_dict(json.loads(metadata.pop("adacode"))), metadata
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def check(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Hold ``state`` against ``model``, which may be on the meta device, without its values.

    Raises ``CheckpointError`` naming the first tensor that is missing, unknown, of another
    shape or of a type that isn't read.
    """
    check_shapes(model.state_dict(), {name: tuple(t.shape) for name, t in state.items()}, path)
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{path}: {name!r} holds {kind}; it should hold float16 to 64")


def check_shapes(
    expected: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """The part of ``check`` for which a file's header is enough."""
    for name in expected:
        if name not in shapes:
            raise CheckpointError(f"{path}: the tensor {name!r} is missing")
    for name, found in shapes.items():
        if name not in expected:
            raise CheckpointError(f"{path}: the tensor {name!r} is unknown to this network")
        if found != (wanted := tuple(expected[name].shape)):
            raise CheckpointError(f"{path}: {name!r} has shape {found}; it should have {wanted}")


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Make ``state`` the tensors of ``model``, an outline, in float32.

    Raises ``CheckpointError`` as ``check`` does, and for values that are not finite.
    """
    check(model, state, path)
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name!r} holds values that are not finite")
    floats = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
    model.load_state_dict(floats, assign=True)
