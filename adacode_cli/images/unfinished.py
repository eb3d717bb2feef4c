"""A file gets its name when it is whole; until then it has another one, which nobody takes away."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from adacode_cli.images.picture import PictureError

HOST = socket.gethostname()[:40]
TRIES = 100  # at a name that nobody has
# The host, then what is drawn for each file; before, the process and a number.
NAME = re.compile(r"\.(?P<host>.+)\.(?P<drawn>[0-9a-f]{16}|\d+\.\d+)\.unfinished")
STALE = 24 * 3600.0  # seconds without a change after which a file of unknown owner is nobody's


class OccupiedError(PictureError):
    """Something has the name already that a finished file was to have."""


@contextmanager
def unfinished(
    path: Path, *, replace: bool = True
) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A file to write to that takes ``path``'s name when ``finish`` is called, else goes.

    replace: whether it may take the place of what has that name. Raises ``OccupiedError``
    if not, and ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file, other, lock = create(path.parent)
    try:

        def finish() -> None:
            file.close()
            if replace:
                other.replace(path)
            else:
                put(other, path)

        with file:
            yield file, finish
    finally:
        other.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an ``OSError`` tell the name that the file was to have, not that of the unfinished one.

    Raises it so.
    """
    try:
        yield
    except OSError as error:
        raise OSError(f"{path}: can't be written ({error.strerror or error})") from error


def put(other: Path, path: Path) -> None:
    """Give a file the name ``path``. Raises ``OccupiedError`` where something has it already.

    A link, unlike a renaming, never replaces. Where there are none, what comes between the
    look and the renaming is lost; Windows renames without replacing.
    """
    try:
        if os.name == "nt":
            other.rename(path)
        else:
            os.link(other, path)
    except FileExistsError as error:
        raise occupied(path) from error
    except (OSError, AttributeError) as error:  # some systems have no such function, either
        if os.path.lexists(path):
            raise occupied(path) from error
        other.replace(path)


def occupied(path: Path) -> OccupiedError:
    """The error, in the words of the plan."""
    return OccupiedError(f"{path}: exists already; use --force to overwrite it")


def create(folder: Path) -> tuple[IO[bytes], Path, int | None]:
    """A new file in the folder, its path, and what keeps ``remove_unfinished`` from it.

    Raises ``OSError``.
    """
    for _ in range(TRIES):
        path = folder / f".{HOST}.{secrets.token_hex(8)}.unfinished"
        try:
            file = path.open("x+b")
        except FileExistsError:
            continue
        lock = hold(file)
        if is_at(file, path):
            return file, path, lock
        file.close()  # taken for a dead one before it was locked
        if lock is not None:
            os.close(lock)
    raise FileExistsError(errno.EEXIST, "no name is free", str(folder))


def hold(file: IO[bytes]) -> int | None:
    """Lock an open file, until the handle that is returned is closed, too; None: impossible.

    The second handle lasts beyond the closing of the first, which tells what can't be written.
    """
    if sys.platform == "win32":
        return None  # there, nobody can take away what is open
    handle = os.dup(file.fileno())
    locked(handle)  # if not, this file goes by its age
    return handle


def locked(handle: int) -> bool | None:
    """Whether nobody had an open file locked, and it is now; None: there are no locks here."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def remove_unfinished(folder: Path) -> None:
    """Clear away what processes left that were killed while writing, and nothing of a live one.

    A file of this host that can be locked is nobody's. What another host wrote, or was
    written where there are no locks, is so when it is old.
    """
    for path in folder.glob(".*.unfinished"):
        if name := NAME.fullmatch(path.name):
            with suppress(OSError):  # somebody else's, or gone
                remove_dead(path, ours=name["host"] == HOST and "." not in name["drawn"])


def remove_dead(path: Path, *, ours: bool) -> None:
    """Remove one of them, if it is nobody's. Raises ``OSError``."""
    old = time.time() - path.lstat().st_mtime > STALE
    if sys.platform == "win32":
        if old:
            path.unlink()
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        free = locked(handle)
        if (free and ours) or (free is not False and old):
            path.unlink()
    finally:
        os.close(handle)
