"""The program: `adacode COMMAND`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from adacode_cli import __version__
from adacode_cli.cli import config, problems, streams
from adacode_cli.cli.commands import Program
from adacode_cli.cli.encoding import take_any_text
from adacode_cli.cli.report import tell
from adacode_cli.heap import keep_freed_memory

# Large tensors on huge pages: 15 % faster on a CPU. PyTorch reads this when it is imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
keep_freed_memory()
streams.open_closed()
take_any_text()

app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Restore photos with AdaCode: image-adaptive codebooks (ICCV 2023).",
)


def tell_version(context: typer.Context, wanted: bool) -> None:
    """What --version does, before anything else is looked at."""
    if wanted and not context.resilient_parsing:  # as when a shell completes
        tell(f"adacode {__version__}")
        raise typer.Exit


@app.callback()
@problems.explained
def program(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "-V", "--version", callback=tell_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Restore photos with AdaCode: image-adaptive codebooks (ICCV 2023)."""
    problems.debug = debug
    context.call_on_close(problems.end_without_a_word)
    config.apply(context)
