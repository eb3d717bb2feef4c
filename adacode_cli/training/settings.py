"""How long and how hard to train. No PyTorch here, so that the commands can show the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from adacode_cli.errors import UsageError
from adacode_cli.model.config import CODE_STRIDE, Task

Preset = Literal["lite", "official"]
DISCRIMINATORS = ("patches", "unet")
SEEDS = 2**64  # as many as PyTorch tells apart
SMALLEST = 48  # pixels a side of a patch
LEAST = {
    "steps": 0,
    "seconds": 0,
    "batch": 1,
    "accumulate": 1,
    "patch": SMALLEST,
    "discriminator_width": 1,
    "warmup": 1,
    "validation": 0,
    "workers": 0,
    "seed": 0,
    "checkpoint_every": 0,
    "keep": 1,
    "log_every": 1,
}
FINITE = (  # and not below 0
    "calm",
    "sharpen",
    "flat",
    "distill_tones",
    "learning_rate",
    "discriminator_rate",
)


@dataclass(frozen=True)
class Settings:
    """The hyperparameters that every stage shares.

    Raises ``UsageError``, naming the field, for a run without a budget or with values that
    can't work.
    """

    preset: Preset = "lite"  # the bundled family, or the published network
    steps: int | None = None  # optimiser steps; whichever budget ends first
    seconds: float | None = None
    batch: int = 16  # patches a process sees at once
    accumulate: int = 1  # batches whose gradients make one step
    patch: int = 128  # pixels of the clean image
    plain: float = 0.15  # share of super-resolution's patches that are reduced and nothing else
    # Of super-resolution's targets:
    calm: float = 0.0  # of 255, all channels summed: differences that are smoothed away
    sharpen: float = 0.0  # × their difference to a blur is added at edges
    flat: float = 0.0  # of 255 a pixel: slopes on which no perceptual or adversarial loss looks
    distill: str | None = None  # weights or a .pt2 program whose pictures are drawn after
    distill_clean: float = 0.0  # share of the photo, only reduced, in what it is shown
    distill_tones: float = 4.0  # pixels: what a blur of this σ keeps is the photo's
    learning_rate: float = 4e-4
    discriminator: str | None = None  # patches or unet, else the preset's
    discriminator_rate: float = 4e-4
    discriminator_width: int = 32  # channels of its first level
    warmup: int = 100  # steps
    ema: float = 0.999  # of the weights that are saved
    clip: float = 1.0  # norm of the gradient
    losses: dict[str, float] = field(default_factory=dict)  # weights other than the stage's
    begins: dict[str, float] = field(default_factory=dict)  # share of the budget before a loss
    perceptual: str | None = None  # vgg19, lpips, or a file; without it no perceptual term
    validation: int = 12  # photos kept aside
    workers: int = 1  # processes that prepare patches
    seed: int = 0
    device: str = "auto"  # or cpu, cuda, cuda:N, mps: that one or none
    precision: str = "auto"  # fp32, bf16, fp16
    checkpoint_every: float = 180.0  # seconds
    keep: int = 2  # states to go on from
    log_every: int = 50  # steps

    def __post_init__(self) -> None:
        if self.preset not in get_args(Preset):
            raise UsageError(
                f"no preset is called {self.preset!r}; use {' or '.join(get_args(Preset))}"
            )
        if self.steps is None and self.seconds is None:
            raise UsageError("training needs a budget: --for 90m or --steps 10000")
        if self.patch % CODE_STRIDE:
            raise UsageError(f"patches of {self.patch} pixels: take a multiple of {CODE_STRIDE}")
        if self.preset == "official" and self.patch % 64:
            raise UsageError(f"patches of {self.patch} pixels: the official preset needs 64s")
        if self.discriminator not in (None, *DISCRIMINATORS):
            kinds = " or ".join(DISCRIMINATORS)
            raise UsageError(f"no discriminator is called {self.discriminator!r}; use {kinds}")
        self.check_counts()
        self.check_amounts()
        self.check_shares()

    def check_counts(self) -> None:
        """Whether there is enough of everything. Raises ``UsageError``."""
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # what is no number isn't, either
                raise UsageError(f"{name} is {value}; it must be at least {least}")
        if self.seed >= SEEDS:
            raise UsageError(f"seed is {self.seed}; it must be less than 2 to the 64")

    def check_amounts(self) -> None:
        """Whether rates, weights and strengths are numbers to work with. Raises ``UsageError``."""
        weights = {f"losses.{name}": weight for name, weight in self.losses.items()}
        for name, amount in {**{n: getattr(self, n) for n in FINITE}, **weights}.items():
            if not 0 <= amount < math.inf:
                raise UsageError(f"{name} is {amount}; it must be a number from 0 up")
        for name in ("learning_rate", "clip", "distill_tones"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be more than 0")

    def check_shares(self) -> None:
        """Whether shares are less than all, or all. Raises ``UsageError``."""
        begins = {f"begins.{name}": share for name, share in self.begins.items()}
        shares = {"plain": self.plain, "distill_clean": self.distill_clean}
        for name, share in {**shares, **begins}.items():
            if not 0 <= share <= 1:
                raise UsageError(f"{name} is {share}; it is a share, from 0 to 1")
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema is {self.ema}; it is a share, from 0 to less than 1")

    def for_task(self, task: Task) -> Settings:
        """The same; only super-resolution draws anything but the photo itself."""
        if task == "sr":
            return self
        return replace(self, calm=0.0, sharpen=0.0, flat=0.0, distill=None)

    def share(self, part: float) -> Settings:
        """The same with a part of the budget."""
        steps = None if self.steps is None else round(self.steps * part)
        return replace(self, steps=steps, seconds=self.seconds and self.seconds * part)

    def told(self) -> dict[str, Any]:
        """As it stands in the weights, which travel: without this machine's folders."""
        files = {"perceptual": self.perceptual, "distill": self.distill}
        return {**asdict(self), **{name: file and Path(file).name for name, file in files.items()}}

    def spent(self, steps: int, seconds: float) -> float:
        """The share of the budget that is spent, 0 to 1."""
        shares = [
            1.0 if budget == 0 else done / budget
            for done, budget in ((steps, self.steps), (seconds, self.seconds))
            if budget is not None
        ]
        return min(1.0, max(shares))


