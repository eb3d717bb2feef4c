"""What every command that turns pictures into pictures shares: its options, plan, run, report."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Concatenate, ParamSpec

import typer

from adacode_cli.cli import known, options, problems
from adacode_cli.cli.grouped import parameters_of
from adacode_cli.cli.report import Output, Report
from adacode_cli.cli.report_file import check_report, refuse_inputs
from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from adacode_cli.images.formats import Format
    from adacode_cli.images.naming import Choice
    from adacode_cli.restore.folder import Decode, Handling, Worker
    from adacode_cli.restore.plan import Plan, Wishes
    from adacode_cli.restore.restorer import Restorer

P = ParamSpec("P")
Size = tuple[int, int]  # width and height
FILES, SCRIPTS, DEVICES = "Files and folders", "Scripts", "Devices"


def as_written(word: str) -> Path:
    """A path, which knows whether a slash at its end said that it is a folder."""
    from adacode_cli.images import naming

    return naming.as_written(word)


@dataclass(frozen=True)
class PictureOptions:
    """The shared options, as the user gave them."""

    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Photos, folders, patterns; - is standard input.",
            readable=False,  # one that isn't costs only itself
        ),
    ]
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="PATH",
            parser=as_written,
            help="File, folder or - (standard output); else beside each input.",
        ),
    ] = None
    recursive: Annotated[
        bool,
        typer.Option("-r", "--recursive", help="Folders in folders, too.", rich_help_panel=FILES),
    ] = False
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only such files of folders, in upper or lower case.",
            rich_help_panel=FILES,
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="No such files of folders, in upper or lower case.",
            rich_help_panel=FILES,
        ),
    ] = None
    skip_existing: Annotated[
        bool | None,
        typer.Option(
            help="Leave alone what was done before with the same settings; so in folders.",
            rich_help_panel=FILES,
            show_default=False,
        ),
    ] = None
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite results that are there.", rich_help_panel=FILES),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Tell what would be done, and how long.", rich_help_panel=FILES
        ),
    ] = False
    format: Annotated[
        str | None,
        typer.Option(
            help="same, png, jpg, webp, tif, bmp, gif, avif, heic or jxl; else png.",
            autocompletion=known.formats,
            rich_help_panel=FILES,
        ),
    ] = None
    quality: Annotated[
        int | None,
        typer.Option(
            help="1 to 100, where a format loses something; else visually lossless.",
            rich_help_panel=FILES,
        ),
    ] = None
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Lose nothing.", rich_help_panel=FILES)
    ] = False
    strip_metadata: Annotated[
        bool,
        typer.Option(
            "--strip-metadata",
            help="Nothing of the photo's EXIF, XMP, resolution.",
            rich_help_panel=FILES,
        ),
    ] = False
    color_lock: Annotated[
        bool,
        typer.Option("--color-lock", help="Hold the input's coarse colour.", rich_help_panel=FILES),
    ] = False
    max_pixels: Annotated[
        str,
        typer.Option(help="Refuse larger inputs; 500M is 500 megapixels.", rich_help_panel=FILES),
    ] = "250M"
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A JSON object for each picture on stdout, then a summary.",
            rich_help_panel=SCRIPTS,
        ),
    ] = False
    null: Annotated[
        bool,
        typer.Option("-0", "--null", help="NUL after each path.", rich_help_panel=SCRIPTS),
    ] = False
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Only errors.", rich_help_panel=SCRIPTS)
    ] = False
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="Stop at the first failure.", rich_help_panel=SCRIPTS),
    ] = False
    report: Annotated[
        Path | None,
        typer.Option(help="Write what became of each, as .json or .csv.", rich_help_panel=SCRIPTS),
    ] = None
    offline: options.Offline = False
    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu, cuda, cuda:N or mps.",
            autocompletion=known.devices,
            rich_help_panel=DEVICES,
        ),
    ] = "auto"
    devices: Annotated[
        str | None,
        typer.Option(help="Several at once: cuda:0,cuda:1.", rich_help_panel=DEVICES),
    ] = None
    precision: Annotated[
        str,
        typer.Option(
            help="auto, fp32, bf16 or fp16.",
            autocompletion=known.precisions,
            rich_help_panel=DEVICES,
        ),
    ] = "auto"
    tile: Annotated[
        str,
        typer.Option(
            metavar="auto|off|PX",
            help="Rows of the result that are computed at once.",
            rich_help_panel=DEVICES,
        ),
    ] = "auto"
    tile_stats: Annotated[
        str,
        typer.Option(
            help="exact, or sampled: quicker with published models, not the same picture.",
            autocompletion=known.statistics,
            rich_help_panel=DEVICES,
        ),
    ] = "exact"
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Published models: pad as their authors do, for the very same picture.",
            rich_help_panel=DEVICES,
        ),
    ] = False

    @property
    def choice(self) -> Choice:
        """Which files of folders are meant."""
        from adacode_cli.images.naming import Choice

        return Choice(self.recursive, tuple(self.include or ()), tuple(self.exclude or ()))

    def restorer(
        self, weights: str, task: str, device: str, precision: str | None = None
    ) -> Restorer:
        """The model for these options, on ``device``. Raises ``ValueError``.

        ``precision``: instead of the one among them.
        """
        from adacode_cli.restore.tiling import parse_tiling

        tiling = replace(parse_tiling(self.tile, self.tile_stats), as_published=self.as_published)
        fixed = self.device != "auto" or self.devices is not None
        return options.load_restorer(
            weights, task, device, precision or self.precision, tiling, fixed=fixed
        )


@dataclass(frozen=True)
class Operation:
    """What a command does to a picture: all that differs between these commands.

    load takes a device's name and returns what turns one picture into another there.
    settings are all that shapes a result besides the weights: they tell results apart.
    """

    name: str  # the command
    suffix: str  # between a result's name and its extension
    weights: str  # a name or a path
    load: Callable[[str], Worker]
    settings: Mapping[str, object] = field(default_factory=dict)
    beside: Callable[[Path], object] = lambda _: None  # the same, of what lies beside one picture
    resize: Callable[[Size], Size] = lambda size: size
    timed: bool = True  # whether a picture's size tells how long it takes
    decode: Decode | None = None  # what a file's bytes become, if they aren't a picture's


def takes_pictures(command: Callable[Concatenate[PictureOptions, P], None]) -> Callable[..., None]:
    """Give ``command`` the shared options in place of its first parameter."""
    first, *own = inspect.signature(command, eval_str=True).parameters.values()
    shared = parameters_of(PictureOptions)
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    @functools.wraps(command)
    def with_pictures(**words: object) -> None:
        given = {option.name: words.pop(option.name) for option in fields(PictureOptions)}
        command(PictureOptions(**given), **words)  # type: ignore[arg-type, call-arg]

    parameters = [*shared[:2], *own, *shared[2:]]
    with_pictures.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_pictures.__annotations__ = {p.name: p.annotation for p in parameters}
    assert first.name not in with_pictures.__annotations__
    return with_pictures


def restore_pictures(given: PictureOptions, operation: Operation) -> None:
    """Plan, run and report; ends with exit code 1 if a picture failed."""
    from adacode_cli.restore.result import Summary
    from adacode_cli.restore.team import Team

    problems.quiet = given.quiet
    check(given)
    team = Team(given.device)
    if given.devices and team.size > 1:
        raise UsageError("--devices is for one process; a launcher's processes have one each")
    plan, wishes, weights = team.agree(lambda: settle(given, operation))
    for note in plan.notes if team.leads else []:
        problems.say(note)
    if given.dry_run:
        team.part_ways()
        if team.leads:
            from adacode_cli.cli.dry_run import tell_plan

            tell_plan(given, operation, plan)
        return
    devices = given.devices.split(",") if given.devices else [team.device(given.device)]
    mine = replace(plan, jobs=team.part(plan.jobs), settled=plan.settled if team.leads else [])
    report = Report(output_of(given, plan), weights, len(mine.jobs) + len(mine.settled))
    try:
        run(mine, handling(given, operation, wishes), partial_load(operation, devices), report)
    except BaseException as error:  # a signal, a reader that went away, a model that can't load
        in_vain = isinstance(error, UsageError) and not report.results
        if team.leads and not in_vain:
            report.break_off(given.report)
        raise
    parts = team.gather((report.summary, report.results))
    team.part_ways()
    if team.leads:
        total = functools.reduce(Summary.plus, (summary for summary, _ in parts))
        report.results = [result for _, results in parts for result in results]
        report.close(total, given.report)
        if total.failed or total.not_started:
            raise typer.Exit(1)


def check(given: PictureOptions) -> None:
    """Raise ``UsageError`` for options that exclude each other, or say nothing.

    Raises ``OSError`` where a stream that is needed is closed.
    """
    from adacode_cli.restore.tiling import parse_tiling

    parse_tiling(given.tile, given.tile_stats)
    if given.devices and given.device != "auto":
        raise UsageError("--device and --devices exclude each other")
    if given.json and given.null:
        raise UsageError("--json and --null exclude each other")
    if given.report:
        check_report(given.report, given.out, force=given.force)
    if given.force and given.skip_existing:
        raise UsageError("--force and --skip-existing exclude each other")
    check_streams(given)


def check_streams(given: PictureOptions) -> None:
    """Raise ``UsageError`` where - can't be meant, ``OSError`` where its stream is closed."""
    stream = Path("-")
    if stream in given.inputs and len(given.inputs) > 1:
        raise UsageError("- stands for the only input")
    if stream in given.inputs and sys.__stdin__ is None:
        raise OSError("standard input: closed, so there is no picture in it; give a file")
    if given.out == stream or (given.out is None and stream in given.inputs):
        if given.json:
            raise UsageError("--json and a picture can't share standard output; use -o FILE")
        if sys.__stdout__ is None:
            raise OSError("standard output: closed, so no picture can go there; use -o FILE")
        if sys.stdout.isatty():
            raise UsageError("a picture is no text for a terminal; use -o FILE, or a pipe")


