"""One run at a time writes into a folder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # a platform without it does without
    fcntl = None  # type: ignore[assignment]

TAKEN = (errno.EACCES, errno.EAGAIN)  # some systems say one, some the other


@contextmanager
def alone_in(folder: Path, *, follows: bool = False) -> Iterator[None]:
    """Within it, no other run writes into ``folder``, which is made if it isn't there.

    A process that ``follows`` the first one of its run leaves that to it. Raises
    ``BlockingIOError`` where another run is at it. The lock ends with the process, however that
    ends, and isn't inherited by those that prepare patches, which may live a little longer.
    """
    if fcntl is None or follows:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        lock(file, folder)
        yield


def lock(file: IO[bytes], folder: Path) -> None:
    """Take the lock; what can't be locked at all, as on some network drives, is used as it is."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            raise BlockingIOError(
                f"{folder}: another run is writing here; wait for it, or give another folder"
                " with -o"
            ) from error
