"""The most memory that restoring takes, and what was taken before."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5)


@dataclass(frozen=True)
class Memory:
    """Bytes: with the model loaded, ahead of the first picture; and at most, while restoring.

    kind: "resident", the process' memory in the machine's; or "allocated" on a CUDA device.
    """

    kind: str
    before: int
    peak: int

    @property
    def growth(self) -> int:
        """What restoring added."""
        return self.peak - self.before


class MemoryWatch:
    """From when it is made until it is read. A process should watch one setting alone."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before: int | None = torch.cuda.memory_allocated(device)
        else:
            forget_peak()
            self.before = resident("VmRSS")

    def read(self) -> Memory | None:
        """The peak so far; None where the system doesn't tell."""
        if self.device.type == "cuda":
            assert self.before is not None
            return Memory("allocated", self.before, torch.cuda.max_memory_allocated(self.device))
        peak = resident("VmHWM")
        if peak is None or self.before is None:
            return None
        return Memory("resident", self.before, max(peak, self.before))


def forget_peak() -> None:
    """Where the kernel allows it, loading the model no longer counts."""
    try:
        FORGET.write_text(RESET_PEAK)
    except OSError:
        return


def resident(line: str) -> int | None:
    """Bytes in memory now (VmRSS) or at most so far (VmHWM).

    Outside Linux both are the most so far, and None where nothing tells.
    """
    if STATUS.is_file():
        found = re.search(rf"^{line}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        return int(found[1]) << 10 if found else None
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10
