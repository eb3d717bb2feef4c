"""adacode train: the paper's three stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adacode_cli.cli import options
from adacode_cli.cli.problems import explained
from adacode_cli.cli.progress import training_bar
from adacode_cli.errors import UsageError
from adacode_cli.training.settings import Settings

if TYPE_CHECKING:
    from adacode_cli.training.recipes import Run
    from adacode_cli.training.trainer import Trainer

app = typer.Typer(no_args_is_help=True, help="Teach AdaCode your own classes, in three stages.")

Photos = Annotated[Path, typer.Argument(help="Folder of photos, one subfolder per class.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for weights, state and log.")]
Budget = Annotated[str | None, typer.Option("--for", help="Time budget: 45s, 90m or 2h.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Budget in steps.")]
Batch = Annotated[int, typer.Option(min=1, help="Patches a step.")]
Patch = Annotated[int, typer.Option(min=48, help="Side of a patch, pixels.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Peak learning rate.")]
Perceptual = Annotated[
    Path | None,
    typer.Option(help="SqueezeNet 1.1 (safetensors) for the perceptual loss; none without it."),
]
StartFrom = Annotated[
    Path | None, typer.Option(help="Weights whose encoder and decoder to start from.")
]
Seed = Annotated[int, typer.Option(help="Seed of weights, patches and degradations.")]


@app.command("codebook")
@explained
def codebook(
    photos: Annotated[Path, typer.Argument(help="Folder of photos of one class.")],
    out: Out,
    budget: Budget = None,
    steps: Steps = None,
    name: Annotated[
        str | None, typer.Option(help="The class; by default the folder's name.")
    ] = None,
    codes: Annotated[int, typer.Option(min=2, help="Codes in the book.")] = 512,
    dim: Annotated[int, typer.Option(min=1, help="Length of a code.")] = 16,
    start_from: StartFrom = None,
    batch: Batch = Settings.batch,
    patch: Patch = Settings.patch,
    learning_rate: Rate = Settings.learning_rate,
    perceptual: Perceptual = None,
    seed: Seed = Settings.seed,
) -> None:
    """Stage I: learn the codebook of one class of photos."""
    run = describe_run(photos, out, budget, steps, batch, patch, learning_rate, perceptual, seed)
    from adacode_cli.training import recipes

    with training_bar() as report:
        trainer = recipes.train_codebook(
            run, name or photos.resolve().name, codes, dim, start_from, report
        )
    finish(trainer)


@app.command("representation")
@explained
def representation(
    photos: Photos,
    out: Out,
    codebooks: Annotated[list[Path], typer.Option("--codebook", help="A stage I file; repeat.")],
    budget: Budget = None,
    steps: Steps = None,
    batch: Batch = Settings.batch,
    patch: Patch = Settings.patch,
    learning_rate: Rate = Settings.learning_rate,
    perceptual: Perceptual = None,
    seed: Seed = Settings.seed,
) -> None:
    """Stage II: learn to mix the class codebooks, on clean photos of every class."""
    run = describe_run(photos, out, budget, steps, batch, patch, learning_rate, perceptual, seed)
    from adacode_cli.training import recipes

    with training_bar() as report:
        trainer = recipes.train_representation(run, codebooks, report)
    finish(trainer)


@app.command("restoration")
@explained
def restoration(
    photos: Photos,
    out: Out,
    prior: Annotated[Path, typer.Option(help="The stage II file.")],
    budget: Budget = None,
    steps: Steps = None,
    scale: Annotated[int, typer.Option(help="2 or 4.")] = 4,
    finetune: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the budget with the decoder trained too.")
    ] = 0.8,
    batch: Batch = Settings.batch,
    patch: Patch = Settings.patch,
    learning_rate: Rate = Settings.learning_rate,
    perceptual: Perceptual = None,
    seed: Seed = Settings.seed,
) -> None:
    """Stage III: learn to restore degraded photos with the prior."""
    if scale not in (2, 4):
        raise UsageError(f"a restoration enlarges 2 or 4 times, not {scale}")
    run = describe_run(photos, out, budget, steps, batch, patch, learning_rate, perceptual, seed)
    from adacode_cli.training import recipes

    with training_bar() as report:
        trainer = recipes.train_restoration(run, prior, "sr", scale, finetune, report)
    finish(trainer)


def describe_run(
    photos: Path,
    out: Path,
    budget: str | None,
    steps: int | None,
    batch: int,
    patch: int,
    learning_rate: float,
    perceptual: Path | None,
    seed: int,
) -> Run:
    """The options that the stages share, as a ``Run``."""
    settings = Settings(
        steps=steps,
        seconds=options.seconds(budget) if budget else None,
        batch=batch,
        patch=patch,
        learning_rate=learning_rate,
        seed=seed,
    )
    from adacode_cli.training.recipes import Run

    return Run(photos, out, settings, perceptual)


def finish(trainer: Trainer) -> None:
    """The weights' path on stdout; 128 + the signal's number if one ended the run."""
    typer.echo(trainer.weights_file)
    if trainer.stopped_by:
        raise typer.Exit(128 + trainer.stopped_by)
