"""Rows packed by zlib on several cores while the next ones are computed."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Piece = TypeVar("Piece")
Packed = TypeVar("Packed")
BLOCK = 1 << 19  # bytes of samples that are packed at a time
SAMPLES, SAMPLE = 8, 1 << 12  # so many pieces of so many bytes tell which way is shorter
LEVEL = 4  # of compression
THREADS = 8  # at most: then a disk is slower
RAW, WRAPPED = -zlib.MAX_WBITS, zlib.MAX_WBITS  # without and with zlib's header and sum
# Runs alone are as short for photos in half the time; not for drawings and text.
WAYS = (zlib.Z_RLE, zlib.Z_FILTERED)


def packed(data: Bytes, wrapping: int) -> bytes:
    """``data`` by the way that is shorter for some of it; RAW: with room for more after it."""
    data = data.ravel()
    starts = np.linspace(0, max(0, data.size - SAMPLE), SAMPLES).astype(int)
    some = np.concatenate([data[start : start + SAMPLE] for start in starts])
    way = min(WAYS, key=lambda way: len(packed_so(some, way, RAW)))
    return packed_so(data, way, wrapping)


def packed_so(data: Bytes, way: int, wrapping: int) -> bytes:
    """``data`` packed one way."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, wrapping, zlib.DEF_MEM_LEVEL, way)
    end = zlib.Z_SYNC_FLUSH if wrapping == RAW else zlib.Z_FINISH
    return packer.compress(data.data) + packer.flush(end)


def side_by_side(function: Callable[[Piece], Packed], pieces: Iterable[Piece]) -> Iterator[Packed]:
    """``function`` of each piece, in their order, by as many threads as there are cores.

    Pieces are taken from here, as the results are: as many wait as threads can be busy with.
    """
    threads = min(cores(), THREADS)
    waiting: deque[Future[Packed]] = deque()
    with ThreadPoolExecutor(threads, "pack") as pool:
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
