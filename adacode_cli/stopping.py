"""Signals that ask a run to stop, and a terminal that goes away with one."""

from __future__ import annotations

import os
import signal

# The terminal is gone: closed, or its connection lost. Windows has no such signal.
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
ON_TERMINALS = tuple(number for number in (1, 2) if os.isatty(number))  # stdout and stderr


def requests() -> tuple[signal.Signals, ...]:
    """SIGTERM, and SIGHUP unless it is ignored: so a program under nohup goes on."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, HANGUP


def heed_one() -> None:
    """Be stopped once: a shell that ends, too, tells its jobs again, while they clean up.

    What is still to be written to a terminal that is gone goes nowhere, and is no error.
    """
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)
    for number in ON_TERMINALS:
        if not os.isatty(number):
            lead_nowhere(number)


def lead_nowhere(number: int) -> None:
    """Let what is written to a stream from now on vanish."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