def settle(given: PictureOptions, operation: Operation) -> tuple[Plan, Wishes, str]:
    """The plan, what it was made from, and the hash of the weights. Raises ``UsageError``."""
    from adacode_cli.images.formats import format_named
    from adacode_cli.images.mark import hash_file
    from adacode_cli.images.write import Encoding, check_encoding
    from adacode_cli.restore.plan import Wishes, fingerprint, make_plan
    from adacode_cli.weights import catalogue

    word = given.format or "png"
    form = "same" if word == "same" else format_named(word).suffixes[0]
    encoding = Encoding(given.quality, given.lossless, given.strip_metadata)
    if form != "same" and given.out is None:
        check_encoding(encoding, format_named(word))
    weights = hash_file(catalogue.find(operation.weights))
    settings = {
        **operation.settings,
        "precision": given.precision,
        "encoding": encoding,
        "color_lock": given.color_lock,
        "statistics": given.tile_stats,
        "as_published": given.as_published,
    }

    def mark_of(source: Path) -> str:
        return fingerprint(
            operation.name, weights, {**settings, "beside": operation.beside(source)}
        )

    wishes = Wishes(
        inputs=tuple(given.inputs),
        out=given.out,
        suffix=operation.suffix,
        form=form,
        choice=given.choice,
        force=given.force,
        skip_existing=given.skip_existing,
        encoding=encoding,
    )
    plan = make_plan(wishes, mark_of)
    refuse_inputs(given.report, plan)
    return plan, wishes, weights


