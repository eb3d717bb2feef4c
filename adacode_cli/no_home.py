"""A user without a home folder, as in containers: where the Hub's tools keep files then."""

from __future__ import annotations

import os
from pathlib import Path


def give_cache() -> None:
    """Set HF_HOME, unless there is a place for the cache: the Hub's library would make one of '~'.

    To be called before that library is imported.
    """
    names = ("HF_HOME", "XDG_CACHE_HOME")
    place = next((os.environ[name] for name in names if os.environ.get(name)), "~")
    if os.path.expanduser(place).startswith("~"):  # noqa: PTH111 pathlib's raises
        os.environ["HF_HOME"] = str(private_folder() / "huggingface")


def private_folder() -> Path:
    """A folder that is this user's alone, the same each time if possible; made now.

    Where nothing can be made, a place where nobody can write.
    """
    import stat
    import tempfile

    try:
        user = os.getuid() if hasattr(os, "getuid") else 0
        folder = Path(tempfile.gettempdir()) / f"adacode-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()  # another user may have put something there
        mine = stat.S_ISDIR(about.st_mode) and about.st_uid == user
        if mine and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return folder
        return Path(tempfile.mkdtemp(prefix="adacode-"))
    except OSError:
        return Path(os.devnull)
