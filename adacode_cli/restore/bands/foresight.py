"""What a network will read, learned by noting everything once beforehand.

Whoever knows that can let go of a map while it is read for the last time, and take no
statistics of what nobody wants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor


class Foresight:
    """Numbers maps in the order of noting.

    reads: how often each map will yet be read; only those are in it that something wanted is
    computed from. None as long as that is to be found out.
    """

    def __init__(self, reads: Counter[int] | None = None) -> None:
        self.reads = reads
        self.noted = 0

    def number(self) -> int:
        """The next map's."""
        self.noted += 1
        return self.noted - 1


FORESIGHT: ContextVar[Foresight | None] = ContextVar("FORESIGHT", default=None)


def with_foresight(note: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """The maps that ``note`` wants, after it was heard a first time, without statistics.

    It must do the same both times; else ``RuntimeError``.
    """
    with seeing(Foresight()):
        reads = reads_for(note())
    with seeing(Foresight(reads)):
        maps = note()
    if +reads != Counter(banded.number for banded in maps):
        raise RuntimeError("a network does something else the second time")
    return maps


def reads_for(wanted: Sequence[Any]) -> Counter[int]:
    """How often each map is read to get the wanted ones, and those once more, by number."""
    reads = Counter(banded.number for banded in wanted)
    seen, left = set(wanted), list(wanted)
    while left:
        for source in set(left.pop().sources):
            reads[source.number] += 1
            if source not in seen:
                seen.add(source)
                left.append(source)
    return reads


@contextmanager
def seeing(foresight: Foresight) -> Iterator[None]:
    """Within, maps are numbered, and know how often they will be read."""
    token = FORESIGHT.set(foresight)
    try:
        yield
    finally:
        FORESIGHT.reset(token)


def moments_of_no_use(groups: int) -> tuple[Tensor, Tensor] | None:
    """Some mean and variance of each group, if nobody will look at the next map."""
    foresight = FORESIGHT.get()
    if foresight is None or (foresight.reads and foresight.noted in foresight.reads):
        return None
    return torch.zeros(groups), torch.ones(groups)
