"""What each stage starts from: the right network, the right tensors, the right photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from adacode_cli.device import resolve_device, resolve_precision
from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.checkpoint import Checkpoint, CheckpointError
from adacode_cli.model.config import (
    AdaCodeConfig,
    CodebookConfig,
    Task,
    lite_config,
    official_config,
)
from adacode_cli.training.alone import alone_in
from adacode_cli.training.damage import Damage, Degraded, Holed, Nothing
from adacode_cli.training.dataset import (
    PatchDataset,
    classes_in,
    find_classes,
    find_photos,
    left_out,
)
from adacode_cli.training.degradations import CLEAN_REDUCTIONS, Strengths
from adacode_cli.training.distillation import Distillation, load_example
from adacode_cli.training.notes import note
from adacode_cli.training.perceptual import load_network
from adacode_cli.training.photos import NONE_ASIDE, keep_aside, list_skipped, usable_classes
from adacode_cli.training.settings import Settings, write_toml
from adacode_cli.training.stages import PRESETS, Stage
from adacode_cli.training.target import Target
from adacode_cli.training.trainer import Lesson, Report, Trainer, accelerator_for
from adacode_cli.training.validation import Validation
from adacode_cli.weights.describe import as_object

# More patches than any budget reaches: a run ends by its budget, not by its data.
ENDLESS = 10**9
FLOAT16 = 1e-3  # what storing may change in a code
START = "weights of an earlier run to start from"
SCALES: dict[str, tuple[int, ...]] = {"sr": (2, 4), "inpaint": (1,)}
# What networks lack that were made before there was such: it begins as it was made, at 0.
NEW = ("decoder.subpixel.", "decoder.detail.6.free")
PARTS = ("encoder.", "codebooks.", "weight_map.", "decoder.")  # of a network
# Shares of the budget of `train all`: all codebooks, the representation, the restoration.
SHARES = (0.15, 0.2, 0.65)


@dataclass(frozen=True)
class Run:
    """Where photos come from and results go, and what every stage shares.

    Raises ``DeviceError`` for a device that isn't there, or lacks the precision, ``UsageError``
    for a word that names no precision, or a file where results are to go.
    """

    photos: Path
    out: Path
    settings: Settings
    valid: Path | None = None  # photos to validate on, instead of some kept aside
    one_class: bool = False  # whatever folders its photos lie in

    def __post_init__(self) -> None:
        resolve_precision(self.settings.precision, resolve_device(self.settings.device))
        place = next((p for p in (self.out, *self.out.parents) if p.exists()), None)
        if place is not None and not place.is_dir():
            raise UsageError(f"-o {self.out}: {place} is a file; a run needs a folder")

    def train(
        self, model: AdaCode, stage: str, report: Report, teacher: AdaCode | None = None
    ) -> Trainer:
        """Run one stage to the end of its budget, or until a signal."""
        settings = self.settings.for_task(model.config.task)
        rules = PRESETS[settings.preset][stage]
        lesson = self.prepare(model.config, rules, teacher)
        first = accelerator_for(settings).is_main_process
        with alone_in(self.out, follows=not first):
            trainer = Trainer(model, rules, lesson, settings, self.out)
            if first:
                # Only now: a folder that holds another run, which it refuses, stays as it is.
                write_toml(settings, self.out / "settings.toml")
                list_skipped(lesson.skipped, self.out)
            if trainer.step and trainer.progress >= 1:
                note(f"{self.out}: {rules.name} is done already; a larger budget would go on")
            trainer.run(report)
        return trainer

    def classes(self) -> dict[str, list[Path]]:
        """Class name → its photos, sorted.

        Folders within ``one_class`` count as classes, each as often as every other, unless photos
        lie beside them: then it is a single one, and none is left out.
        """
        if self.one_class and left_out(self.photos):
            return {self.photos.name: find_photos(self.photos)}
        return find_classes(self.photos)

    def prepare(self, config: AdaCodeConfig, stage: Stage, teacher: AdaCode | None) -> Lesson:
        """Photos that can be used, some of them kept aside, and the networks that watch."""
        settings = self.settings.for_task(config.task)
        damage = damage_for(config, settings.plain)
        check_patch(settings.patch, config)
        classes, skipped = usable_classes(self.classes(), settings.patch)
        if self.valid is not None:
            found = find_classes(self.valid, "validate on")
            aside = [p for photos in found.values() for p in photos]
        else:
            classes, aside = keep_aside(classes, settings.validation, settings.seed)
            if settings.validation and not aside:
                note(f"{stage.name}: {NONE_ASIDE}")
        losses = stage.weighing(settings.losses, settings.begins).losses
        network = load_network(settings.perceptual) if settings.perceptual else None
        if network is None and {"perceptual", "content", "semantic"} & set(losses):
            note(f"{stage.name}: no --perceptual network, so results will be softer")
        target = Target(settings.calm, settings.sharpen)
        dataset = PatchDataset(classes, settings.patch, damage, settings.seed, ENDLESS, target)
        drawn = distillation_for(settings, config.scale)
        validation = Validation(aside[: settings.validation], damage, network, drawn)
        watching = teacher if stage.teacher else None
        return Lesson(dataset, validation, network, watching, drawn, skipped)


def train_codebook(
    run: Run, name: str, codes: int, dim: int, start_from: Path | None, report: Report
) -> Trainer:
    """Stage I: an ordinary VQ network on one class; its codebook is what is kept."""
    torch.manual_seed(run.settings.seed)
    model = AdaCode(clean_config(run.settings.preset, (CodebookConfig(name, codes, dim),)))
    if start_from:
        begun = AdaCode.from_file(present(start_from, START))
        take(model, begun, "encoder.", "decoder.", "codebooks.0.before")
    return run.train(model, "codebook", report)


def train_representation(
    run: Run, codebooks: Iterable[Path], start_from: Path | None, report: Report
) -> Trainer:
    """Stage II: frozen class codebooks; all else learns to reconstruct every class.

    Each codebook brings its projections, without which few of its codes would be found;
    encoder and decoder start as those of the first one's network, or all of it as it is in
    ``start_from``, an earlier result of this stage with the same codebooks.
    Raises ``CheckpointError`` when two codebooks have one name, or don't fit together.
    """
    networks = [single_codebook(path) for path in codebooks]
    books = [network.config.codebooks[0] for network in networks]
    if len({book.name for book in books}) < len(books):
        raise CheckpointError(f"two codebooks of one name among {[book.name for book in books]}")
    torch.manual_seed(run.settings.seed)
    model = AdaCode(clean_config(run.settings.preset, tuple(books)))
    for path, network in zip(codebooks, networks, strict=True):
        found, wanted = (shape_of(c) for c in (network.config, model.config))
        if found != wanted:
            raise CheckpointError(f"{path}: a codebook for {found}, where {wanted} is trained")
    take(model, networks[0], "encoder.", "decoder.")
    for book, network in zip(model.books, networks, strict=True):
        book.load_state_dict(network.books[0].state_dict())
    if start_from:
        take_all(model, start_from)
    return run.train(model, "representation", report)


def train_restoration(
    run: Run,
    prior: Path,
    task: Task,
    scale: int,
    finetune: float,
    start_from: Path | None,
    report: Report,
) -> Trainer:
    """Stage III, then fine-tuning of everything but the codes for a share of the budget.

    Raises ``CheckpointError`` when ``prior`` is not a stage II network, ``UsageError`` for a
    task that knows no such scale.
    """
    check_task(task, scale)
    teacher = read_prior(prior, run.settings.preset)
    torch.manual_seed(run.settings.seed)
    model = AdaCode(teacher.config.restoring(task, scale))
    begin(model, AdaCode.from_file(present(start_from, START)) if start_from else teacher)
    if finetune < 1:
        guided = replace(run, settings=run.settings.share(1 - finetune))
        trainer = guided.train(model, "restoration", report, teacher)
        if finetune == 0 or trainer.stopped_by:
            return trainer
        model = AdaCode.from_file(trainer.weights_file)
    freed = replace(run, settings=run.settings.share(finetune))
    return freed.train(model, "finetune", report, teacher)


def train_all(run: Run, task: Task, scale: int, codes: int, dim: int, report: Report) -> Trainer:
    """The three stages in order, each class of the folder with a codebook of its own.

    Each stage has its share of the budget. Started again, it goes on where it stopped.
    Raises ``UsageError`` when the folder has no classes, for a task that knows no such scale,
    and for patches that can't be halved so often.
    """
    find_classes(run.photos)  # or it says what is wrong with the folder
    classes = list(classes_in(run.photos))
    if not classes:
        raise UsageError(f"{run.photos}: no subfolders; give each class a folder of its own")
    # What the last stage would refuse is refused before the first: files in its place, too.
    check_task(task, scale)
    clean = clean_config(run.settings.preset, (CodebookConfig(classes[0], codes, dim),))
    check_patch(run.settings.patch, clean.restoring(task, scale))
    distillation_for(run.settings.for_task(task), scale)
    single = replace(run, settings=run.settings.share(SHARES[0] / len(classes)), one_class=True)
    each = {
        name: replace(single, photos=run.photos / name, out=run.out / "codebooks" / name)
        for name in classes
    }
    prior = replace(run, out=run.out / "prior", settings=run.settings.share(SHARES[1]))
    restoring = replace(
        run, out=run.out / f"{task}-x{scale}", settings=run.settings.share(SHARES[2])
    )
    books, first = [], None
    for name, only in each.items():
        trainer = train_codebook(only, name, codes, dim, first, report)
        if trainer.stopped_by:
            return trainer
        books.append(trainer.weights_file)
        first = first or trainer.weights_file
    trainer = train_representation(prior, books, None, report)
    if trainer.stopped_by:
        return trainer
    return train_restoration(restoring, trainer.weights_file, task, scale, 0.9, None, report)


def clean_config(preset: str, books: tuple[CodebookConfig, ...]) -> AdaCodeConfig:
    """The network of stages I and II."""
    if preset == "official":
        return replace(official_config("reconstruct", 1), codebooks=books)
    return lite_config("reconstruct", 1, books)


def damage_for(config: AdaCodeConfig, plain: float = Settings.plain) -> Damage:
    """What a network of this configuration learns to undo.

    plain: the share that is reduced and nothing else, as image programs do it.
    """
    if config.task == "reconstruct":
        return Nothing()
    if config.task == "inpaint":
        return Holed(mask_channel=config.in_channels == 4)
    strengths = Strengths(clean_chance=plain, clean_reductions=CLEAN_REDUCTIONS)
    return Degraded(config.scale, strengths)


def check_task(task: str, scale: int) -> None:
    """Raise ``UsageError`` for a task that knows no such scale."""
    if task not in SCALES or scale not in SCALES[task]:
        known = ", ".join(f"{t} ×{s}" for t, scales in SCALES.items() for s in scales)
        raise UsageError(f"no task is {task} ×{scale}; there are {known}")


def check_patch(patch: int, config: AdaCodeConfig) -> None:
    """Raise ``UsageError`` for a side that doesn't become whole features all the way down."""
    wanted = config.scale * config.multiple
    if patch % wanted:
        raise UsageError(
            f"patches of {patch} pixels: this network needs a multiple of {wanted}, such as "
            f"{-(-patch // wanted) * wanted}"
        )


