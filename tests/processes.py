"""The command as a process of its own, without waiting for PyTorch's import every time.

A server that has imported what takes long, and nothing of ours, forks for every command.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "numpy", "cv2", "PIL.Image", "typer", "rich.console", "safetensors.torch"]
FORKS = "forkserver" in multiprocessing.get_all_start_methods()


def run_command(
    words: list[str],
    folder: Path,
    environment: Mapping[str, str],
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """``adacode`` with these words, in ``folder``; nothing comes from stdin.

    before: what its process does first, where processes are forked.
    """
    env = {**environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "adacode_cli", *words]
    if not FORKS:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=folder, env=env
        )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    with tempfile.TemporaryDirectory() as streams:
        out, err = Path(streams) / "out", Path(streams) / "err"
        process = context.Process(target=become, args=(words, folder, env, out, err, before))
        process.start()
        process.join()
        code = process.exitcode or 0
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())


def give_up_rights() -> None:
    """To be the process's first act: even root is told by the file system what it may not do."""
    version, mine = 0x20080522, 0
    header, nothing = (ctypes.c_uint32 * 2)(version, mine), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def know_nobody() -> None:
    """To be the process's first act: it asks in vain who its user is."""
    import pwd

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    pwd.getpwuid = nobody


def become(
    words: list[str],
    folder: Path,
    env: dict[str, str],
    out: Path,
    err: Path,
    before: Callable[[], None] | None,
) -> None:
    """Make this process the command's, to its end."""
    for number, path, flags in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT),
        (2, err, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r") for n in range(3))
    sys.argv = ["adacode", *words]
    sys.path.insert(0, str(ROOT))
    if before is not None:
        before()
    try:
        runpy.run_module("adacode_cli", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a forked process would leave them out
