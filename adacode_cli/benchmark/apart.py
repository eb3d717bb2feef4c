"""Work in a process of its own, whose memory is nobody else's."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

T = TypeVar("T")
Step = Callable[[], None]
EXPECTED = (OSError, ValueError, RuntimeError, ArithmeticError, MemoryError)


def apart(work: Callable[[Step], T], on_step: Step) -> T:
    """What ``work(on_step)`` returns; it works elsewhere, ``on_step`` is called here.

    Raises ``ValueError`` with what went wrong there. However this ends, the process does.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    start_without_ctrl_c(process)
    theirs.close()
    try:
        ours.send(work)
        while (said := ours.recv())[0] == "step":
            on_step()
    except (EOFError, ConnectionError) as error:
        process.join()
        raise ValueError(
            f"the process that measured ended by itself ({ending(process.exitcode)});"
            " if memory ran out, a smaller picture helps"
        ) from error
    finally:
        process.terminate()
        process.join()
        ours.close()
    kind, value = said
    if kind == "error":
        raise ValueError(value)
    return value


def start_without_ctrl_c(process: BaseProcess) -> None:
    """A terminal sends Ctrl-C to all; only this process is to hear it, and ends the other.

    What is blocked stays so in a process that is started, from its first moment.
    """
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    resource_tracker.ensure_running()  # else it is started now, and unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ending(code: int | None) -> str:
    """An exit code, or the signal behind it, for people."""
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def serve(theirs: Connection) -> None:
    """The other side: do the work, say every step, and what became of it."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    work = theirs.recv()
    try:
        theirs.send(("done", work(lambda: theirs.send(("step", None)))))
    except EXPECTED as error:
        theirs.send(("error", str(error) or type(error).__name__))


def end_with_parent() -> None:
    """Nobody reads the results of one that was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
