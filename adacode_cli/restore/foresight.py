"""How often a network reads each of its maps, learned by noting everything once beforehand.

Whoever knows that can let go of a map while it is read for the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from adacode_cli.restore.banded import Banded


class Forecast:
    """reads: of each map, in the order in which they are noted; None while they are counted."""

    def __init__(self, reads: Sequence[int] | None = None) -> None:
        self.reads = None if reads is None else iter(reads)
        self.maps: list[Banded] = []


FORECAST: ContextVar[Forecast | None] = ContextVar("FORECAST", default=None)


def with_foresight(note: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """What ``note`` notes that it wants, after it was heard a first time, for the counts alone.

    ``note`` must do the same both times.
    """
    counting = Forecast()
    with forecast(counting):
        for wanted in note():
            wanted.unread -= 1
    with forecast(Forecast([-(banded.unread or 0) for banded in counting.maps])):
        return note()


@contextmanager
def forecast(these: Forecast) -> Iterator[None]:
    """Within, maps are counted, or know how often they will be read."""
    token = FORECAST.set(these)
    try:
        yield
    finally:
        FORECAST.reset(token)


def reads_to_come(banded: Banded) -> int | None:
    """How often a map that is noted now will be read, where that is known.

    While reads are counted it begins at 0, and falls by one with each.
    """
    known = FORECAST.get()
    if known is None:
        return None
    if known.reads is None:
        known.maps.append(banded)
        return 0
    return next(known.reads)


def foreseen_moments(groups: int) -> tuple[Tensor, Tensor] | None:
    """Some mean and variance of each group, while nothing but reads is counted."""
    known = FORECAST.get()
    counting = known is not None and known.reads is None
    return (torch.zeros(groups), torch.ones(groups)) if counting else None
