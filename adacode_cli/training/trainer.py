"""The training loop: steps until a budget is spent, checkpoints, and a log."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from adacode_cli.device import has_fast_bf16
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode, Restoration
from adacode_cli.training import losses
from adacode_cli.training.code_averages import CodeAverages, perplexity, usage
from adacode_cli.training.dataset import Patch, PatchDataset
from adacode_cli.training.stages import Stage, freeze_for

Report = Callable[[float, dict[str, float]], None]  # share of the budget, figures


@dataclass(frozen=True)
class Settings:
    """How long and how hard to train."""

    steps: int | None = None  # optimiser steps; whichever budget ends first
    seconds: float | None = None
    batch: int = 16  # patches
    patch: int = 128  # pixels of the clean image
    learning_rate: float = 4e-4
    warmup: int = 100  # steps
    ema: float = 0.999  # of the weights that are saved
    clip: float = 1.0  # norm of the gradient
    workers: int = 1  # processes that prepare patches
    seed: int = 0
    precision: str = "auto"  # fp32, bf16
    checkpoint_every: float = 180.0  # seconds
    log_every: int = 50  # steps

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            raise ValueError("training needs a budget: steps or seconds")

    def share(self, part: float) -> Settings:
        """The same with a part of the budget."""
        steps = round(self.steps * part) if self.steps else None
        return replace(self, steps=steps, seconds=self.seconds * part if self.seconds else None)


class Trainer:
    """One stage on one model, in one folder; begun again, it goes on where it stopped."""

    def __init__(
        self,
        model: AdaCode,
        stage: Stage,
        dataset: PatchDataset,
        settings: Settings,
        folder: Path,
        perceptual: losses.Perceptual | None = None,
        teacher: AdaCode | None = None,
    ) -> None:
        self.stage, self.settings, self.dataset, self.folder = stage, settings, dataset, folder
        self.perceptual, self.teacher = perceptual, teacher
        torch.manual_seed(settings.seed)
        self.accelerator = Accelerator(mixed_precision=mixed_precision(settings.precision))
        trained = freeze_for(model, stage)
        self.bare = model.train()
        self.average = {n: p.detach().clone() for n, p in model.state_dict().items()}
        self.books = [CodeAverages(b) for b in model.books] if stage.codes_move else []
        optimiser = torch.optim.AdamW(
            trained, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.stopped_by: int | None = None
        self.uses = [torch.zeros(b.codes) for b in model.config.codebooks]
        if self.state_file.exists():
            self.resume()

    @property
    def state_file(self) -> Path:
        """Everything needed to go on."""
        return self.folder / f"{self.stage.name}.state"

    @property
    def weights_file(self) -> Path:
        """The averaged weights, float16, as they are used."""
        return self.folder / f"{self.stage.name}.safetensors"

    def run(self, report: Report) -> Path:
        """Train until the budget is spent or a signal comes; return the weights' path.

        Raises ``FloatingPointError`` when the loss stops being a number; the last
        checkpoint is kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        saved, figures = time.monotonic(), Figures()
        began = saved - self.seconds
        with SignalsAsFlag(self):
            for patch in self.patches():
                figures.add(self.train_step(patch))
                self.seconds = time.monotonic() - began
                if self.step % self.settings.log_every == 0:
                    self.log(figures.means(), report)
                if time.monotonic() - saved > self.settings.checkpoint_every:
                    self.save()
                    saved = time.monotonic()
                if self.stopped_by or self.progress >= 1:
                    break
        return self.save()

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        steps = self.step / self.settings.steps if self.settings.steps else 0.0
        seconds = self.seconds / self.settings.seconds if self.settings.seconds else 0.0
        return min(1.0, max(steps, seconds))

    def patches(self) -> Iterator[Patch]:
        """Batches from where the run stands, with the time spent on each counted."""
        first = self.step * self.settings.batch
        loader = DataLoader(
            Subset(self.dataset, range(first, len(self.dataset))),
            self.settings.batch,
            num_workers=self.settings.workers,
            drop_last=True,
            prefetch_factor=4 if self.settings.workers else None,
            worker_init_fn=leave_signals_to_the_trainer,
        )
        batches = iter(self.accelerator.prepare(loader))
        while True:
            began = time.monotonic()
            patch = next(batches, None)
            self.waited += time.monotonic() - began
            if patch is None:
                return
            yield patch

    def train_step(self, patch: Patch) -> dict[str, float]:
        """One step of the optimiser on a batch; returns the unweighted losses."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * self.schedule()
        with self.accelerator.autocast():
            restored = self.model(channels_last(patch.degraded))
            terms = self.losses(restored, patch)
        total = torch.stack([self.stage.losses[k] * v for k, v in terms.items()]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {self.step}")
        self.optimiser.zero_grad()
        self.accelerator.backward(total)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimiser.step()
        for book, quantised in zip(self.books, restored.quantised, strict=False):
            book.update(quantised)
        self.follow(restored.indices)
        self.step += 1
        return {k: v.item() for k, v in terms.items()}

    def losses(self, restored: Restoration, patch: Patch) -> dict[str, Tensor]:
        """The stage's losses by name, unweighted."""
        guide = None
        if self.teacher is not None:
            with torch.no_grad():
                guide = self.teacher(channels_last(patch.clean))
        terms: dict[str, Tensor] = {}
        for name in self.stage.losses:
            if name == "reconstruction":
                terms[name] = losses.reconstruction(restored.image, patch.clean)
            elif name == "perceptual" and self.perceptual is not None:
                terms[name] = self.perceptual(restored.image, patch.clean)
            elif name == "commitment":
                terms[name] = losses.commitment(restored.quantised)
            elif name == "feature" and guide is not None:
                terms[name] = losses.feature(restored.merged, guide.merged)
            elif name == "code" and guide is not None:
                terms[name] = losses.code(restored.quantised, guide.quantised)
        return terms

    def schedule(self) -> float:
        """Share of the learning rate: a short warm-up, then down a cosine to 1 %."""
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        cosine = 0.5 + 0.5 * float(torch.cos(torch.tensor(self.progress * torch.pi)))
        return warm * max(0.01, cosine)

    @torch.no_grad()
    def follow(self, indices: Tensor) -> None:
        """Move the averaged weights, and count which codes were chosen."""
        keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        state = self.bare.state_dict()
        torch._foreach_lerp_(list(self.average.values()), list(state.values()), 1 - keep)
        for name, codes in self.named_codes():
            self.average[name].copy_(codes)
        for k, uses in enumerate(self.uses):
            self.uses[k] = uses + torch.bincount(indices[:, k].flatten().cpu(), minlength=len(uses))

    def named_codes(self) -> list[tuple[str, Tensor]]:
        """The codes' names in the state dict; they are averages already."""
        return [(n, p) for n, p in self.bare.named_parameters() if n.endswith(".codes")]

    def log(self, means: dict[str, float], report: Report) -> None:
        """One line of JSON, and the caller's report."""
        figures = {
            **means,
            "images_per_second": self.step * self.settings.batch / max(self.seconds, 1e-9),
            "waiting": self.waited / max(self.seconds, 1e-9),
        }
        for book, uses in zip(self.bare.config.codebooks, self.uses, strict=True):
            figures[f"usage/{book.name}"] = usage(uses)
            figures[f"perplexity/{book.name}"] = perplexity(uses)
            uses.zero_()
        with (self.folder / "log.jsonl").open("a") as file:
            line = {"stage": self.stage.name, "step": self.step, "seconds": self.seconds}
            print(json.dumps({**line, **figures}), file=file)
        report(self.progress, figures)

    def save(self) -> Path:
        """Write the state to go on from and the averaged weights, each whole or not at all."""
        state = {
            "model": self.bare.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "books": [book.state() for book in self.books],
            "random": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "waited": self.waited,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.state_file.with_suffix(".unfinished")
        torch.save(state, unfinished)
        unfinished.replace(self.state_file)
        path = self.weights_file
        checkpoint.save(path, self.bare.config, self.average, self.story(), torch.float16)
        return path

    def story(self) -> dict[str, str]:
        """How these weights came about, for the file's metadata."""
        told: dict[str, Any] = {
            "stage": self.stage.name,
            "step": self.step,
            "seconds": round(self.seconds),
            "settings": asdict(self.settings),
            "losses": self.stage.losses,
            "photos": sum(len(photos) for photos in self.dataset.classes),
        }
        return {"training": json.dumps(told)}

    def resume(self) -> None:
        """Go on from the state file."""
        state = torch.load(self.state_file, weights_only=True)
        self.bare.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        for book, saved in zip(self.books, state["books"], strict=True):
            book.resume(saved)
        torch.set_rng_state(state["random"])
        self.step, self.seconds, self.waited = state["step"], state["seconds"], state["waited"]


class Figures:
    """Sums of what each step reports."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, terms: dict[str, float]) -> None:
        """One step's."""
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class SignalsAsFlag:
    """Ctrl-C and SIGTERM end the step, not the process, so that the state is saved."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        def note(number: int, _: FrameType | None) -> None:
            self.trainer.stopped_by = number

        self.before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def leave_signals_to_the_trainer(_: int) -> None:
    """Ctrl-C reaches every process of a terminal; a worker that dies of it breaks the run."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def mixed_precision(precision: str) -> str:
    """Accelerate's word for it; auto is bf16 where the hardware multiplies it natively."""
    if precision == "auto":
        return "bf16" if has_fast_bf16("cuda" if torch.cuda.is_available() else "cpu") else "no"
    return "no" if precision == "fp32" else precision


def channels_last(image: Tensor) -> Tensor:
    """The memory order in which convolutions are fastest."""
    return image.contiguous(memory_format=torch.channels_last)