def resolve(file: Path | None, chosen: Mapping[str, Any], budget: float) -> Settings:
    """Defaults, then what ``file`` says, then what was ``chosen`` on the command line.

    ``budget``: seconds, where nobody names a budget. Raises ``UsageError`` for a name that
    isn't a setting, or a value of another type.
    """
    told = {**(read_toml(file) if file else {}), **chosen}
    presets = " or ".join(get_args(Preset))
    kinds = {f.name: str(f.type).replace("Preset", presets) for f in fields(Settings)}
    for name, value in told.items():
        if name not in kinds:
            raise UsageError(f"{file}: no setting is called {name!r}; there are {', '.join(kinds)}")
        if not fits(value, kinds[name]):
            raise UsageError(f"{file}: {name} is {value!r}; it should be {kinds[name]}")
    if told.get("steps") is None and told.get("seconds") is None:
        told["seconds"] = budget
    return Settings(**told)


def fits(value: Any, kind: str) -> bool:
    """Whether a TOML value may stand for a field of this type."""
    if value is None:
        return "None" in kind
    if kind.startswith("dict"):
        return isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values())
    if kind.startswith("float"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    wanted = int if kind.startswith("int") else str
    return isinstance(value, wanted) and not isinstance(value, bool)


def read_toml(file: Path) -> dict[str, Any]:
    """The settings in a TOML file. Raises ``UsageError`` for one that can't be read."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(file.read_text()).unwrap()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise UsageError(f"{file}: not a readable TOML file ({error})") from error


def write_toml(settings: Settings, file: Path) -> None:
    """The resolved settings, as a file that ``--settings`` takes."""
    import tomlkit

    told = {f.name: getattr(settings, f.name) for f in fields(settings)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(tomlkit.dumps({k: v for k, v in told.items() if v is not None}))
