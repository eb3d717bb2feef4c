"""adacode degrade: test sets, the same for everyone who has the photos and the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adacode_cli.cli import known, options, problems
from adacode_cli.cli.progress import new_progress
from adacode_cli.cli.report import tell
from adacode_cli.errors import UsageError
from adacode_cli.model.config import usual_scale


@problems.explained
def degrade(
    photos: Annotated[Path, typer.Argument(help="Folder of clean photos, with its subfolders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the test set.")],
    task: Annotated[str, typer.Option(help="sr or inpaint.", autocompletion=known.degraded)] = "sr",
    scale: Annotated[int | None, typer.Option(help="sr: how many times smaller, 1 to 8.")] = None,
    damage: Annotated[
        str, typer.Option(help="sr: blind or bicubic; inpaint: strokes, boxes or outlines.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the damage.")] = 0,
    force: options.Force = False,
) -> None:
    """Write degraded photos, or photos with holes and their masks, and what was done to each.

    OUT gets clean/, degraded/, for holes masks/, and degradations.json.
    """
    if task not in ("sr", "inpaint"):
        raise UsageError(f"no task is called {task!r}; use sr or inpaint")
    factor = usual_scale(task) if scale is None else scale
    if factor not in ((1, 2, 4, 8) if task == "sr" else (1,)):
        raise UsageError(f"{task} knows no scale {factor}")
    from adacode_cli.evaluation.protocol import Protocol
    from adacode_cli.evaluation.test_set import write_test_set

    protocol = Protocol(task, factor, damage, seed)
    failed = 0
    with new_progress("photos: {task.completed}") as progress:
        bar = progress.add_task("", total=None)
        for result in write_test_set(photos, out, protocol, force=force):
            progress.advance(bar)
            if isinstance(result, Exception):
                problems.complain(str(result))
                failed += 1
            else:
                tell(str(result))
    if failed:
        raise typer.Exit(1)
