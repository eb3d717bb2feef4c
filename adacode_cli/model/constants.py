"""Tensors that are computed once for a device and kept, and who else holds on to them.

A recording of a network (``restore/replay.py``) reads them wherever they lay when it was made, so
it has to hold those that a cache may let go of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

USED: ContextVar[list[Tensor] | None] = ContextVar("USED", default=None)


def used(constant: Tensor) -> Tensor:
    """A constant that is about to be read."""
    noted = USED.get()
    if noted is not None:
        noted.append(constant)
    return constant


@contextmanager
def noted() -> Iterator[list[Tensor]]:
    """All constants that are read while it lasts."""
    constants: list[Tensor] = []
    token = USED.set(constants)
    try:
        yield constants
    finally:
        USED.reset(token)
