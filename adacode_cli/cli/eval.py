"""adacode eval: how good is a model, in numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adacode_cli.cli import options, problems
from adacode_cli.cli.progress import new_progress
from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from adacode_cli.evaluation.score import Scores


@problems.explained
def evaluate(
    clean: Annotated[Path, typer.Argument(help="Folder of clean photos.")],
    weights: options.Weights = None,
    scale: Annotated[int | None, typer.Option(help="Magnification of the weights.")] = None,
    degradation: Annotated[
        str, typer.Option(help="blind (blur, noise, JPEG) or bicubic (reduction only).")
    ] = "blind",
    seed: Annotated[int, typer.Option(help="Seed of the degradation.")] = 0,
    perceptual: Annotated[
        Path | None, typer.Option(help="SqueezeNet 1.1 (safetensors) for the squeeze distance.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a PNG of details: bicubic, restored, original.")
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    force: options.Force = False,
    offline: options.Offline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every photo's scores, as JSON.")] = False,
) -> None:
    """Degrade clean photos by a seed, restore them, and compare; bicubic beside it."""
    if sheet and (not sheet.absolute().parent.is_dir() or (sheet.exists() and not force)):
        raise UsageError(f"{sheet}: its folder is missing, or it exists; --force overwrites it")
    name, magnification = options.choose_weights("sr", weights, scale)
    restorer = options.load_restorer(name, "sr", device, precision)
    from adacode_cli.evaluation.score import Protocol, mean_scores, score_folder
    from adacode_cli.evaluation.sheet import detail_row, save_sheet
    from adacode_cli.training.perceptual import SqueezeFeatures

    protocol = Protocol(magnification, degradation, seed)
    features = SqueezeFeatures(perceptual) if perceptual else None
    with new_progress("{task.completed} photos") as progress:
        task = progress.add_task("", total=None)
        scored, rows = [], []
        for result in score_folder(clean, restorer, protocol, features):
            if sheet:
                rows.append(detail_row(result.pictures))
            scored.append(replace(result, pictures={}))
            progress.advance(task)
    means = mean_scores(scored)
    if as_json:
        photos = {str(s.photo): s.methods for s in scored}
        typer.echo(json.dumps({"mean": means, "photos": photos}, indent=1))
    else:
        show_table(means, f"{len(scored)} photos, {degradation} ×{magnification}, seed {seed}")
    if sheet:
        save_sheet(rows, sheet)


def show_table(means: dict[str, Scores], title: str) -> None:
    """A row per method, the metrics as columns, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column("")
    metrics = next(iter(means.values()))
    for metric in metrics:
        table.add_column(metric, justify="right")
    for method, scores in means.items():
        table.add_row(method, *(f"{scores[metric]:.3f}" for metric in metrics))
    Console().print(table)
