"""What a run tells about itself: means over steps, and how its codes are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacode_cli.model.config import CodebookConfig
from adacode_cli.training.code_averages import perplexity, usage

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class Figures:
    """Sums of what each step reports, where it was computed: a GPU isn't waited for."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """One step's, each a scalar."""
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.float()

    def means(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total.item() / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class CodeUses:
    """How often each code of each codebook was chosen since the last report."""

    def __init__(self, books: tuple[CodebookConfig, ...]) -> None:
        self.names = [book.name for book in books]
        self.counts = [torch.zeros(book.codes) for book in books]

    def add(self, indices: Tensor) -> None:
        """One step's, (B, K, h, w)."""
        once = torch.ones(indices[:, 0].numel(), device=indices.device)
        self.counts = [counts.to(indices.device) for counts in self.counts]
        for k, counts in enumerate(self.counts):
            counts.index_add_(0, indices[:, k].flatten(), once)

    def report(self) -> dict[str, float]:
        """Usage and perplexity by class, and begin again."""
        told = {}
        for name, counts in zip(self.names, self.counts, strict=True):
            told[f"usage/{name}"] = usage(counts)
            told[f"perplexity/{name}"] = perplexity(counts)
        self.counts = [torch.zeros_like(counts) for counts in self.counts]
        return told


class Log:
    """A run's figures: one line of JSON each time, and TensorBoard where it is installed."""

    def __init__(self, folder: Path, stage: str, *, writes: bool) -> None:
        self.file, self.stage, self.writes = folder / "log.jsonl", stage, writes
        self.board = tensorboard(folder / "tensorboard" / stage) if writes else None

    def write(self, step: int, seconds: float, figures: dict[str, float]) -> None:
        """Append what is known at a step."""
        if not self.writes:
            return
        with self.file.open("a") as file:
            line = {"stage": self.stage, "step": step, "seconds": seconds, **figures}
            print(json.dumps(line), file=file)
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()

    def go_on_from(self, step: int) -> None:
        """Drop what an interrupted run wrote after the state that it goes on from."""
        if not self.writes or not self.file.exists():
            return
        kept = [r for r in read_log(self.file) if r["stage"] != self.stage or r["step"] <= step]
        unfinished = self.file.with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(record) + "\n" for record in kept))
        unfinished.replace(self.file)


def read_log(file: Path) -> list[dict[str, Any]]:
    """One record a line; a line that was cut off by a crash is left out."""
    records = []
    for line in file.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def tensorboard(folder: Path) -> SummaryWriter | None:
    """A writer, which begins a file at once; None where it isn't installed."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