def output_of(given: PictureOptions, plan: Plan) -> Output:
    """What is said on standard output."""
    if any(job.output == Path("-") for job in plan.jobs):
        return Output.PICTURE
    return Output.JSON if given.json else Output.NULL if given.null else Output.LINES


def handling(given: PictureOptions, operation: Operation, wishes: Wishes) -> Handling:
    """How files are read and written."""
    from adacode_cli.images.read import decode
    from adacode_cli.restore.folder import Handling

    return Handling(
        decode=operation.decode or decode,
        encoding=wishes.encoding,
        stream_format=stream_format(given),
        max_pixels=options.pixels(given.max_pixels),
        color_lock=given.color_lock,
        fail_fast=given.fail_fast,
        force=given.force,
    )


def stream_format(given: PictureOptions) -> Format | None:
    """What goes to standard output: PNG, unless --format says otherwise; None: the same."""
    from adacode_cli.images.formats import format_named

    return None if given.format == "same" else format_named(given.format or "png")


def partial_load(operation: Operation, devices: list[str]) -> Callable[[], list[Worker]]:
    """The model on every device, when it is needed."""
    return lambda: [operation.load(device.strip()) for device in devices]


def run(plan: Plan, how: Handling, load: Callable[[], list[Worker]], report: Report) -> None:
    """What is settled, then every job. The model is loaded when there is something to do."""
    for result in plan.settled:
        report.add(result)
    if how.fail_fast and report.summary.failed:
        return
    if plan.jobs:
        from adacode_cli.images.unfinished import remove_unfinished
        from adacode_cli.restore.folder import FolderRun

        for folder in plan.folders:
            remove_unfinished(folder)
        workers = load()
        with report.bar():
            FolderRun(plan.jobs, workers, how, report.add, report.on_tile).run()
