"""What a result says about how it was made: version, command, a hash of all settings, its source.

The source is a hash of the bytes of the file; results of earlier versions don't know theirs.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

DIGITS = 16  # of a hash in a mark


def with_source(mark: str, source: str) -> str:
    """A mark of settings, made the mark of a result."""
    return f"{mark} {source}"


def source_in(mark: str) -> str | None:
    """What it says about its source, if it does."""
    words = mark.split()
    return words[3] if len(words) > 3 else None


def same_settings(mark: str, other: str) -> bool:
    """Whether both were made by the same command, settings and weights, by whatever version."""
    return mark.split()[1:3] == other.split()[1:3]


def hash_of(data: bytes) -> str:
    """A source's hash by its bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def hash_source(path: Path) -> str:
    """The same by its path. Raises ``OSError``."""
    now = path.stat()
    return hash_unchanged(path, now.st_ino, now.st_size, now.st_mtime_ns)


@lru_cache(1024)  # where names are chosen, and where results are looked at
def hash_unchanged(path: Path, *_: int) -> str:
    """The same, of a file that hasn't changed in between. Raises ``OSError``."""
    return hash_file(path)[:DIGITS]


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
