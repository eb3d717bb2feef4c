"""What is measured: weights on a device in a precision, and the picture they are given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adacode_cli.counted import counted
from adacode_cli.device import (
    PRECISION_NAMES,
    keep_fp32_exact,
    resolve_device,
    resolve_precision,
)
from adacode_cli.errors import UsageError
from adacode_cli.restore.restorer import Restorer
from adacode_cli.weights import catalogue

Pixels = tuple[int, int]  # width and height
KEYS = ("weights", "precision", "device", "threads")


@dataclass(frozen=True)
class Setting:
    """One way to restore.

    weights: as the user named them. file: where they lie. precision: fp32, bf16 or fp16.
    device: cpu, cuda, cuda:N or mps. threads: how many the CPU computes with.
    """

    weights: str
    file: Path
    precision: str
    device: str
    threads: int

    @property
    def place(self) -> str:
        """The device; of a CPU, how many threads."""
        many = f", {counted(self.threads, 'thread')}" if self.device == "cpu" else ""
        return f"{self.device}{many}"

    def __str__(self) -> str:
        return f"{self.weights} in {self.precision} on {self.place}"

    def use_threads(self) -> None:
        """From now on, compute with as many."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    def load(self) -> Restorer:
        """The model, ready. Raises what loading raises."""
        self.use_threads()
        keep_fp32_exact()
        return Restorer.load(self.file, self.device, self.precision)


def resolve(weights: str, precision: str, device: str, threads: int | None) -> Setting:
    """What the words mean on this machine; the weights are fetched if they aren't here.

    Raises ``UsageError``, ``DeviceError``, ``WeightsError`` or ``CheckpointError``.
    """
    where = resolve_device(device)
    kind = resolve_precision(precision, where)
    file = catalogue.find(weights)
    catalogue.read_config(file)  # a file that is no network is told before anything is measured
    return Setting(
        weights, file, PRECISION_NAMES[kind], str(where), threads or torch.get_num_threads()
    )


def resolve_other(text: str, first: Setting) -> Setting:
    """'weights=official-x4,precision=bf16': ``first`` but for what is said here.

    Raises ``UsageError`` for what can't be read, and as ``resolve`` does.
    """
    said: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key not in KEYS or key in said:
            raise UsageError(
                f"--against {text}: write it as weights=NAME,precision=bf16; there are"
                f" {', '.join(KEYS)}, each once"
            )
        said[key] = value
    threads = said.get("threads", str(first.threads))
    if not threads.isdecimal() or int(threads) == 0:
        raise UsageError(f"--against {text}: threads={threads} is no number of threads")
    other = resolve(
        said.get("weights", first.weights),
        # Another device may lack the first one's precision, or do better by itself.
        said.get("precision", "auto" if "device" in said else first.precision),
        said.get("device", first.device),
        int(threads),
    )
    if other == first:
        raise UsageError(f"--against {text}: that is the first setting itself, {first}")
    return other


@dataclass(frozen=True)
class Extent:
    """How large the picture is: ``size`` before it is restored, or megapixels after."""

    size: Pixels | None = None
    megapixels: float = 1.0

    def before(self, scale: int) -> Pixels:
        """Width and height of the picture that is restored."""
        if self.size is not None:
            return self.size
        side = max(1, round(math.sqrt(self.megapixels * 1e6) / scale))
        return side, side


def parse_size(text: str) -> Pixels:
    """'640x480' as width and height. Raises ``UsageError``."""
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"--size {text}: write it as 640x480")
    return int(width), int(height)


def make_picture(restorer: Restorer, extent: Extent) -> Tensor:
    """(C, H, W) as the network takes it, the same every time: colours, and a hole if it fills.

    The time doesn't depend on what is in a picture.
    """
    channels = restorer.model.config.in_channels
    width, height = extent.before(restorer.scale)
    picture = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))
    if channels == 4:
        hole = torch.zeros(height, width)
        hole[height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)] = 1
        picture[:3] *= 1 - hole
        picture[3] = hole
    return picture
