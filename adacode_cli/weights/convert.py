"""Torch files become safetensors, once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adacode_cli.weights.record import Record, sha256

if TYPE_CHECKING:
    import torch

    from adacode_cli.model.checkpoint import Checkpoint

TORCH_SUFFIXES = frozenset({".pth", ".pt", ".bin", ".ckpt"})


def is_torch(path: Path) -> bool:
    """Whether a file's name says that PyTorch wrote it."""
    return path.suffix in TORCH_SUFFIXES


def convert(source: Path, target: Path, dtype: torch.dtype | None = None) -> None:
    """Write the network in ``source`` as a safetensors file of ours, with where it came from.

    ``dtype`` converts the floats. Raises ``CheckpointError`` for what wouldn't load.
    """
    from adacode_cli.model import checkpoint

    stored = read_whole(source)
    story = stored.metadata
    if is_torch(source):
        story = {**story, "converted_from": source.name, "source_sha256": sha256(source)}
    checkpoint.save(target, stored.config, stored.state, story, dtype)


def read_whole(path: Path) -> Checkpoint:
    """What a file holds, every tensor checked. Raises ``CheckpointError``."""
    from adacode_cli.model import checkpoint
    from adacode_cli.model.adacode import AdaCode
    from adacode_cli.weights import published

    stored = published.read(path) if is_torch(path) else checkpoint.load(path)
    AdaCode.from_checkpoint(stored, path)
    return stored


def keep(source: Path, target: Path, origin: str, tag: str = "") -> Path:
    """The safetensors form of ``source`` in the cache, with a record of what it must hash to.

    What was made from the same bytes already is left alone, so that two processes that want it
    at once make it once.
    """
    from huggingface_hub.utils import WeakFileLock

    digest = sha256(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.unfinished")
    with WeakFileLock(target.with_name(f".{target.name}.lock")):
        record = Record.read(target)
        if record and record.source_sha256 == digest and target.is_file():
            return target
        try:
            convert(source, unfinished)
            record = Record(origin, digest, sha256(unfinished), tag)
            unfinished.replace(target)
            record.write(target)  # last: without it the file counts for nothing
        finally:
            unfinished.unlink(missing_ok=True)
    return target
