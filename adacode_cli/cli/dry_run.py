"""What --dry-run tells: each picture's name and size before and after, and how long it takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from adacode_cli.cli import problems
from adacode_cli.cli.report import tell_job, tell_time
from adacode_cli.images.naming import STREAM
from adacode_cli.images.picture import PictureError
from adacode_cli.images.read import decode, named, read_size
from adacode_cli.restore.folder import STDIN

if TYPE_CHECKING:
    from adacode_cli.cli.pictures import Operation, PictureOptions
    from adacode_cli.restore.plan import Plan


def tell_plan(given: PictureOptions, operation: Operation, plan: Plan) -> None:
    """What would be done, on standard output; how long it would take, on stderr."""
    failed, sizes = 0, []
    for result in plan.settled:
        failed += result.status == "failed"
        if result.error:
            problems.complain(result.error)
        tell_job(result.source, result.output, result.status, None, None, as_json=given.json)
    for job in plan.jobs:
        size = after = None
        try:
            size = size_of(job.source)
            after = operation.resize(size)
        except PictureError as error:
            failed += 1
            problems.complain(str(named(error, str(job.source))), error)
        tell_job(job.source, job.output, "planned", size, after, as_json=given.json)
        sizes += [size] if size and after else []
    if sizes and operation.timed and not given.quiet:
        devices = given.devices.split(",") if given.devices else [given.device]
        pixels = sum(width * height for width, height in sizes)
        tell_time(operation.load(devices[0]), pixels, len(sizes), len(devices))
    if failed:
        raise typer.Exit(1)


def size_of(source: Path) -> tuple[int, int]:
    """Width and height of a picture; standard input is read for it. Raises ``PictureError``."""
    if source == STREAM:
        return decode(sys.stdin.buffer.read(), STDIN).size
    return read_size(source)
