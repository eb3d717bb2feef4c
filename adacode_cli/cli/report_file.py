"""Where --report may be written: over an earlier report, and over nothing else unless forced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from adacode_cli.restore.plan import Plan

# suffix → how such a report of ours begins
BEGINNINGS = {
    ".json": (b'{\n "summary": {\n  "done": ',),
    ".csv": (b"input,output,status,", b"input\r\n"),
}


def check_report(path: Path, out: Path | None, *, force: bool) -> None:
    """Raise ``UsageError`` for a place where no report can be, or something else is.

    out: where the results go; a report may be in there, though the folder is yet to be made.
    """
    from adacode_cli.images.folders import is_folder, is_there
    from adacode_cli.images.naming import real

    if path.suffix.lower() not in BEGINNINGS:
        raise UsageError(f"{path}: a report's name ends in .json or .csv")
    if is_folder(path) or (out is not None and real(path) == real(out)):
        raise UsageError(f"{path}: is a folder; name a file for the report")
    if not is_folder(path.absolute().parent) and not lies_below(path, out):
        raise UsageError(f"{path}: its folder is missing")
    if is_there(path) and not force and not is_report(path):
        raise UsageError(
            f"{path}: exists, and is no earlier report; "
            "give another name, or use --force to overwrite it"
        )


def lies_below(path: Path, out: Path | None) -> bool:
    """Whether a file will be in the folder of results, or in a folder of that."""
    from adacode_cli.images.naming import STREAM, is_file_name, real

    if out is None or out == STREAM or is_file_name(out):
        return False
    return real(path).is_relative_to(real(out))


def is_report(path: Path) -> bool:
    """Whether a file is an earlier report, as far as its beginning tells; an empty one may go."""
    from adacode_cli.images.folders import is_file

    if not is_file(path):  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return not start or start.startswith(BEGINNINGS[path.suffix.lower()])


def refuse_inputs(path: Path | None, plan: Plan) -> None:
    """Raise ``UsageError`` where the report would take the place of a photo, forced or not."""
    from adacode_cli.images.naming import real

    inputs = [*(job.source for job in plan.jobs), *(result.source for result in plan.settled)]
    if path is not None and real(path) in map(real, inputs):
        raise UsageError(f"{path}: is an input, so the report can't be written there")
