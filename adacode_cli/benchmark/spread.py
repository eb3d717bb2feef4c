"""Several runs of the same: the middle, and how far they lie apart."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spread:
    """At least one value, in the order they were taken."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the values lie below."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between these lies the middle half."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest."""
        return min(self.values), max(self.values)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        (least, largest), (low, high) = self.range, self.quartiles
        return {
            "median": self.median,
            "min": least,
            "max": largest,
            "quartiles": [low, high],
            "runs": list(self.values),
        }
