"""adacode eval: how good is a model, or a folder of results, in numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adacode_cli.cli import known, options, problems
from adacode_cli.cli.progress import new_progress
from adacode_cli.counted import counted
from adacode_cli.errors import UsageError
from adacode_cli.restore.inpainting.choice import DEFAULT, Texture
from adacode_cli.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adacode_cli.evaluation.score import Judges, Scored, Scores


# What goes only with --reference, without it, or with one task.
COMPARING = {"border"}
PROTOCOL = {"task", "scale", "damage", "seed", "every", "weight_bits", "texture"}
DAMAGING = PROTOCOL | {"weights", "sheet", "device", "precision"}
OF_TASK = {"texture": "inpaint", "weight_bits": "reconstruct"}


@problems.explained
def evaluate(
    context: typer.Context,
    photos: Annotated[
        Path, typer.Argument(help="Clean photos, or with --reference results to compare.")
    ],
    reference: Annotated[
        Path | None, typer.Option(help="The clean photos that PHOTOS should look like.")
    ] = None,
    weights: options.Weights = None,
    task: Annotated[
        str, typer.Option(help="sr, inpaint or reconstruct.", autocompletion=known.tasks)
    ] = "sr",
    scale: Annotated[int | None, typer.Option(help="Magnification of the weights.")] = None,
    damage: Annotated[
        str,
        typer.Option(
            help="sr: blind (blur, noise, JPEG) or bicubic; inpaint: strokes, boxes, outlines."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the damage.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Only every N-th photo.")] = 1,
    weight_bits: Annotated[
        list[int] | None,
        typer.Option(min=1, max=16, help="reconstruct: weights of so many bits, too; repeat."),
    ] = None,
    texture: Annotated[Texture, typer.Option(help="inpaint: as that command's.")] = DEFAULT,
    border: Annotated[
        int, typer.Option(min=0, help="Pixels left out at the border, with --reference.")
    ] = 0,
    perceptual: Annotated[
        Path | None, typer.Option(help="SqueezeNet 1.1 (safetensors) for the squeeze distance.")
    ] = None,
    lpips: Annotated[
        bool, typer.Option("--lpips", help="LPIPS too, from the package of that name.")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a PNG of details: others, restored, original.")
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    force: options.Force = False,
    offline: options.Offline = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Every photo's scores, as JSON; an infinite PSNR is null."),
    ] = False,
) -> None:
    """Damage clean photos by a seed, restore and compare them, with a baseline beside.

    With --reference, compare pictures that are there already.
    """
    if sheet and (not sheet.absolute().parent.is_dir() or (sheet.exists() and not force)):
        raise UsageError(f"{sheet}: its folder is missing, or it exists; --force overwrites it")
    if sheet and sheet.suffix.lower() != ".png":
        raise UsageError(f"{sheet}: the sheet is a PNG; name it so")
    check_use(context, task, reference)
    if reference is None:
        name, magnification = options.choose_weights(task, weights, scale)
        restorer = options.load_restorer(name, task, device, precision)
    from adacode_cli.evaluation.protocol import Protocol
    from adacode_cli.evaluation.score import score_folder, score_pairs

    judges = load_judges(perceptual, lpips=lpips)
    if reference is not None:
        title, results = str(photos), score_pairs(photos, reference, border, judges)
    else:
        protocol = Protocol(task, magnification, damage, seed)
        title = f"{task} ×{magnification}, {protocol.kind}, seed {seed}"
        results = score_folder(
            photos, restorer, protocol, judges, every, weight_bits or (), texture=texture
        )
    scored, failed = collect(results, sheet)
    report(scored, title, as_json=as_json)
    if failed:
        raise typer.Exit(1)


def check_use(context: typer.Context, task: str, reference: Path | None) -> None:
    """Raise ``UsageError`` for an option on the command line that would do nothing.

    Settings of a file, or of the environment, are for whatever command has a use for them.
    """
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        option = "--" + name.replace("_", "-")
        if reference is None and name in COMPARING:
            raise UsageError(f"{option} goes with --reference alone")
        if reference is not None and name in DAMAGING:
            raise UsageError(f"{option} does nothing with --reference; leave it out")
        if (wanted := OF_TASK.get(name, task)) != task:
            raise UsageError(f"{option} goes with --task {wanted}, not {task}")


def load_judges(perceptual: Path | None, *, lpips: bool) -> Judges:
    """The networks that were asked for. Raises ``ValueError`` or ``OSError``."""
    from adacode_cli.evaluation.score import Judges
    from adacode_cli.training.lpips import Lpips
    from adacode_cli.training.squeezenet import SqueezeFeatures

    squeeze = SqueezeFeatures(perceptual) if perceptual else None
    return Judges(squeeze, Lpips().loss if lpips else None)


def collect(
    results: Iterable[Scored | OSError | ValueError], sheet: Path | None
) -> tuple[list[Scored], int]:
    """Every photo's scores, and how many had none; a row of ``sheet`` for each.

    Raises ``ValueError`` when there is no score at all; ``UsageError`` if an option was why.
    """
    from adacode_cli.evaluation.sheet import detail_row, save_sheet

    scored, rows, failed, misused = [], [], 0, False
    with new_progress("photos: {task.completed}") as progress:
        task = progress.add_task("", total=None)
        for result in results:
            progress.advance(task)
            if isinstance(result, Exception):
                problems.complain(str(result))
                failed += 1
                misused |= isinstance(result, UsageError)
                continue
            if sheet and result.pictures:
                rows.append(detail_row(result.pictures))
            scored.append(replace(result, pictures={}))
    if not scored:
        raise (UsageError if misused else ValueError)("nothing could be compared")
    if sheet and rows:
        save_sheet(rows, sheet)
    return scored, failed


@problems.answering()
def report(scored: list[Scored], title: str, *, as_json: bool) -> None:
    """The means as a table, or everything as JSON."""
    from adacode_cli.evaluation.score import mean_scores

    means = mean_scores(scored)
    if as_json:
        photos = {str(s.photo): in_json(s.methods) for s in scored}
        typer.echo(json.dumps({"mean": in_json(means), "photos": photos}, indent=1))
    else:
        show_table(means, f"{counted(len(scored), 'photo')}, {title}")


def in_json(methods: dict[str, Scores]) -> dict[str, dict[str, float | None]]:
    """The same; JSON knows no infinity, such as the PSNR of identical pictures: that is null."""
    return {
        method: {name: score if math.isfinite(score) else None for name, score in scores.items()}
        for method, scores in methods.items()
    }


def show_table(means: dict[str, Scores], title: str) -> None:
    """A row per method, the metrics as columns, on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(visible(title), style="table.title"))
    table.add_column("")
    metrics = next(iter(means.values()))
    for metric in metrics:
        table.add_column(metric, justify="right")
    for method, scores in means.items():
        table.add_row(method, *(f"{scores[metric]:.3f}" for metric in metrics))
    Console().print(table)
