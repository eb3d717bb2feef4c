"""What each stage starts from: the right network, the right tensors, the right photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.model.config import CodebookConfig, Task, lite_config
from adacode_cli.training.dataset import PatchDataset, find_classes
from adacode_cli.training.losses import Perceptual
from adacode_cli.training.perceptual import SqueezeFeatures
from adacode_cli.training.settings import Settings
from adacode_cli.training.stages import CODEBOOK, FINETUNE, REPRESENTATION, RESTORATION, Stage
from adacode_cli.training.trainer import Report, Trainer

# More patches than any budget reaches: a run ends by its budget, not by its data.
ENDLESS = 10**9


@dataclass(frozen=True)
class Run:
    """Where photos come from and results go, and what every stage shares."""

    photos: Path
    out: Path
    settings: Settings
    perceptual: Path | None = None  # SqueezeNet's convolutions; without it no perceptual term

    def train(
        self, model: AdaCode, stage: Stage, report: Report, teacher: AdaCode | None = None
    ) -> Trainer:
        """Run one stage to the end of its budget, or until a signal."""
        settings = self.settings
        classes = find_classes(self.photos)
        dataset = PatchDataset(classes, settings.patch, model.config.scale, settings.seed, ENDLESS)
        loss = Perceptual(SqueezeFeatures(self.perceptual)) if self.perceptual else None
        guide = teacher if stage.teacher else None
        trainer = Trainer(model, stage, dataset, settings, self.out, loss, guide)
        trainer.run(report)
        return trainer


def train_codebook(
    run: Run, name: str, codes: int, dim: int, start_from: Path | None, report: Report
) -> Trainer:
    """Stage I: an ordinary VQ network on one class; its codebook is what is kept."""
    torch.manual_seed(run.settings.seed)
    model = AdaCode(lite_config("reconstruct", 1, (CodebookConfig(name, codes, dim),)))
    if start_from:
        take(model, AdaCode.from_file(start_from), "encoder.", "decoder.", "codebooks.0.before")
    return run.train(model, CODEBOOK, report)


def train_representation(run: Run, codebooks: Iterable[Path], report: Report) -> Trainer:
    """Stage II: frozen class codebooks; all else learns to reconstruct every class.

    Each codebook brings its projections, without which few of its codes would be found;
    encoder and decoder start as those of the first one's network.
    Raises ``CheckpointError`` when two codebooks have one name.
    """
    networks = [single_codebook(path) for path in codebooks]
    books = [network.config.codebooks[0] for network in networks]
    if len({book.name for book in books}) < len(books):
        raise CheckpointError(f"two codebooks of one name among {[book.name for book in books]}")
    torch.manual_seed(run.settings.seed)
    model = AdaCode(lite_config("reconstruct", 1, tuple(books)))
    take(model, networks[0], "encoder.", "decoder.")
    for book, network in zip(model.books, networks, strict=True):
        book.load_state_dict(network.books[0].state_dict())
    return run.train(model, REPRESENTATION, report)


def train_restoration(
    run: Run, prior: Path, task: Task, scale: int, finetune: float, report: Report
) -> Trainer:
    """Stage III, then fine-tuning of everything but the codes for a share of the budget.

    Raises ``CheckpointError`` when ``prior`` is not a stage II network.
    """
    teacher = AdaCode.from_file(prior)
    if teacher.config.task != "reconstruct" or len(teacher.codebooks) < 2:
        raise CheckpointError(f"{prior}: not a prior from `adacode train representation`")
    teacher.requires_grad_(False)
    torch.manual_seed(run.settings.seed)
    model = AdaCode(replace(teacher.config, task=task, scale=scale))
    fresh = ("encoder.first.", "encoder.skip4.")  # what reads the degraded image
    take(model, teacher, "encoder.", "codebooks.", "weight_map.", "decoder.", fresh=fresh)
    guided = replace(run, settings=run.settings.share(1 - finetune))
    trainer = guided.train(model, RESTORATION, report, teacher)
    if finetune == 0 or trainer.stopped_by:
        return trainer
    model = AdaCode.from_file(trainer.weights_file)
    freed = replace(run, settings=run.settings.share(finetune))
    return freed.train(model, FINETUNE, report, teacher)


def single_codebook(path: Path) -> AdaCode:
    """A stage I network. Raises ``CheckpointError`` for another one."""
    network = AdaCode.from_file(path)
    if len(network.books) != 1:
        raise CheckpointError(f"{path}: not a codebook from `adacode train codebook`")
    return network


def take(model: AdaCode, source: AdaCode, *prefixes: str, fresh: tuple[str, ...] = ()) -> None:
    """Copy the tensors whose names start so, but for the ``fresh`` ones.

    Raises ``CheckpointError`` naming the first that ``source`` lacks or has in another shape.
    """
    theirs: dict[str, Tensor] = source.state_dict()
    with torch.no_grad():
        for name, ours in model.state_dict().items():
            if not name.startswith(prefixes) or name.startswith(fresh):
                continue
            if name not in theirs or theirs[name].shape != ours.shape:
                raise CheckpointError(f"the network to start from has no {name!r} of this shape")
            ours.copy_(theirs[name])
