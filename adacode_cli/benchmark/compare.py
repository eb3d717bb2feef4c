"""Two settings in turn, so that whatever else the machine does meets both alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adacode_cli.benchmark.apart import Step
from adacode_cli.benchmark.measure import time_picture
from adacode_cli.benchmark.setting import Extent, Setting, make_picture
from adacode_cli.benchmark.spread import Spread
from adacode_cli.counted import counted


@dataclass(frozen=True)
class Comparison:
    """How many times as fast as the second the first is: a ratio for each pair of runs."""

    first: Setting
    second: Setting
    ratios: Spread

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "first": str(self.first),
            "second": str(self.second),
            "times_as_fast": self.ratios.to_dict(),
        }

    def __str__(self) -> str:
        (least, largest), (low, high) = self.ratios.range, self.ratios.quartiles
        return (
            f"{self.first}: {self.ratios.median:.2f} times as fast as {self.second}"
            f" ({counted(len(self.ratios.values), 'pair')} in turn: {least:.2f} to {largest:.2f},"
            f" the middle half {low:.2f} to {high:.2f})"
        )


def compare_steps(repeats: int) -> int:
    """How often ``compare`` says that it got on."""
    return 1 + repeats


def compare(
    first: Setting, second: Setting, extent: Extent, repeats: int, on_step: Step
) -> Comparison:
    """Run them A B A B …, each once before it counts. Raises what loading and restoring raise."""
    contestants = []
    for setting in (first, second):
        restorer = setting.load()
        contestants.append((setting, restorer, make_picture(restorer, extent)))
    ratios = []
    for _ in range(1 + repeats):
        taken = []
        for setting, restorer, picture in contestants:
            setting.use_threads()
            taken.append(time_picture(restorer, picture))
        ratios.append(taken[1] / taken[0])
        on_step()
    return Comparison(first, second, Spread(tuple(ratios[1:])))
