"""adacode bench: how fast this machine restores, in how much memory, and how near its limit."""

from __future__ import annotations

import functools
import json
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adacode_cli.cli import known, options, problems
from adacode_cli.cli.progress import new_progress
from adacode_cli.cli.weights import printable
from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table as Columns

    from adacode_cli.benchmark.compare import Comparison
    from adacode_cli.benchmark.measure import Measurement
    from adacode_cli.benchmark.setting import Extent, Setting
    from adacode_cli.benchmark.table import Table

WIDE = 10_000  # characters: no figure is cut; rather than that, a terminal wraps the lines


@problems.explained
def bench(
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WEIGHTS",
            autocompletion=known.weights,
            help="As for 'adacode sr'; may be repeated. By default every bundled model.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRECISION",
            autocompletion=known.precisions,
            help="auto, fp32, bf16 or fp16; may be repeated. By default auto.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SETTING",
            help="Run another setting in turn with the one that is given, and tell the ratio:"
            " some of weights=NAME, precision=fp32, device=cpu and threads=1, commas between.",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Pixels of the picture that is restored.")
    ] = None,
    megapixels: Annotated[
        float | None, typer.Option(help="Millions of pixels of the result instead; else 1.")
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="How many runs count, after one that doesn't.")
    ] = 5,
    device: options.Device = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the CPU; else as many as PyTorch takes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    offline: options.Offline = False,
) -> None:
    """Measure seconds a megapixel, peak memory, and each stage against this machine's ceiling.

    The ceiling is the fastest of a few 3×3 convolutions in the same precision.
    Each setting is measured in a process of its own. The tables are Markdown.
    """
    extent = understand_extent(size, megapixels)
    problems.show_logs()
    settings = resolve_all(weights, precision or ["auto"], device, threads)
    if against is not None:
        settings.append(resolve_against(against, settings))
    outcome = Outcome(repeats)
    try:
        run_all(settings, extent, outcome, compared=against is not None)
    finally:  # Ctrl-C keeps what was finished
        if outcome.measured:
            report(outcome, as_json=as_json)
    if outcome.failed:
        raise typer.Exit(1)


class Outcome:
    """What was found so far."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.measured: list[Measurement] = []
        self.comparison: Comparison | None = None
        self.failed = False


def understand_extent(size: str | None, megapixels: float | None) -> Extent:
    """How large a picture is meant. Raises ``UsageError``."""
    from adacode_cli.benchmark.setting import Extent, parse_size

    if size is not None and megapixels is not None:
        raise UsageError("--size and --megapixels exclude each other")
    if size is not None:
        return Extent(parse_size(size))
    if megapixels is None:
        return Extent()
    if not 0 < megapixels < float("inf"):
        raise UsageError(f"--megapixels {megapixels:g} is no size")
    return Extent(megapixels=megapixels)


def resolve_all(
    weights: list[str] | None, precisions: list[str], device: str, threads: int | None
) -> list[Setting]:
    """Every combination, once. Raises as ``resolve`` does."""
    from adacode_cli.benchmark.setting import resolve
    from adacode_cli.weights.catalogue import BUNDLED

    words = product(weights or list(BUNDLED), precisions)
    found = [resolve(name, precision, device, threads) for name, precision in words]
    return list(dict.fromkeys(found))


def resolve_against(text: str, settings: list[Setting]) -> Setting:
    """The other setting. Raises ``UsageError`` unless there is one to hold it against."""
    from adacode_cli.benchmark.setting import resolve_other

    if len(settings) != 1:
        raise UsageError(
            "--against compares two settings: give one --weights and at most one --precision"
        )
    return resolve_other(text, settings[0])


def run_all(settings: list[Setting], extent: Extent, outcome: Outcome, *, compared: bool) -> None:
    """Measure each; then, if asked, two in turn. One that fails is said, and the others run."""
    from adacode_cli.benchmark.apart import apart
    from adacode_cli.benchmark.compare import compare, compare_steps
    from adacode_cli.benchmark.measure import measure, steps

    repeats = outcome.repeats
    total = len(settings) * steps(repeats) + compared * compare_steps(repeats)
    with new_progress("{task.description}") as progress:
        task = progress.add_task("", total=total)
        advance: Callable[[], None] = functools.partial(progress.advance, task)
        for setting in settings:
            progress.update(task, description=printable(str(setting)))
            problems.say(str(setting))
            alone = functools.partial(measure, setting, extent, repeats)
            try:
                outcome.measured.append(apart(alone, advance))
            except ValueError as error:
                problems.complain(f"{setting}: {error}", error)
                outcome.failed = True
        if compared and not outcome.failed:
            progress.update(task, description="both in turn")
            first, second = settings
            in_turn = functools.partial(compare, first, second, extent, repeats)
            outcome.comparison = apart(in_turn, advance)


@problems.answering()
def report(outcome: Outcome, *, as_json: bool) -> None:
    """All of it on stdout."""
    from adacode_cli import machine
    from adacode_cli.benchmark import table
    from adacode_cli.benchmark.measure import with_common_ceilings

    measured, comparison = with_common_ceilings(outcome.measured), outcome.comparison
    about = {"processor": machine.processor(measured[0].setting.device)}
    about |= {name: machine.versions()[name] for name in ("adacode", "torch", "python")}
    if as_json:
        told = {
            "machine": about,
            "repeats": outcome.repeats,
            "settings": [found.to_dict() for found in measured],
            "against": comparison and comparison.to_dict(),
        }
        typer.echo(json.dumps(told, indent=1))
        return
    typer.echo(f"{table.title(about, measured, outcome.repeats)}\n")
    show_table(table.settings_table(measured))
    for found in measured:
        typer.echo(f"\n{printable(str(found.setting))}\n")
        show_table(table.stages_table(found))
    for note in table.notes(measured):
        typer.echo(f"\n{note}")
    if comparison:
        typer.echo(f"\n{printable(str(comparison))}")


def show_table(table: Table) -> None:
    """Columns on stdout, as Markdown has them; a narrow terminal gets headings of several lines."""
    from rich.console import Console

    console, shown = Console(width=WIDE), columns(table)
    if console.is_terminal and console.measure(shown).maximum > Console().width:
        shown = columns(table, between_words="\n")
    with console.capture() as captured:
        console.print(shown)
    # The box' upper and lower edges are lines of blanks.
    typer.echo("\n".join(line for line in captured.get().splitlines() if line.strip()))


def columns(table: Table, between_words: str = " ") -> Columns:
    """For rich; figures to the right."""
    from rich import box
    from rich.table import Table as Columns
    from rich.text import Text

    shown = Columns(box=box.MARKDOWN)
    for heading, cell in zip(table.headings, table.rows[0], strict=True):
        side: Literal["left", "right"] = "right" if cell[:1].isdigit() else "left"
        shown.add_column(heading.replace(" ", between_words), no_wrap=True, justify=side)
    for row in table.rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    return shown
