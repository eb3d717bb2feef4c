"""What a folder holds, as far as one may look: nothing here raises because of permissions."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from adacode_cli.images.formats import SUFFIXES

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})  # what the system says of nothing


@dataclass
class Inside:
    """What was found in a folder. deep: folders in it are looked into, too; no hidden ones are."""

    deep: bool
    photos: list[Path] = field(default_factory=list)
    closed: dict[Path, str] = field(default_factory=dict)  # folders that can't be read, and why
    dead_links: list[Path] = field(default_factory=list)  # of a photo's name
    linked_folders: list[Path] = field(default_factory=list)  # not followed

    def look(self, folder: Path) -> None:
        """Add what ``folder`` holds."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            try:
                with os.scandir(here) as entries:
                    waiting += [here / e.name for e in entries if self.add(e, here / e.name)]
            except OSError as error:
                self.closed[here] = reason(error)

    def told_closed(self) -> list[str]:
        """A line for each folder that can't be read."""
        return [f"{path}: the folder {why}" for path, why in sorted(self.closed.items())]

    def add(self, entry: os.DirEntry[str], path: Path) -> bool:
        """Put one entry where it belongs; returns whether it is a folder to look into."""
        if entry.name.startswith("."):
            return False
        is_junction = getattr(entry, "is_junction", bool)  # Windows' links; since Python 3.12
        if entry.is_symlink() or is_junction():
            self.add_link(path)
        elif entry.is_dir():
            return self.deep
        elif entry.is_file() and has_photo_name(path):
            self.photos.append(path)
        return False

    def add_link(self, path: Path) -> None:
        """A link is the photo that it leads to; where one may not look, that will fail by name."""
        try:
            mode = path.stat().st_mode
        except PermissionError:
            mode = stat.S_IFREG
        except OSError:
            mode = 0
        if stat.S_ISDIR(mode):
            self.linked_folders += [path] if self.deep else []
        elif has_photo_name(path) and (stat.S_ISREG(mode) or not mode):
            (self.photos if mode else self.dead_links).append(path)


def left_out(paths: list[Path], one: str, several: str) -> list[str]:
    """A line about links that were left out, if there are any: the first by its name."""
    if not paths:
        return []
    first, *others = sorted(paths)
    told = f"{first} and {len(others)} more: {several}" if others else f"{first}: {one}"
    return [f"{told}, left out"]


def reason(error: OSError) -> str:
    """Why a file or folder can't be read, after its name."""
    if isinstance(error, PermissionError):
        return "may not be read"
    return f"can't be read ({error.strerror})"


def has_photo_name(path: Path) -> bool:
    """A picture's suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def mode_of(path: Path) -> int:
    """What a path leads to, as ``stat`` has it; 0: nothing, or where one may not look."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def is_there(path: Path) -> bool:
    """Whether a path leads to anything that one may look at."""
    return mode_of(path) != 0


def is_missing(path: Path) -> bool:
    """Whether nothing is there, as far as one may look."""
    try:
        path.stat()
    except OSError as error:
        return error.errno in MISSING
    return False


def is_file(path: Path) -> bool:
    """Whether it leads to a file."""
    return stat.S_ISREG(mode_of(path))


def is_folder(path: Path) -> bool:
    """Whether it leads to a folder."""
    return stat.S_ISDIR(mode_of(path))


def has_folders(folder: Path) -> bool:
    """Whether there are folders in it, hidden ones apart."""
    try:
        return any(is_folder(path) and not path.name.startswith(".") for path in folder.iterdir())
    except OSError:
        return False
