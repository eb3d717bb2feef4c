"""adacode train: the paper's three stages, one by one or all in a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from adacode_cli.cli import known, options, problems
from adacode_cli.cli.grouped import grouped
from adacode_cli.cli.problems import explained
from adacode_cli.cli.progress import training_bar
from adacode_cli.cli.report import tell
from adacode_cli.counted import counted
from adacode_cli.errors import UsageError
from adacode_cli.launched import is_follower
from adacode_cli.model.config import Task, usual_scale
from adacode_cli.training.settings import SMALLEST, Settings, resolve

if TYPE_CHECKING:
    from adacode_cli.training.recipes import Run
    from adacode_cli.training.trainer import Trainer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Teach AdaCode your own classes, in three stages.",
)
HOUR = 3600.0


@dataclass(frozen=True)
class RunOptions:
    """What every stage takes; what isn't given comes from the TOML file or the defaults."""

    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for weights, states and log.")
    ] = None
    budget: Annotated[str | None, typer.Option("--for", help="Time budget: 45s, 90m or 2h.")] = None
    steps: Annotated[int | None, typer.Option(min=0, help="Budget in steps.")] = None
    preset: Annotated[
        str | None,
        typer.Option(help="The network: lite (default) or official.", autocompletion=known.presets),
    ] = None
    settings: Annotated[
        Path | None, typer.Option(help="TOML file of settings; a run writes one beside it.")
    ] = None
    batch: Annotated[
        int | None, typer.Option(min=1, help=f"Patches at once. [{Settings.batch}]")
    ] = None
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Batches whose gradients make a step. [1]")
    ] = None
    patch: Annotated[
        int | None,
        typer.Option(
            min=SMALLEST,
            help=f"Side of a patch, pixels; multiples of 32 fit all. [{Settings.patch}]",
        ),
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Peak rate. [{Settings.learning_rate}]")
    ] = None
    perceptual: Annotated[
        str | None,
        typer.Option(help="vgg19, lpips, or a safetensors file of SqueezeNet 1.1 or VGG19."),
    ] = None
    distill: Annotated[
        str | None,
        typer.Option(help="Draw as another network does: a weights file, or torch.export's .pt2."),
    ] = None
    loss: Annotated[
        list[str] | None,
        typer.Option(help="NAME=WEIGHT, or NAME=WEIGHT@SHARE to begin later; repeat."),
    ] = None
    valid: Annotated[
        Path | None, typer.Option(help="Photos to validate on; else some are kept aside.")
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare patches. [1]")
    ] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help=f"Of weights, patches and damage. [{Settings.seed}]")
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            help=f"auto, cpu, cuda, cuda:N or mps. [{Settings.device}]",
            autocompletion=known.devices,
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            help=f"auto, fp32, bf16, fp16. [{Settings.precision}]", autocompletion=known.precisions
        ),
    ] = None
    checkpoint_every: Annotated[str | None, typer.Option(help="Time between checkpoints. [3m]")] = (
        None
    )

    def describe(self, photos: Path, out: str, budget: float) -> Run:
        """The run they stand for; ``out`` and ``budget`` (seconds) where nothing was said."""
        from adacode_cli.training.recipes import Run

        settings = resolve(self.settings, self.chosen(), budget)
        run = Run(photos, self.out or Path(out), settings, self.valid)
        tell_left_out(photos)
        tell_closed(photos, self.valid)
        return run

    def refuse_distill(self, what: str) -> None:
        """Raise ``UsageError`` where --distill would do nothing."""
        if self.distill is not None:
            raise UsageError(f"--distill is for super-resolution; {what} learns from photos alone")

    def chosen(self) -> dict[str, Any]:
        """Settings named on the command line."""
        named = ("steps", "preset", "batch", "accumulate", "patch", "learning_rate", "perceptual")
        more = ("distill", "workers", "seed", "device", "precision")
        told = {name: getattr(self, name) for name in (*named, *more)}
        told["seconds"] = options.seconds(self.budget) if self.budget else None
        every = self.checkpoint_every
        told["checkpoint_every"] = options.seconds(every) if every else None
        weights = [weighed(text) for text in self.loss or []]
        told["losses"] = {name: weight for name, weight, _ in weights} or None
        told["begins"] = {n: begin for n, _, begin in weights if begin is not None} or None
        return {name: value for name, value in told.items() if value is not None}


Photos = Annotated[Path, typer.Argument(help="Folder of photos, one subfolder per class.")]
TaskName = Annotated[str, typer.Option(help="sr or inpaint.", autocompletion=known.degraded)]
Scale = Annotated[int | None, typer.Option(help="2 or 4; 4 for sr unless told. Inpainting: 1.")]
Codes = Annotated[int, typer.Option(min=2, help="Codes in a book.")]
Dim = Annotated[int | None, typer.Option(min=1, help="Length of a code. [16; official: 256]")]
StartFrom = Annotated[Path | None, typer.Option(help="Weights to start from.")]


@app.command("codebook")
@explained
@grouped
def codebook(
    photos: Annotated[Path, typer.Argument(help="Folder of photos of one class.")],
    name: Annotated[
        str | None, typer.Option(help="The class; by default the folder's name.")
    ] = None,
    codes: Codes = 512,
    dim: Dim = None,
    start_from: StartFrom = None,
    *,
    run: RunOptions,
) -> None:
    """Stage I: learn the codebook of one class of photos."""
    run.refuse_distill("a codebook")
    name = name or photos.resolve().name
    described = run.describe(photos, f"runs/codebooks/{name}", HOUR / 4)
    from adacode_cli.training import recipes

    length = dim or length_of_codes(described)
    with training_bar() as report:
        trainer = recipes.train_codebook(described, name, codes, length, start_from, report)
    finish(trainer)


