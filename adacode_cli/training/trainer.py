"""The training loop: steps until a budget is spent, then checkpoints, sheets and curves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from adacode_cli.device import has_fast_bf16, resolve_device
from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode, Restoration, merge
from adacode_cli.restore.way import lacks_memory
from adacode_cli.training import losses
from adacode_cli.training.code_averages import CodeAverages
from adacode_cli.training.curves import draw_curves
from adacode_cli.training.dataset import Patch, PatchDataset
from adacode_cli.training.discriminator import Adversary
from adacode_cli.training.distillation import Distillation
from adacode_cli.training.figures import CodeUses, Figures, Log
from adacode_cli.training.identity import as_now, differences
from adacode_cli.training.perceptual import PerceptualNetwork
from adacode_cli.training.settings import Settings
from adacode_cli.training.signals import leave_signals_to_the_trainer, noted_signals
from adacode_cli.training.stages import Stage, freeze_for
from adacode_cli.training.states import States
from adacode_cli.training.validation import Validation
from adacode_cli.training.weight_average import WeightAverage, parameters_of

Report = Callable[[float, dict[str, float]], None]  # share of the budget, figures


@dataclass(frozen=True)
class Lesson:
    """What a run learns from: patches, photos kept aside, and networks that have a view."""

    dataset: PatchDataset
    validation: Validation | None = None
    network: PerceptualNetwork | None = None
    teacher: AdaCode | None = None
    distillation: Distillation | None = None
    skipped: dict[Path, str] = field(default_factory=dict)  # photos that aren't used, and why


class Trainer:
    """One stage on one model, in one folder; begun again, it goes on where it stopped."""

    def __init__(
        self, model: AdaCode, stage: Stage, lesson: Lesson, settings: Settings, folder: Path
    ) -> None:
        self.stage = stage.weighing(settings.losses, settings.begins)
        self.settings, self.lesson, self.folder = settings, lesson, folder
        torch.manual_seed(settings.seed)
        self.accelerator = accelerator_for(settings)
        for helper in (lesson.network, lesson.teacher, lesson.distillation):
            if helper is not None:
                helper.to(self.accelerator.device)
        self.perceptual = None if lesson.network is None else losses.Perceptual(lesson.network)
        self.prepare(model)
        self.states = States(folder, stage.name, settings.keep)
        self.uses = CodeUses(model.config.codebooks)
        self.step, self.seconds, self.waited, self.best = 0, 0.0, 0.0, float("inf")
        self.stopped_by: int | None = None
        self.scores: dict[str, float] = {}  # of the last validation
        state = self.states.latest()
        if state is not None:
            self.resume(state)
        # Not before: another run's folder is refused untouched, and TensorBoard begins a file.
        self.log = Log(folder, stage.name, writes=self.accelerator.is_main_process)
        if state is not None:
            self.log.go_on_from(self.step)

    def prepare(self, model: AdaCode) -> None:
        """The model, the discriminator and the semantic head, with optimisers, on the device."""
        rate, names = self.settings.learning_rate, self.stage.losses
        self.bare = model.train()
        self.head = None
        if self.lesson.network is not None and "semantic" in names:
            self.head = losses.SemanticHead(model.config.widths[3], self.lesson.network)
        parameters = freeze_for(model, self.stage) + parameters_of(self.head)
        optimiser = torch.optim.AdamW(
            parameters, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        self.read = None if self.head is None else self.accelerator.prepare(self.head)
        self.average = WeightAverage(model, self.settings.ema)
        self.books = []
        if self.stage.codes != "frozen":
            follows = self.stage.codes == "averages"
            gather = self.accelerator.gather
            self.books = [CodeAverages(b, follows=follows, gather=gather) for b in model.books]
        self.adversary = None
        if "adversarial" in names:
            self.adversary = Adversary(self.accelerator, self.settings)

    @property
    def weights_file(self) -> Path:
        """The averaged weights, float16, as they are used."""
        return self.folder / f"{self.stage.name}.safetensors"

    @property
    def best_file(self) -> Path:
        """Those that did best on the photos kept aside."""
        return self.folder / f"{self.stage.name}.best.safetensors"

    @property
    def result(self) -> Path:
        """The best weights where there are any to compare, else the last."""
        return self.best_file if self.best_file.exists() else self.weights_file

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return self.settings.spent(self.step, self.seconds)

    def run(self, report: Report) -> Path:
        """Train until the budget is spent or a signal comes; return the weights' path.

        Raises ``FloatingPointError`` when the loss stops being a number, ``MemoryError`` when
        a batch doesn't fit; the last checkpoint is kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        figures, began = Figures(), time.monotonic() - self.seconds
        saved = self.seconds
        with noted_signals() as received:
            for patch in self.patches() if self.progress < 1 else ():
                figures.add(self.guarded_step(patch))
                if not self.accelerator.sync_gradients:
                    continue
                stop = self.agree(time.monotonic() - began, received)
                if self.step % self.settings.log_every == 0:
                    self.tell(figures.means(), report)
                if self.seconds - saved > self.settings.checkpoint_every and not stop:
                    self.save()
                    # The next interval begins now that it is saved: in each there is training.
                    stop = self.agree(time.monotonic() - began, received)
                    saved = self.seconds
                if stop or self.progress >= 1:
                    self.stopped_by = stop or None
                    break
        if figures.count:
            self.tell(figures.means(), report)
        self.save()
        return self.result

    def agree(self, seconds: float, received: list[int]) -> int:
        """One clock for all processes, and one answer to whether a signal came to any."""
        stop = received[0] if received else 0
        if self.accelerator.num_processes > 1:
            told = torch.tensor([[seconds, stop]], device=self.accelerator.device)
            seconds, stop = self.accelerator.gather(told).amax(0).tolist()
        self.seconds = seconds
        return int(stop)

    def patches(self) -> Iterator[Patch]:
        """Batches from where the run stands, with the time spent on each counted."""
        first = self.step * self.settings.batch * self.settings.accumulate
        first *= self.accelerator.num_processes
        if self.settings.workers:
            # Each computes on a core of its own. Before they are forked: the threads of a pool
            # don't come along, and a worker that has a use for them would wait for ever.
            cv2.setNumThreads(1)
        loader = DataLoader(
            Subset(self.lesson.dataset, range(first, len(self.lesson.dataset))),
            self.settings.batch,
            num_workers=self.settings.workers,
            drop_last=True,
            prefetch_factor=4 if self.settings.workers else None,
            pin_memory=pins_memory(self.settings.device),
            worker_init_fn=leave_signals_to_the_trainer,
            # Its seed for workers mustn't come out of the losses' random numbers.
            generator=torch.Generator(),
        )
        batches = iter(self.accelerator.prepare(loader))
        while True:
            began = time.monotonic()
            patch = next(batches, None)
            self.waited += time.monotonic() - began
            if patch is None:
                return
            yield patch

    def guarded_step(self, patch: Patch) -> dict[str, Tensor]:
        """``train_step``; out of memory says what to do about it."""
        try:
            return self.train_step(patch)
        except RuntimeError as error:
            if lacks_memory(error):
                s = self.settings
                raise MemoryError(
                    f"out of memory at step {self.step} with {s.batch} patches of {s.patch} "
                    f"pixels; try --batch {max(1, s.batch // 2)}, and start again to go on"
                ) from error
            raise

    def train_step(self, patch: Patch) -> dict[str, Tensor]:
        """One batch, and a step of the optimiser after every ``accumulate`` of them.

        Returns the unweighted losses.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * self.schedule()
        patch = self.targets(patch)
        with self.accelerator.accumulate(*self.trained()):
            compared, terms = self.backward(patch)
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            self.optimiser.step()
            self.optimiser.zero_grad()
            if self.adversary and "adversarial" in terms:
                learned = self.adversary.learn(compared.judged, patch.clean, self.schedule())
                terms["discriminator"] = learned
        restored = compared.restored
        for book, quantised in zip(self.books, restored.quantised, strict=False):
            book.update(quantised)
        self.uses.add(restored.indices)
        if self.accelerator.sync_gradients:
            self.step += 1
            self.average.follow(self.step)
        return {k: v.detach() for k, v in terms.items()}

    def targets(self, patch: Patch) -> Patch:
        """The same patches with what is to be drawn of them: the photo, or a network's picture."""
        if self.lesson.distillation is None:
            return patch
        with self.accelerator.autocast():
            return self.lesson.distillation(patch)

    def backward(self, patch: Patch) -> tuple[losses.Compared, dict[str, Tensor]]:
        """Gradients of the weighted losses; returns what was compared and the losses."""
        weights = self.stage.weights(self.progress)
        with self.accelerator.autocast():
            restored = self.model(channels_last(patch.degraded))
            compared = self.compare(restored, patch)
            terms = losses.terms(weights, compared)
        total = torch.stack([weights[k] * v for k, v in terms.items()]).sum()
        self.check(total)
        self.accelerator.backward(total)
        return compared, terms

    def check(self, total: Tensor) -> None:
        """Raise ``FloatingPointError`` where a loss is no number.

        Not of a GPU, which would be waited for: there the means are looked at when they are told.
        """
        if not total.is_cuda and not torch.isfinite(total):
            raise self.lost(f"the loss is {total.item()}")

    def lost(self, what: str) -> FloatingPointError:
        """What to say when a run has left all numbers behind."""
        return FloatingPointError(
            f"{what} at step {self.step}; the last checkpoint is kept; "
            "try a lower --learning-rate or --precision fp32"
        )

    def trained(self) -> list[torch.nn.Module]:
        """Every network that takes steps."""
        others = (self.read, self.adversary and self.adversary.model)
        return [self.model, *(m for m in others if m is not None)]

    def compare(self, restored: Restoration, patch: Patch) -> losses.Compared:
        """Everything the losses look at."""
        network = self.lesson.network
        hole = patch.degraded[:, 3:] if patch.degraded.shape[1] == 4 else None
        meaning: Callable[[Tensor, Tensor], Tensor] | None = None
        if self.read is not None and network is not None:
            read = self.read
            meaning = lambda merged, clean: read(merged, network.meaning(clean))  # noqa: E731
        return losses.Compared(
            restored,
            patch.clean,
            guide=self.guide(patch.clean),
            perceptual=self.perceptual,
            judge=None if self.adversary is None else self.adversary.judge,
            meaning=meaning,
            hole=hole,
            flat=self.settings.flat,
        )

    @torch.no_grad()
    def guide(self, clean: Tensor) -> losses.Guide | None:
        """What the teacher makes of clean images."""
        if self.lesson.teacher is None:
            return None
        features, quantised, weight = self.lesson.teacher.encode(channels_last(clean))
        return losses.Guide(features.z, quantised, merge(quantised, weight))

    def schedule(self) -> float:
        """Share of the learning rate: a short warm-up, then down a cosine to 1 %."""
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        cosine = 0.5 + 0.5 * float(torch.cos(torch.tensor(self.progress * torch.pi)))
        return warm * max(0.01, cosine)

    def tell(self, means: dict[str, float], report: Report) -> None:
        """A line in the log, and the caller's report.

        Raises ``FloatingPointError`` where a mean is no number.
        """
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise self.lost(f"{name} is {mean}")
        images = self.step * self.settings.batch * self.settings.accumulate
        figures = {
            **means,
            "images_per_second": images * self.accelerator.num_processes / max(self.seconds, 1e-9),
            "waiting": self.waited / max(self.seconds, 1e-9),
            **self.uses.report(),
        }
        self.log.write(self.step, self.seconds, figures)
        report(self.progress, {**figures, **self.scores})

    def save(self) -> None:
        """State, averaged weights, validation, sheet and curves; one process writes them."""
        if not self.average.is_finite():  # every process knows, and none waits for another
            raise self.lost("a weight is no number")
        random = torch.get_rng_state()
        if self.accelerator.is_main_process:
            try:
                self.write()
            except OSError as error:
                raise OSError(
                    f"{self.folder}: the run can't be saved ({error}); the last checkpoint is kept"
                ) from error
        torch.set_rng_state(random)  # what is drawn next mustn't depend on when we look
        self.accelerator.wait_for_everyone()

    def write(self) -> None:
        """Weights before the state, so that where there is a state there are weights."""
        config, tensors, story = self.bare.config, self.average.tensors, self.story()
        checkpoint.save(self.weights_file, config, tensors, story, torch.float16)
        self.states.save(self.state(), self.step)
        self.validate()
        if self.log.file.exists():
            draw_curves(self.log.file, self.folder / "curves.png")

    def validate(self) -> None:
        """Score the averaged weights; keep them if they are the best so far; draw a sheet."""
        validation = self.lesson.validation
        if validation is None or not validation.samples:
            return
        scores = validation.score(self.average.restore, self.stage.losses)
        self.scores = scores
        self.log.write(self.step, self.seconds, scores)
        if scores["valid/loss"] < self.best:
            self.best = scores["valid/loss"]
            told = self.story(scores)
            tensors = self.average.tensors
            checkpoint.save(self.best_file, self.bare.config, tensors, told, torch.float16)
        sheet = self.folder / "sheets" / f"{self.stage.name}-{self.step:08}.png"
        validation.draw_sheet(self.average.restore, sheet)

    def state(self) -> dict[str, Any]:
        """Everything that is needed to go on as if nothing had happened."""
        return {
            "run": self.identity(),
            "aside": len(self.lesson.validation.photos) if self.lesson.validation else 0,
            "model": self.bare.state_dict(),
            "average": self.average.tensors,
            "optimiser": self.optimiser.state_dict(),
            "books": [book.state() for book in self.books],
            "head": self.head and self.head.state_dict(),
            "adversary": self.adversary and self.adversary.state(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "waited": self.waited,
            "best": self.best,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises ``UsageError`` for another run's."""
        if other := differences(as_now(state, self.identity()), self.identity()):
            raise UsageError(
                f"{self.folder} holds another run ({other}); give another folder with -o"
            )
        self.bare.load_state_dict(state["model"])
        self.average.resume(state["average"])
        for group in state["optimiser"]["param_groups"]:
            group["fused"] = True  # older states don't say so
        self.optimiser.load_state_dict(state["optimiser"])
        for book, saved in zip(self.books, state["books"], strict=True):
            book.resume(saved)
        if self.head is not None:
            self.head.load_state_dict(state["head"])
        if self.adversary is not None:
            self.adversary.resume(state["adversary"])
        torch.set_rng_state(state["random"])
        self.step, self.seconds, self.waited = state["step"], state["seconds"], state["waited"]
        self.best = state["best"]

    def story(self, scores: dict[str, float] | None = None) -> dict[str, str]:
        """How these weights came about, for the file's metadata."""
        told: dict[str, Any] = {
            "stage": self.stage.name,
            "step": self.step,
            "seconds": round(self.seconds),
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "settings": self.settings.told(),
            "losses": self.stage.losses,
            "photos": sum(len(photos) for photos in self.lesson.dataset.classes),
            **(scores or {}),
        }
        return {"training": json.dumps(told)}

    def identity(self) -> str:
        """What must be the same for a run to be the same run."""
        photos = [len(photos) for photos in self.lesson.dataset.classes]
        kinds = sorted(self.stage.losses)
        return json.dumps([self.bare.config.to_dict(), self.settings.seed, photos, kinds])


def accelerator_for(settings: Settings) -> Accelerator:
    """The device and the precision, and which of a launcher's processes this is."""
    if settings.device.startswith("cuda:"):  # Accelerate takes the one that is current
        torch.cuda.set_device(settings.device)
    return Accelerator(
        mixed_precision=mixed_precision(settings.precision, settings.device),
        gradient_accumulation_steps=settings.accumulate,
        # Unless it is told, each of several processes on the CPU would train for itself.
        cpu=resolve_device(settings.device).type == "cpu",
        step_scheduler_with_optimizer=False,
        # From pinned memory alone: elsewhere what is copied may be gone before it has been.
        dataloader_config=DataLoaderConfiguration(non_blocking=pins_memory(settings.device)),
    )


def pins_memory(device: str) -> bool:
    """Whether patches go to a GPU that copies them from pinned memory."""
    return device.startswith(("auto", "cuda")) and torch.cuda.is_available()


def mixed_precision(precision: str, device: str) -> str:
    """Accelerate's word for it; auto is bf16 where the hardware multiplies it natively."""
    if precision == "auto":
        return "bf16" if has_fast_bf16("cuda" if pins_memory(device) else "cpu") else "no"
    return "no" if precision == "fp32" else precision


def channels_last(image: Tensor) -> Tensor:
    """The memory order in which convolutions are fastest."""
    return image.contiguous(memory_format=torch.channels_last)
