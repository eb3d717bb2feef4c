"""A setting is measured: seconds, memory, and how near each stage comes to the ceiling."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from adacode_cli.benchmark.apart import Step
from adacode_cli.benchmark.ceiling import Ceiling, measure_ceiling
from adacode_cli.benchmark.memory import Memory, MemoryWatch
from adacode_cli.benchmark.setting import Extent, Pixels, Setting, make_picture
from adacode_cli.benchmark.spread import Spread
from adacode_cli.benchmark.stages import ByStage, flop_by_stage, seconds_by_stage
from adacode_cli.restore.restorer import Restorer

# A side in pixels of the result: larger pictures aren't restored in one pass.
STAGES_AT_MOST = 1024


def steps(repeats: int) -> int:
    """How often ``measure`` says that it got on."""
    return 2 * repeats + 3


@dataclass(frozen=True)
class Stage:
    """A part of the network; a megapixel is one of the result.

    seconds and flop: for each megapixel. share: of all stages' seconds.
    """

    name: str
    seconds: float
    flop: float
    share: float

    @property
    def flop_per_second(self) -> float:
        """What it achieves."""
        return self.flop / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Measurement:
    """What was found.

    before, after: width and height of the picture and of its restoration. seconds: for each
    megapixel of the result, as a user waits for it. stages: of one pass over a picture of
    ``staged``, width and height of the result.
    """

    setting: Setting
    task: str
    scale: int
    before: Pixels
    after: Pixels
    seconds: Spread
    memory: Memory | None
    stages: tuple[Stage, ...]
    staged: Pixels
    ceiling: Ceiling

    @property
    def flop(self) -> float:
        """The network's operations for each megapixel."""
        return sum(stage.flop for stage in self.stages)

    @property
    def flop_per_second(self) -> float:
        """What the whole of it achieves."""
        return self.flop / self.seconds.median

    def of_ceiling(self, part: Measurement | Stage) -> float:
        """The share of what the machine's best convolution achieves."""
        return part.flop_per_second / self.ceiling.flop_per_second

    def to_dict(self) -> dict[str, Any]:
        """For JSON; megapixels are millions, memory is bytes."""
        memory = self.memory and {**asdict(self.memory), "growth": self.memory.growth}
        return {
            "weights": self.setting.weights,
            "precision": self.setting.precision,
            "device": self.setting.device,
            "threads": self.setting.threads,
            "task": self.task,
            "scale": self.scale,
            "input_size": list(self.before),
            "output_size": list(self.after),
            "seconds_per_megapixel": self.seconds.to_dict(),
            "memory": memory,
            "flop_per_megapixel": self.flop,
            "flop_per_second": self.flop_per_second,
            "of_ceiling": self.of_ceiling(self),
            "ceiling": {**asdict(self.ceiling), "kernel": 3},
            "stages_output_size": list(self.staged),
            "stages": [
                {
                    "stage": stage.name,
                    "seconds_per_megapixel": stage.seconds,
                    "share": stage.share,
                    "flop_per_megapixel": stage.flop,
                    "flop_per_second": stage.flop_per_second,
                    "of_ceiling": self.of_ceiling(stage),
                }
                for stage in self.stages
            ],
        }


def measure(setting: Setting, extent: Extent, repeats: int, on_step: Step) -> Measurement:
    """Load, restore a picture once and ``repeats`` times more, and look into the stages.

    The peak of memory is this process': measure each setting in one of its own. Raises what
    loading and restoring raise.
    """
    restorer = setting.load()
    picture = make_picture(restorer, extent)
    watch = MemoryWatch(restorer.device)
    seconds = time_pictures(restorer, picture, repeats, on_step)
    memory = watch.read()
    side = STAGES_AT_MOST // restorer.scale
    part = picture[:, :side, :side]
    stages = measure_stages(restorer, part, repeats, on_step)
    ceiling = measure_ceiling(restorer.device, restorer.precision)
    on_step()
    config = restorer.model.config
    return Measurement(
        setting,
        config.task,
        config.scale,
        before=extent.before(config.scale),
        after=size_after(restorer, picture),
        seconds=seconds,
        memory=memory,
        stages=stages,
        staged=size_after(restorer, part),
        ceiling=ceiling,
    )


def size_after(restorer: Restorer, picture: Tensor) -> Pixels:
    """Width and height of what (C, H, W) becomes."""
    return restorer.scale * picture.shape[2], restorer.scale * picture.shape[1]


def megapixels(restorer: Restorer, picture: Tensor) -> float:
    """How many the result of (C, H, W) has, in millions."""
    width, height = size_after(restorer, picture)
    return width * height / 1e6


def time_pictures(restorer: Restorer, picture: Tensor, repeats: int, on_step: Step) -> Spread:
    """Seconds for each megapixel of the result, after one run that isn't counted."""
    taken = []
    for _ in range(1 + repeats):
        taken.append(time_picture(restorer, picture))
        on_step()
    return Spread(tuple(taken[1:]))


def time_picture(restorer: Restorer, picture: Tensor) -> float:
    """Seconds for each megapixel of the result, of one run; it ends on the host."""
    began = time.perf_counter()
    restorer.restore(picture)
    return (time.perf_counter() - began) / megapixels(restorer, picture)


def measure_stages(
    restorer: Restorer, picture: Tensor, repeats: int, on_step: Step
) -> tuple[Stage, ...]:
    """Every stage's seconds and operations, after the run that counts these."""
    flop = flop_by_stage(restorer, picture)
    on_step()
    runs = []
    for _ in range(repeats):
        runs.append(seconds_by_stage(restorer, picture))
        on_step()
    seconds, size = middle(runs), megapixels(restorer, picture)
    total = sum(seconds.values())
    return tuple(
        Stage(name, taken / size, flop[name] / size, taken / total)
        for name, taken in seconds.items()
    )


def middle(runs: list[ByStage]) -> ByStage:
    """Each stage's mean over the middle half of the runs: these add up, as medians don't."""
    ordered = sorted(runs, key=lambda run: sum(run.values()))
    cut = len(runs) // 4
    kept = ordered[cut : len(runs) - cut]
    return {name: sum(run[name] for run in kept) / len(kept) for name in kept[0]}


def with_common_ceilings(measured: list[Measurement]) -> list[Measurement]:
    """Each with the highest ceiling that was found in its precision and place."""
    found: dict[tuple[str, str], Ceiling] = {}
    for m in sorted(measured, key=lambda m: m.ceiling.flop_per_second):
        found[m.setting.precision, m.setting.place] = m.ceiling
    return [replace(m, ceiling=found[m.setting.precision, m.setting.place]) for m in measured]
