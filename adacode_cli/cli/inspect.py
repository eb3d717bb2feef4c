"""adacode inspect: what a file of weights is, and what its codes look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adacode_cli.cli import known, options, problems, weights
from adacode_cli.errors import UsageError


@problems.explained
def inspect(
    name: Annotated[
        str,
        typer.Argument(metavar="WEIGHTS", help="As for --weights.", autocompletion=known.weights),
    ],
    as_json: weights.AsJson = False,
    atlas: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Every code of every codebook as a tile, likes together."),
    ] = None,
    force: options.Force = False,
    offline: options.Offline = False,
) -> None:
    """What weights are: task, size, codebooks, training, hash; with --atlas, their codes."""
    if atlas is not None:
        check_sheet(atlas, force=force)
    problems.show_logs()
    file = weights.tell(name, as_json=as_json)
    if atlas is None:
        return
    from adacode_cli.evaluation.atlas import atlas as draw
    from adacode_cli.evaluation.sheet import save_sheet
    from adacode_cli.weights.catalogue import load_model

    save_sheet([draw(load_model(file))], atlas)
    problems.say(f"{atlas}: every code of {name}")


def check_sheet(path: Path, *, force: bool) -> None:
    """Raise ``UsageError`` unless a PNG can be written there."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--atlas {path}: its name must end in .png")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--atlas {path}: its folder is missing")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; use --force to overwrite it")
