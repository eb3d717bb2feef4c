"""Results come in any order; they are told in that of the photos."""

from __future__ import annotations

from collections.abc import Callable

from adacode_cli.restore.result import Result


class Turns:
    """Who takes a number is told after whoever took one before.

    The caller sees to it that one thread at a time is here.
    """

    def __init__(self, tell: Callable[[Result], None]) -> None:
        self.tell = tell
        self.taken = self.told = 0
        self.waiting: dict[int, Result] = {}

    def take(self) -> int:
        """The next number. Whoever has it must call ``done`` with it."""
        self.taken += 1
        return self.taken - 1

    def done(self, number: int, result: Result) -> None:
        """Tell the result of that number, and those that waited for it; or let it wait."""
        self.waiting[number] = result
        while self.told in self.waiting:
            self.told += 1
            self.tell(self.waiting.pop(self.told - 1))