@app.command("representation")
@explained
@grouped
def representation(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", help="Folder of photos, a subfolder a class.")
    ],
    codebooks: Annotated[
        list[Path], typer.Option(metavar="FILE...", help="The stage I files, one per class.")
    ],
    start_from: StartFrom = None,
    *,
    run: RunOptions,
) -> None:
    """Stage II: learn to mix the class codebooks, on clean photos of every class."""
    run.refuse_distill("a prior")
    photos, books = one_folder(paths, codebooks)
    described = run.describe(photos, "runs/prior", HOUR)
    from adacode_cli.training import recipes

    with training_bar() as report:
        trainer = recipes.train_representation(described, books, start_from, report)
    finish(trainer)


@app.command("restoration")
@explained
@grouped
def restoration(
    photos: Photos,
    prior: Annotated[Path, typer.Option(help="The stage II file.")],
    task: TaskName = "sr",
    scale: Scale = None,
    finetune: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the budget with the decoder trained too.")
    ] = 0.9,
    start_from: StartFrom = None,
    *,
    run: RunOptions,
) -> None:
    """Stage III: learn to restore degraded photos, or photos with holes, with the prior."""
    kind, factor = task_of(task, scale)
    if kind != "sr":
        run.refuse_distill("filling holes")
    described = run.describe(photos, f"runs/{kind}-x{factor}", 4 * HOUR)
    from adacode_cli.training import recipes

    with training_bar() as report:
        trainer = recipes.train_restoration(
            described, find_prior(prior), kind, factor, finetune, start_from, report
        )
    finish(trainer)


@app.command("all")
@explained
@grouped
def everything(
    photos: Photos,
    task: TaskName = "sr",
    scale: Scale = None,
    codes: Codes = 512,
    dim: Dim = None,
    *,
    run: RunOptions,
) -> None:
    """The three stages in order, with a share of the budget each."""
    kind, factor = task_of(task, scale)
    if kind != "sr":
        run.refuse_distill("filling holes")
    described = run.describe(photos, "runs", 6 * HOUR)
    from adacode_cli.training import recipes

    length = dim or length_of_codes(described)
    with training_bar() as report:
        trainer = recipes.train_all(described, kind, factor, codes, length, report)
    finish(trainer)


def tell_left_out(photos: Path) -> None:
    """A line about photos that lie beside the classes, and so in none of them."""
    from adacode_cli.training.dataset import left_out

    count = left_out(photos)
    if count and not is_follower():
        several = counted(count, "photo")
        problems.say(f"{photos}: {several} beside the classes left out; a class is a folder")


def tell_closed(*folders: Path | None) -> None:
    """A line about each folder of photos that can't be read."""
    from adacode_cli.training.dataset import closed_in

    for folder in folders:
        if folder is not None and folder.is_dir() and not is_follower():
            for line in closed_in(folder):
                problems.say(f"{line}; left out")


def length_of_codes(run: Run) -> int:
    """The preset's own."""
    return 256 if run.settings.preset == "official" else 16


def task_of(task: str, scale: int | None) -> tuple[Task, int]:
    """The task's name and its scale. Raises ``UsageError``."""
    tasks: dict[str, Task] = {name: name for name in get_args(Task) if name != "reconstruct"}
    if task not in tasks:
        raise UsageError(f"no task is called {task!r}; use {' or '.join(tasks)}")
    return tasks[task], usual_scale(task) if scale is None else scale


def one_folder(paths: list[Path], codebooks: list[Path]) -> tuple[Path, list[Path]]:
    """The photos' folder, and the codebooks: a shell's `--codebooks runs/*/x` names many at once.

    Raises ``UsageError`` when there isn't exactly one folder.
    """
    folders = [p for p in (*paths, *codebooks) if p.is_dir()]
    if len(folders) != 1:
        raise UsageError(f"one folder of photos is needed; there are {len(folders)}")
    return folders[0], [p for p in (*codebooks, *paths) if not p.is_dir()]


def find_prior(path: Path) -> Path:
    """The file, also where the folder of its run was given."""
    return path / "representation.safetensors" if path.is_dir() else path


def weighed(text: str) -> tuple[str, float, float | None]:
    """'adversarial=0.05@0.6': a loss, its weight, and the share of the budget before it.

    Raises ``UsageError``.
    """
    match = re.fullmatch(r"(\w+)=(\d*\.?\d+)(?:@(0?\.\d+|0|1))?", text)
    if not match:
        raise UsageError(f"--loss {text}: write NAME=WEIGHT or NAME=WEIGHT@SHARE")
    return match[1], float(match[2]), None if match[3] is None else float(match[3])


def finish(trainer: Trainer) -> None:
    """The weights' path on stdout; 128 + the signal's number if one ended the run."""
    if trainer.accelerator.is_main_process:
        tell(str(trainer.result))
    trainer.accelerator.end_training()  # or processes may abort when they end, one before the other
    if trainer.stopped_by:
        raise typer.Exit(128 + trainer.stopped_by)