def distillation_for(settings: Settings, scale: int) -> Distillation | None:
    """Whose pictures are drawn after, if anyone's. Raises as ``load_example``."""
    if settings.distill is None:
        return None
    network = load_example(Path(settings.distill), scale, settings.patch, settings.batch)
    return Distillation(network, settings.distill_clean, settings.distill_tones)


def present(path: Path, wanted: str) -> Path:
    """``path``. Raises ``FileNotFoundError`` where nothing is, saying what is ``wanted``."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; {wanted} is wanted there")
    return path


def single_codebook(path: Path) -> AdaCode:
    """A stage I network. Raises ``CheckpointError`` for another one."""
    network = AdaCode.from_file(present(path, "the result of `adacode train codebook`"))
    if len(network.books) != 1:
        raise CheckpointError(f"{path}: not a codebook from `adacode train codebook`")
    return network


def read_prior(path: Path, preset: str) -> AdaCode:
    """A frozen stage II network of the preset. Raises ``CheckpointError`` for another one."""
    stored = checkpoint.load(present(path, "the result of `adacode train representation`"))
    teacher = AdaCode.from_checkpoint(stored, path)
    # A single class makes a network of the same shape as stage I: only its story tells it apart.
    mixes = len(teacher.codebooks) > 1 or stage_of(stored) == "representation"
    if teacher.config.task != "reconstruct" or not mixes:
        raise CheckpointError(f"{path}: not a prior from `adacode train representation`")
    if teacher.config.family != preset:
        raise CheckpointError(
            f"{path}: a prior of the {teacher.config.family} preset; add --preset "
            f"{teacher.config.family}"
        )
    return teacher.requires_grad_(False)


def stage_of(stored: Checkpoint) -> str | None:
    """The stage that made a network, if its file tells."""
    stage = as_object(stored.metadata.get("training", "")).get("stage")
    return stage if isinstance(stage, str) else None


def shape_of(config: AdaCodeConfig) -> str:
    """What of a network must agree for a codebook to fit."""
    return f"{config.family} with {config.widths[3]} channels"


def begin(model: AdaCode, source: AdaCode) -> None:
    """Start a restoration from a prior or another restoration.

    What reads the input, and what goes around the codes, begins anew where it doesn't fit.
    """
    theirs = source.state_dict()
    fresh = tuple(
        name
        for name, tensor in model.state_dict().items()
        if name.startswith("encoder.")
        and (name not in theirs or theirs[name].shape != tensor.shape)
    )
    take(model, source, *PARTS, fresh=fresh)


def take_all(model: AdaCode, path: Path) -> None:
    """Every tensor of a network with the same codes. Raises ``CheckpointError`` for another."""
    source = AdaCode.from_file(present(path, START))
    pairs = zip(model.books, source.books, strict=False)
    if replace(source.config, subpixel=model.config.subpixel) != model.config or not all(
        torch.allclose(ours.codes, theirs.codes, rtol=FLOAT16, atol=FLOAT16)
        for ours, theirs in pairs
    ):
        raise CheckpointError(f"{path}: not a prior made of these codebooks")
    take(model, source, *PARTS)


def take(model: AdaCode, source: AdaCode, *prefixes: str, fresh: tuple[str, ...] = ()) -> None:
    """Copy the tensors whose names start so, but for the ``fresh`` ones and ``NEW`` ones it lacks.

    Raises ``CheckpointError`` naming the first that ``source`` lacks or has in another shape.
    """
    theirs: dict[str, Tensor] = source.state_dict()
    with torch.no_grad():
        for name, ours in model.state_dict().items():
            new = name.startswith(NEW) and name not in theirs
            if new or not name.startswith(prefixes) or name.startswith(fresh):
                continue
            if name not in theirs or theirs[name].shape != ours.shape:
                raise CheckpointError(f"the network to start from has no {name!r} of this shape")
            ours.copy_(theirs[name])
