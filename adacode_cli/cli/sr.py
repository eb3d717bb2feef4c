"""adacode sr: photos, larger and clean."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from adacode_cli.cli import options, problems
from adacode_cli.cli.progress import picture_bar


@problems.explained
def sr(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Photos, or folders of photos.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="File or folder; by default beside each input."),
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="How many times larger; 4 unless --weights say otherwise.")
    ] = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    force: options.Force = False,
    offline: options.Offline = False,
) -> None:
    """Restore photos and enlarge them; the results' paths go to stdout.

    Each result is a PNG named after its photo, NAME_x4.png. Of a folder, the pictures
    directly in it are restored, and those that have a result already are left alone.
    """
    from adacode_cli.restore.folder import Done, make_plan, run_plan

    name, magnification = options.choose_weights("sr", weights, scale)
    plan = make_plan(inputs, out, f"_x{magnification}", force=force)
    for job in plan.done_before:
        problems.say(f"{job.output}: done before; --force does it again")
    failed = 0
    with picture_bar(len(plan.jobs)) as bar:
        load = partial(options.load_restorer, name, "sr", device, precision)
        for result in run_plan(plan, load, bar.on_tile):
            if isinstance(result, Done):
                bar.finished(result)
            else:
                failed += 1
                problems.complain(result.reason, result.cause)
    if failed:
        raise typer.Exit(1)
