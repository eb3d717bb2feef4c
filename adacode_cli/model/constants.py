"""Tensors that are computed once for a device and kept there: to copy one is to wait for a GPU.

A recording of a network (``restore/replay.py``) reads them wherever they lay when it was made, so
it has to hold those that are kept no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")  # a tensor, or several
READ: ContextVar[list[Any] | None] = ContextVar("READ", default=None)


class Kept(Generic[T]):
    """A function of sizes and a device whose last answers are kept."""

    def __init__(self, compute: Callable[..., T], count: int) -> None:
        # What is kept may be needed in training next.
        self.answer = lru_cache(count)(torch.inference_mode(mode=False)(compute))
        self.cache_clear = self.answer.cache_clear

    def __call__(self, *sizes: int, device: torch.device) -> T:
        answer = self.answer(*sizes, device)
        read = READ.get()
        if read is not None:
            read.append(answer)
        return answer


def kept(count: int) -> Callable[[Callable[..., T]], Kept[T]]:
    """Keep the last ``count`` answers of a function of sizes and, at last, a device."""
    return lambda compute: Kept(compute, count)


@contextmanager
def noted() -> Iterator[list[Any]]:
    """Every kept answer that is read while it lasts."""
    answers: list[Any] = []
    token = READ.set(answers)
    try:
        yield answers
    finally:
        READ.reset(token)
