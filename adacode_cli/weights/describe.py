"""What a file of weights says of itself."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import AdaCodeConfig
from adacode_cli.weights import convert
from adacode_cli.weights.record import sha256


@dataclass(frozen=True)
class Description:
    """A file of weights in words and numbers.

    size: bytes. parameters: how many numbers its tensors hold. dtypes: as safetensors calls
    them. training: what the trainer noted. notes: the rest of the metadata.
    """

    path: str
    sha256: str
    size: int
    family: str
    task: str
    scale: int
    codebooks: dict[str, tuple[int, int]]  # name → codes, dim
    parameters: int
    dtypes: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def describe(path: Path) -> Description:
    """What ``path`` says of itself; its tensors fit, their values aren't read.

    Raises ``CheckpointError``.
    """
    config, metadata, shapes, dtypes = read_label(path)
    notes = dict(metadata)
    return Description(
        path=str(path),
        sha256=sha256(path),
        size=path.stat().st_size,
        family=config.family,
        task=config.task,
        scale=config.scale,
        codebooks={book.name: (book.codes, book.dim) for book in config.codebooks},
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        dtypes=dtypes,
        training=as_object(notes.pop("training", "")),
        notes=notes,
    )


def read_label(
    path: Path,
) -> tuple[AdaCodeConfig, dict[str, str], dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Configuration, metadata, shapes and types, held against the network they are for."""
    if convert.is_torch(path):
        stored = convert.read_whole(path)
        shapes = {name: tuple(t.shape) for name, t in stored.state.items()}
        kinds = {str(t.dtype).removeprefix("torch.") for t in stored.state.values()}
        return stored.config, stored.metadata, shapes, tuple(sorted(kinds))
    label = checkpoint.look(path)
    expected = AdaCode.outline(label.config, path).state_dict()
    checkpoint.check_shapes(expected, label.shapes, path)
    return label.config, label.metadata, label.shapes, label.dtypes


def as_object(text: str) -> dict[str, Any]:
    """A JSON object in the metadata, or nothing."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
