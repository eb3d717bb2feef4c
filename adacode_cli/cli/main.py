"""The program: `adacode COMMAND`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from adacode_cli.cli import config, problems, train, weights
from adacode_cli.cli.bench import bench
from adacode_cli.cli.degrade import degrade
from adacode_cli.cli.doctor import doctor
from adacode_cli.cli.eval import evaluate
from adacode_cli.cli.inpaint import inpaint
from adacode_cli.cli.inspect import inspect
from adacode_cli.cli.reconstruct import reconstruct
from adacode_cli.cli.sr import sr
from adacode_cli.heap import keep_freed_memory

# Large tensors on huge pages: 15 % faster on a CPU. PyTorch reads this when it is imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
keep_freed_memory()

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Restore photos with AdaCode: image-adaptive codebooks (ICCV 2023).",
)
app.command()(sr)
app.command()(inpaint)
app.command()(reconstruct)
app.command()(inspect)
app.command("eval")(evaluate)
app.command()(degrade)
app.command()(bench)
app.command("config")(config.config)
app.command()(doctor)
app.add_typer(train.app, name="train")
app.add_typer(weights.app, name="weights")


@app.callback()
@problems.explained
def program(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Restore photos with AdaCode: image-adaptive codebooks (ICCV 2023)."""
    problems.debug = debug
    context.call_on_close(problems.end_without_a_word)
    config.apply(context)
