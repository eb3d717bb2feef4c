"""Memory that was freed stays with the process, where the C library can be asked for that."""

from __future__ import annotations

import ctypes

# Of glibc's mallopt (malloc.h).
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
MOST = 2**31 - 1  # bytes
AT_ONCE = 64 << 20  # bytes that the heap grows by


def keep_freed_memory() -> bool:
    """Take large tensors from the heap, and keep their pages for the next; whether that works.

    Otherwise every large result of a network comes from fresh pages, which the system fills
    with zeros one by one: a tenth of the time on a CPU. For a program, not for a library: it
    holds for the whole process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    wanted = ((MMAP_MAX, 0), (TRIM_THRESHOLD, MOST), (TOP_PAD, AT_ONCE))
    taken = [mallopt(option, value) for option, value in wanted]
    return all(taken)
