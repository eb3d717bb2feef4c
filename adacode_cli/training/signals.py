"""Ctrl-C, SIGTERM and SIGHUP end a run between two steps, so that its state is saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from adacode_cli import stopping


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Within it, signals end up in a list, and nothing else happens."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if number == stopping.HANGUP:
            stopping.heed_one()

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, *stopping.requests())}
    try:
        yield received
    finally:
        for number, handler in before.items():
            if not (number == stopping.HANGUP and number in received):  # that stays ignored
                signal.signal(number, handler)


def leave_signals_to_the_trainer(_: int) -> None:
    """Ctrl-C reaches every process of a terminal; a worker that dies of it breaks the run."""
    for number in (signal.SIGINT, *stopping.requests()):
        signal.signal(number, signal.SIG_IGN)
