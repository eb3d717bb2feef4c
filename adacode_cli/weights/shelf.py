"""What is here, what could be, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from adacode_cli.model import checkpoint
from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.weights import between
from adacode_cli.weights.catalogue import CATALOGUE, Source
from adacode_cli.weights.hub import HubWeights, weights_among
from adacode_cli.weights.names import HubName
from adacode_cli.weights.network import megabytes
from adacode_cli.weights.record import Record, agrees, kept_folder


@dataclass(frozen=True)
class Item:
    """A model by the name that loads it.

    size: bytes of its file, where it is here. cached: whether it loads without the network.
    """

    name: str
    task: str
    scale: int
    size: int | None
    where: str
    cached: bool

    HEADINGS: ClassVar[tuple[str, ...]] = ("name", "task", "scale", "size", "here", "where")

    def row(self) -> list[str]:
        """For a table."""
        size = megabytes(self.size) if self.size is not None else ""
        here = "yes" if self.cached else "no"
        return [self.name, self.task, f"×{self.scale}", size, here, self.where]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Verdict(Enum):
    """What hashing a file showed."""

    WHOLE = "whole"
    DAMAGED = "DAMAGED: its hash is another; 'adacode weights rm' it and pull it again"
    MISSING = "not here; 'adacode weights pull' fetches it"
    UNKNOWN = "nothing is recorded that it could be compared with"


def everything() -> list[Item]:
    """The catalogue, and what else of AdaCode's lies in the cache. Asks nobody."""
    items = []
    shown: set[Path] = set()
    for name, entry in CATALOGUE.items():
        path = entry.cached()
        size = path.stat().st_size if path else None
        items.append(Item(name, entry.task, entry.scale, size, entry.origin, cached=bool(path)))
        if path:
            shown.add(path.resolve())
    for name, path, origin in (*from_hub(), *from_web(), *from_between()):
        try:
            config = checkpoint.look(path).config
        except CheckpointError:
            continue
        if path.resolve() not in shown:
            size = path.stat().st_size
            items.append(Item(name, config.task, config.scale, size, origin, cached=True))
    return items


def from_hub() -> Iterator[tuple[str, Path, str]]:
    """Name, path and origin of what loads from the cache of all Hub tools."""
    try:
        repos = scan_cache_dir().repos
    except (CacheNotFound, ValueError):
        return
    for repo in sorted(repos, key=lambda repo: repo.repo_id):
        for revision in repo.revisions if repo.repo_type == "model" else ():
            pin = next(iter(sorted(revision.refs)), revision.commit_hash)
            for file in sorted(revision.files, key=lambda file: file.file_path):
                inner = file.file_path.relative_to(revision.snapshot_path).as_posix()
                source = HubWeights(name := HubName(repo.repo_id, inner, pin), str(name))
                path = source.cached() if weights_among([inner]) else None
                if path:
                    yield source.label, path, source.origin


def from_web() -> Iterator[tuple[str, Path, str]]:
    """The same for what was downloaded from an address."""
    for path in sorted((kept_folder() / "web").glob("*/*.safetensors")):
        if record := Record.read(path):
            yield record.source, path, record.source


def from_between() -> Iterator[tuple[str, Path, str]]:
    """The same for what was made of two bundled models."""
    for path in sorted(between.folder().glob("*.safetensors")):
        name = path.name.rsplit("-", 2)[0]  # without the two hashes
        yield name, path, "made of two bundled models"


def judge(source: Source) -> Verdict:
    """Hash the file of ``source`` and compare."""
    path = source.cached()
    if path is None:
        return Verdict.MISSING
    digest = source.expected(path)
    if digest is None:
        return Verdict.UNKNOWN
    return Verdict.WHOLE if agrees(path, digest) else Verdict.DAMAGED
