"""What became of each picture, and of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["done", "skipped", "failed"]
Span = tuple[float, float]  # seconds since the run began


@dataclass(frozen=True)
class Result:
    """One picture: restored, done before, or failed with a line that says why."""

    source: Path
    output: Path
    status: Status
    input_size: tuple[int, int] | None = None  # width and height, in pixels
    output_size: tuple[int, int] | None = None
    seconds: float = 0.0  # of reading, computing and writing
    device: str | None = None
    notes: tuple[str, ...] = ()  # what of the file was not kept
    error: str | None = None
    cause: Exception | None = field(default=None, compare=False)
    timeline: dict[str, Span] = field(default_factory=dict)  # read, compute, write; may overlap
    facts: Mapping[str, Any] = field(default_factory=dict)  # what a command adds in JSON

    @property
    def source_name(self) -> str:
        """What a person is told it is."""
        return "standard input" if str(self.source) == "-" else str(self.source)

    def to_json(self, weights: str | None) -> dict[str, Any]:
        """For a line of --json; ``weights`` is the hash of the file."""
        return {
            "input": str(self.source),
            "output": str(self.output),
            "status": self.status,
            "input_size": self.input_size,
            "output_size": self.output_size,
            "seconds": round(self.seconds, 4),
            "device": self.device,
            "weights_sha256": weights,
            "warnings": list(self.notes),
            "error": self.error,
            "timeline": {name: [round(t, 4) for t in span] for name, span in self.timeline.items()},
            **self.facts,
        }


def busy(spans: Iterable[Span]) -> float:
    """The seconds in any of them; what happens at the same time counts once."""
    seconds, until = 0.0, -math.inf
    for start, end in sorted(spans):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return seconds


@dataclass(frozen=True)
class Summary:
    """How many pictures came to which end."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    not_started: int = 0
    seconds: float = 0.0  # by the clock

    @property
    def total(self) -> int:
        """All pictures of the plan."""
        return self.done + self.skipped + self.failed + self.not_started

    def plus(self, other: Summary) -> Summary:
        """Both together, at the same time."""
        return Summary(
            self.done + other.done,
            self.skipped + other.skipped,
            self.failed + other.failed,
            self.not_started + other.not_started,
            max(self.seconds, other.seconds),
        )


def summarise(results: Iterable[Result], planned: int, seconds: float) -> Summary:
    """Count what ``results`` say about ``planned`` pictures."""
    ends = [result.status for result in results]
    done, skipped, failed = (ends.count(end) for end in ("done", "skipped", "failed"))
    return Summary(done, skipped, failed, planned - len(ends), seconds)
