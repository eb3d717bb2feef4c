"""adacode weights: which models there are, where they lie, and how they get there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adacode_cli.cli import known, options, problems, report
from adacode_cli.cli.problems import explained
from adacode_cli.errors import UsageError
from adacode_cli.visible import visible

if TYPE_CHECKING:
    from adacode_cli.weights.catalogue import Source

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Models: list, fetch, look at, check, convert and publish them.",
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A model's name, hf:owner/repo…, https://… or a file.",
        autocompletion=known.weights,
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="As for --weights.", autocompletion=known.weights),
]
Target = Annotated[Path, typer.Argument(help="The .safetensors to write.")]
Half = Annotated[bool, typer.Option("--half", help="Store float16: half the size.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
@explained
def list_weights(as_json: AsJson = False) -> None:
    """The models with a name, and whatever else of AdaCode's is in the Hub's cache."""
    from adacode_cli.weights.shelf import Item, everything

    items = everything()
    if as_json:
        show_json([item.to_dict() for item in items])
        return
    show_table(list(Item.HEADINGS), [item.row() for item in items])


@app.command()
@explained
def pull(names: Names, offline: options.Offline = False) -> None:
    """Fetch weights, or newer ones, into the cache; their paths go to stdout."""
    for _, source in sources(names):
        report.tell(str(source.fetch(fresh=True)))


@app.command()
@explained
def info(name: Name, as_json: AsJson = False, offline: options.Offline = False) -> None:
    """What a model is: its task, codebooks, size and training."""
    tell(name, as_json=as_json)


def tell(name: str, *, as_json: bool) -> Path:
    """What weights are, on stdout; returns their file."""
    [(_, source)] = sources([name])
    from adacode_cli.weights.describe import describe

    file = source.fetch()
    told = {"name": name, "from": source.origin, **describe(file).to_dict()}
    if as_json:
        show_json(told)
    else:
        for key, value in told.items():
            report.tell(f"{key:<11}{printable(value)}".rstrip())
    return file


@app.command()
@explained
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="As for --weights; by default all that is here.",
            autocompletion=known.weights,
        ),
    ] = None,
) -> None:
    """Hash files and compare with the catalogue or a record; 1 if one differs, or is missing.

    Of files of your own, and of what --fidelity makes here, nothing is recorded.
    """
    from adacode_cli.weights.shelf import Verdict, everything, judge

    problems.show_logs()
    wanted = names or [item.name for item in everything() if item.cached]
    failed = False
    for name, source in sources(wanted):
        verdict = judge(source)
        failed |= verdict in {Verdict.DAMAGED, Verdict.MISSING}
        report.tell(f"{name}: {verdict.value}")
    if failed:
        raise typer.Exit(1)


@app.command("rm")
@explained
def remove(names: Names) -> None:
    """Take weights out of the cache; what was removed goes to stdout."""
    for name, source in sources(names):
        removed = source.remove()
        if not removed:
            problems.say(f"{name}: isn't in the cache")
        for path in removed:
            report.tell(str(path))


@app.command()
@explained
def path(name: Name) -> None:
    """Where a model's file lies. Never uses the network; 1 if it isn't here."""
    [(_, source)] = sources([name])
    found = source.cached()
    if found is None:
        raise FileNotFoundError(f"{name}: isn't here; 'adacode weights pull {name}' fetches it")
    report.tell(str(found))


@app.command()
@explained
def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="As for --weights, say a published .pth.", autocompletion=known.weights
        ),
    ],
    target: Target,
    half: Half = False,
    force: options.Force = False,
    offline: options.Offline = False,
) -> None:
    """Turn a published checkpoint into safetensors; its path goes to stdout."""
    [file] = files_for(target, [source], force=force)
    import torch

    from adacode_cli.weights.convert import convert as write

    write(file, target, torch.float16 if half else None)
    report.tell(str(target))


@app.command()
@explained
def mix(
    first: Annotated[
        str,
        typer.Argument(
            help="As for --weights, say the faithful ones.", autocompletion=known.weights
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            help="Weights fine-tuned from them, sharper ones.", autocompletion=known.weights
        ),
    ],
    target: Target,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the second.")] = 0.5,
    half: Half = False,
    force: options.Force = False,
    offline: options.Offline = False,
) -> None:
    """Write weights between two trainings of one network; their path goes to stdout."""
    one, other = files_for(target, [first, second], force=force)
    import torch

    from adacode_cli.weights.mix import mix as write

    write(one, other, share, target, torch.float16 if half else None)
    report.tell(str(target))


def files_for(target: Path, names: list[str], *, force: bool) -> list[Path]:
    """The file behind each name, fetched where needed, once ``target`` may be written.

    Raises ``UsageError`` or ``OSError`` where it mustn't, or a name means nothing.
    """
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: the result is a .safetensors file; name it so")
    meant = [source for _, source in sources(names)]
    if target.is_dir():
        raise UsageError(f"{target}: is a folder; name a file")
    if target.exists() or target.is_symlink():
        here = [file for source in meant if (file := source.cached())]
        if target.exists() and any(map(target.samefile, here)):
            raise FileExistsError(f"{target}: is read from; give another name to write to")
        if not force:
            raise FileExistsError(f"{target}: exists already; give another name, or --force")
    return [source.fetch() for source in meant]


@app.command()
@explained
def push(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Weights to publish.")],
    repo: Annotated[str, typer.Option(help="The Hub's repository: owner/name.")],
    scores: Annotated[
        Path | None, typer.Option(help="What 'adacode eval --json' printed, for the card.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="The picture of 'adacode eval --sheet', for the card.")
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", help="The Hub's word for your weights' license.")
    ] = "mit",
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = (
        False
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the card.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that the repository has, and its card.")
    ] = False,
    offline: options.Offline = False,
) -> None:
    """Publish weights with a model card on the Hub; the name to load each by goes to stdout."""
    problems.show_logs()
    from adacode_cli.weights import publish

    parcel = publish.pack(files, repo, scores, sheet, license_name)
    if dry_run:
        with problems.answering():
            typer.echo(parcel.card)
        return
    for name in publish.send(parcel, private=private, force=force):
        report.tell(name)


def sources(names: list[str]) -> list[tuple[str, Source]]:
    """What each name means; all are understood before anything is done."""
    from adacode_cli.weights import catalogue

    problems.show_logs()
    return [(name, catalogue.source(name)) for name in names]


def printable(value: Any) -> str:
    """A value on one line, with nothing in it that a terminal would obey."""
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@problems.answering()
def show_json(told: Any) -> None:
    """A list or an object on stdout."""
    typer.echo(json.dumps(told, indent=1))


@problems.answering()
def show_table(headings: list[str], rows: list[list[str]]) -> None:
    """Columns on stdout; cut to the terminal only where there is one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    (console if sys.stdout.isatty() else Console(width=200)).print(table)
