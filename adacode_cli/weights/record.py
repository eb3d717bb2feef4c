"""What lies in the cache beside a file: where it came from, and what it must hash to."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import constants

CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Record:
    """The story of a file that was fetched, and perhaps converted, by us.

    source: where it came from. source_sha256: of what came. sha256: of the file as it lies.
    tag: the server's word that changes when the bytes do, if it gave one.
    """

    source: str
    source_sha256: str
    sha256: str
    tag: str = ""

    def write(self, path: Path) -> None:
        """Beside ``path``, whole or not at all."""
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.record")
        unfinished.write_text(json.dumps(asdict(self), indent=1))
        unfinished.replace(record_of(path))

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """What is recorded of ``path``, if anything readable is."""
        try:
            return cls(**json.loads(record_of(path).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def record_of(path: Path) -> Path:
    """Where the record of a file lies."""
    return path.with_name(f"{path.name}.json")


def kept_folder() -> Path:
    """Ours in the cache that all Hub tools share; it may not exist."""
    return Path(constants.HF_ASSETS_CACHE) / "adacode"


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def git_sha1(path: Path) -> str:
    """What git calls a file: the SHA-1 of its length and its bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def agrees(path: Path, digest: str) -> bool:
    """Whether ``path`` hashes to ``digest``: a SHA-256, or the SHA-1 of git."""
    return (sha256(path) if len(digest) == 64 else git_sha1(path)) == digest.lower()


def is_digest(text: str) -> bool:
    """Whether ``text`` is a hash that ``agrees`` knows."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) is not None
