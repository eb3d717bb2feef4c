"""Every output's name and every trouble that can be foreseen, before a model loads."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adacode_cli.errors import UsageError
from adacode_cli.images.folders import MISSING, has_folders, is_folder, is_there, mode_of, reason
from adacode_cli.images.formats import BY_SUFFIX, SUFFIXES, Format, add_plugin, format_of
from adacode_cli.images.mark import hash_of, hash_source, same_settings, source_in
from adacode_cli.images.naming import (
    STREAM,
    Choice,
    Found,
    Source,
    find_one,
    is_file_name,
    is_pattern,
    once,
    real,
)
from adacode_cli.images.outputs import name_outputs
from adacode_cli.images.picture import PictureError
from adacode_cli.images.write import Encoding, check_encoding
from adacode_cli.restore.result import Result


@dataclass(frozen=True)
class Job:
    """One picture to restore.

    mark: what tells its result from others, see ``fingerprint``; once its source is read,
    from those of other sources, too.
    """

    source: Path
    output: Path
    mark: str | None = None
    skip: bool = False  # leave a result alone that was done before; else it is in the way


@dataclass(frozen=True)
class Wishes:
    """What the user asked for, as far as it decides which files are read and written."""

    inputs: tuple[Path, ...]
    out: Path | None = None
    suffix: str = ""  # between a result's name and its extension
    form: str = ".png"  # a file suffix, or 'same'
    choice: Choice = field(default_factory=Choice)
    force: bool = False
    skip_existing: bool | None = None  # None: in folders only
    encoding: Encoding = field(default_factory=Encoding)


@dataclass(frozen=True)
class Plan:
    """What will be done, and what is settled already: done before, or impossible."""

    jobs: list[Job]
    settled: list[Result]
    notes: list[str] = field(default_factory=list)  # what a person should know

    @property
    def folders(self) -> set[Path]:
        """Where results go."""
        return {job.output.parent for job in self.jobs if job.output != STREAM}


def make_plan(wishes: Wishes, mark_of: Callable[[Path], str | None] = lambda _: None) -> Plan:
    """Name every output and look for trouble. No picture is decoded.

    mark_of: the mark of an input's result.

    Raises ``UsageError`` when several inputs are to go into one file, when nothing is to be
    done, or when a format can't do what is wished.
    """
    found = {path: find_one(path, wishes.choice) for path in wishes.inputs}
    sources = once(source for several in found.values() for source in several.sources)
    closed = {source: why for several in found.values() for source, why in several.closed.items()}
    if not sources and not closed:
        raise UsageError("; ".join(nothing_in(path, wishes) for path in wishes.inputs))
    refuse_one_file(wishes.out, sources)
    plan = Plan([], [], notes_on(found, wishes))
    for source in once(closed):
        plan.settled.append(unread(source, wishes, closed[source]))
    outputs = name_outputs(sources, wishes.out, wishes.suffix, wishes.form)
    read_from = {real(source.path) for source in outputs}
    for source, output in outputs.items():
        if form := format_to_come(source.path, output, wishes.form):
            check_encoding(wishes.encoding, form)
        skip = source.found if wishes.skip_existing is None else wishes.skip_existing
        job = Job(source.path, output, mark_of(source.path), skip)
        place(plan, job, read_from, wishes)
    plan.notes.extend(taken_by_name(plan.settled))
    return plan


def format_to_come(source: Path, output: Path, form: str) -> Format | None:
    """The format of a result; None where only standard input's content will tell."""
    if output != STREAM:
        return format_of(output)
    if form != "same":
        return BY_SUFFIX[form]
    return None if source == STREAM else BY_SUFFIX.get(source.suffix.lower())


def refuse_one_file(out: Path | None, sources: list[Source]) -> None:
    """Raise ``UsageError`` where ``out`` is a file, and more than a photo goes there."""
    if out is None or not (out == STREAM or is_file_name(out)):
        return
    if len(sources) > 1:
        raise UsageError(f"{out} is one file, but there are several inputs; give a folder with -o")
    if sources and sources[0].found:
        raise UsageError(
            f"{out} is one file, but what a folder or a pattern holds goes to a folder; "
            "give one with -o, or name the photo"
        )


def notes_on(found: dict[Path, Found], wishes: Wishes) -> list[str]:
    """What a person should know of the inputs: which are empty, which links are left out."""
    empty = [path for path, few in found.items() if not few.sources and not few.closed]
    links = [note for several in found.values() for note in several.notes]
    return [*(nothing_in(path, wishes) for path in empty), *dict.fromkeys(links)]


def unread(source: Source, wishes: Wishes, why: str) -> Result:
    """A folder that can't be read, as a failure; its output is where its results would be."""
    assert source.root is not None
    output = source.path
    if wishes.out is not None:
        output = wishes.out / source.path.relative_to(source.root)
    return Result(source.path, output, "failed", error=f"{source.path}: the folder {why}")


