"""The training loop: steps until a budget is spent, checkpoints, and a log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from adacode_cli.device import has_fast_bf16
from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode, Restoration, merge
from adacode_cli.training import losses
from adacode_cli.training.code_averages import CodeAverages
from adacode_cli.training.dataset import Patch, PatchDataset
from adacode_cli.training.figures import CodeUses, Figures
from adacode_cli.training.settings import Settings
from adacode_cli.training.signals import leave_signals_to_the_trainer, noted_signals
from adacode_cli.training.stages import Stage, freeze_for

Report = Callable[[float, dict[str, float]], None]  # share of the budget, figures


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
        for helper in (perceptual, teacher):
            if helper is not None:
                helper.to(self.accelerator.device)
        optimiser = torch.optim.AdamW(
            freeze_for(model, stage), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.bare = model.train()
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        self.average = {n: p.detach().clone() for n, p in model.state_dict().items()}
        self.books = [CodeAverages(b) for b in model.books] if stage.codes_move else []
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.stopped_by: int | None = None
        self.uses = CodeUses(model.config.codebooks)
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
        with noted_signals() as received:
            for patch in self.patches() if self.progress < 1 else ():
                figures.add(self.train_step(patch))
                self.seconds = time.monotonic() - began
                if self.step % self.settings.log_every == 0:
                    self.log(figures.means(), report)
                if time.monotonic() - saved > self.settings.checkpoint_every:
                    self.save()
                    saved = time.monotonic()
                if received or self.progress >= 1:
                    break
        self.stopped_by = received[0] if received else None
        return self.save()

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return self.settings.spent(self.step, self.seconds)

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
            terms = self.terms(restored, patch)
        total = torch.stack([self.stage.losses[k] * v for k, v in terms.items()]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {self.step}")
        self.optimiser.zero_grad()
        self.accelerator.backward(total)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimiser.step()
        for book, quantised in zip(self.books, restored.quantised, strict=False):
            book.update(quantised)
        self.follow()
        self.uses.add(restored.indices)
        self.step += 1
        return {k: v.item() for k, v in terms.items()}

    def terms(self, restored: Restoration, patch: Patch) -> dict[str, Tensor]:
        """The stage's losses by name, unweighted."""
        guide = None
        if self.teacher is not None:
            with torch.no_grad():
                _, quantised, weight = self.teacher.encode(channels_last(patch.clean))
                guide = losses.Guide(quantised, merge(quantised, weight))
        compared = losses.Compared(restored, patch.clean, guide, self.perceptual)
        return losses.terms(self.stage.losses, compared)

    def schedule(self) -> float:
        """Share of the learning rate: a short warm-up, then down a cosine to 1 %."""
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        cosine = 0.5 + 0.5 * float(torch.cos(torch.tensor(self.progress * torch.pi)))
        return warm * max(0.01, cosine)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the averaged weights."""
        keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        state = self.bare.state_dict()
        torch._foreach_lerp_(list(self.average.values()), list(state.values()), 1 - keep)
        for name, codes in self.named_codes():
            self.average[name].copy_(codes)

    def named_codes(self) -> list[tuple[str, Tensor]]:
        """The codes' names in the state dict; they are averages already."""
        return [(n, p) for n, p in self.bare.named_parameters() if n.endswith(".codes")]

    def log(self, means: dict[str, float], report: Report) -> None:
        """One line of JSON, and the caller's report."""
        figures = {
            **means,
            "images_per_second": self.step * self.settings.batch / max(self.seconds, 1e-9),
            "waiting": self.waited / max(self.seconds, 1e-9),
            **self.uses.report(),
        }
        with (self.folder / "log.jsonl").open("a") as file:
            line = {"stage": self.stage.name, "step": self.step, "seconds": self.seconds}
            print(json.dumps({**line, **figures}), file=file)
        report(self.progress, figures)

    def save(self) -> Path:
        """Write the state to go on from and the averaged weights, each whole or not at all."""
        state = {
            "run": self.identity(),
            "model": self.bare.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "books": [book.state() for book in self.books],
            "random": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "waited": self.waited,
        }
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

    def identity(self) -> str:
        """What must be the same for a run to be the same run."""
        photos = [len(photos) for photos in self.dataset.classes]
        return json.dumps([self.bare.config.to_dict(), self.settings.seed, photos])

    def resume(self) -> None:
        """Go on from the state file."""
        state = torch.load(self.state_file, weights_only=True, map_location="cpu")
        if state["run"] != self.identity():
            raise UsageError(f"{self.folder} holds another run; give another folder with -o")
        self.bare.load_state_dict(state["model"])
        for name, average in self.average.items():
            average.copy_(state["average"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        for book, saved in zip(self.books, state["books"], strict=True):
            book.resume(saved)
        torch.set_rng_state(state["random"])
        self.step, self.seconds, self.waited = state["step"], state["seconds"], state["waited"]


def mixed_precision(precision: str) -> str:
    """Accelerate's word for it; auto is bf16 where the hardware multiplies it natively."""
    if precision == "auto":
        return "bf16" if has_fast_bf16("cuda" if torch.cuda.is_available() else "cpu") else "no"
    return "no" if precision == "fp32" else precision


def channels_last(image: Tensor) -> Tensor:
    """The memory order in which convolutions are fastest."""
    return image.contiguous(memory_format=torch.channels_last)