def nothing_in(path: Path, wishes: Wishes) -> str:
    """A line about an input that holds no picture."""
    if wishes.choice.include or wishes.choice.exclude:
        return f"{path}: no picture in it that --include and --exclude leave"
    below = not wishes.choice.recursive and has_folders(path)
    return f"{path}: no picture in it" + ("; -r looks into its folders, too" if below else "")


def place(plan: Plan, job: Job, read_from: set[Path], wishes: Wishes) -> None:
    """Put one input where it belongs in the plan."""
    trouble = trouble_with(job.source, job.output, read_from)
    if trouble is None and job.output != wishes.out:
        trouble = nameless(job.source)
    there = job.output != STREAM and os.path.lexists(job.output)
    if trouble is None and there and not wishes.force:
        trouble = trouble_with_existing(job)
        if trouble is None:
            plan.settled.append(Result(job.source, job.output, "skipped"))
            return
    if trouble is None:
        plan.jobs.append(job)
    else:
        plan.settled.append(Result(job.source, job.output, "failed", error=trouble))


def trouble_with(source: Path, output: Path, read_from: set[Path]) -> str | None:
    """What stands in the way, in a line that names it."""
    if source != STREAM and (trouble := unreadable(source)):
        return trouble
    if output == STREAM:
        return None
    if real(output) in read_from:
        return f"{output}: is an input and would be overwritten; give another name with -o"
    folder = next(parent for parent in output.absolute().parents if is_there(parent))
    if not is_folder(folder) or not os.access(folder, os.W_OK | os.X_OK):
        return f"{output}: nothing can be written into {folder}"
    return None


def unreadable(source: Path) -> str | None:
    """Why a file can't be read, in a line that names it."""
    try:
        source.stat()
    except OSError as error:
        if error.errno not in MISSING:
            return f"{source}: {reason(error)}"
        if source.is_symlink():
            return f"{source}: a link that leads nowhere"
        pattern = ", and no picture fits it as a pattern" if is_pattern(source) else ""
        return f"{source}: no such file{pattern}"
    return None if os.access(source, os.R_OK) else f"{source}: may not be read"


def nameless(source: Path) -> str | None:
    """Why a result can't be named after its source: that is a pipe or a device."""
    mode = 0 if source == STREAM else mode_of(source)
    named = stat.S_ISREG(mode) or source.suffix.lower() in SUFFIXES
    if not mode or named:
        return None
    return f"{source}: a pipe or a device, whose name is no picture's; name the result with -o FILE"


def trouble_with_existing(job: Job) -> str | None:
    """Why an output that is there is in the way; None if it is this job's, done before."""
    try:
        trouble = why_not_done(job) if job.skip else f"{job.output}: exists already"
    except PictureError as error:
        return str(error)
    return f"{trouble}; use --force to overwrite it" if trouble else None


def why_not_done(job: Job) -> str | None:
    """Why an existing output isn't what would be made now; None if it is, as far as it tells.

    Raises ``PictureError`` where that can't be found out.
    """
    from adacode_cli.images.metadata import read_mark

    output, form = job.output, format_of(job.output)
    if not output.exists():
        return f"{output}: is a link to nothing"
    if job.mark is None or not form.marked:
        return None
    add_plugin(form, str(output))
    mark = read_mark(output)
    if mark is None:
        return f"{output}: exists, and nothing in it says that it was made by this command"
    if not same_settings(mark, job.mark):
        return f"{output}: exists, made with other settings or weights"
    if (source := source_in(mark)) and source != (source_in(job.mark) or source_of(job.source)):
        return f"{output}: exists, made from another picture, or this one before it was changed"
    return None


def source_of(path: Path) -> str:
    """What a result will say about its source; one that comes through a pipe is over then.

    Raises ``PictureError``.
    """
    if path == STREAM:
        return hash_of(sys.stdin.buffer.read())
    try:
        return hash_source(path)
    except OSError as error:
        raise PictureError(f"{path}: can't be read ({error.strerror})") from error


def taken_by_name(settled: list[Result]) -> list[str]:
    """A line about results that can't say how they were made, if there are any."""
    outputs = [result.output for result in settled if result.status == "skipped"]
    unmarked = [output for output in outputs if not format_of(output).marked]
    if not unmarked:
        return []
    first, more = unmarked[0], f" and {len(unmarked) - 1} more" if unmarked[1:] else ""
    why = f"a {format_of(first).name} can't hold how it was made; --force does it again"
    return [f"{first}{more}: done before, going by the name alone, as {why}"]


def fingerprint(command: str, weights: str, settings: Mapping[str, object]) -> str:
    """What tells results apart: the command and a hash of all that shapes a result.

    weights: the hash of their file. The program's version comes first, and isn't compared.
    """
    from adacode_cli import __version__

    content = json.dumps([command, weights, settings], sort_keys=True, default=str)
    return f"{__version__} {command} {hashlib.sha256(content.encode()).hexdigest()[:16]}"
