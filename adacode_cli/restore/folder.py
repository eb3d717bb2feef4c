"""Many files: plan every output before a model loads, run one by one, report each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adacode_cli.errors import UsageError
from adacode_cli.images.formats import format_of
from adacode_cli.images.naming import Source, find, is_file_name, name_outputs
from adacode_cli.images.read import read
from adacode_cli.images.write import write
from adacode_cli.restore.picture import restore_picture
from adacode_cli.restore.restorer import Restorer


@dataclass(frozen=True)
class Job:
    """One picture to restore."""

    source: Path
    output: Path


@dataclass(frozen=True)
class Failure:
    """One picture that wasn't restored, and why: a line that names it."""

    source: Path
    reason: str
    cause: Exception | None = None


@dataclass(frozen=True)
class Plan:
    """What will be done, what is done already, and what can't be."""

    jobs: list[Job]
    done_before: list[Job]
    failures: list[Failure]


def make_plan(inputs: list[Path], out: Path | None, suffix: str, *, force: bool) -> Plan:
    """Name every output and look for trouble. No picture is opened.

    Raises ``UsageError`` when several inputs are to go into one file, or nothing is to be done.
    """
    sources = find(inputs)
    if not sources:
        raise UsageError(f"no picture in {', '.join(map(str, inputs))}")
    if out is not None and is_file_name(out) and (len(sources) > 1 or sources[0].found):
        raise UsageError(f"{out} is one file, but there are several inputs; give a folder with -o")
    plan = Plan([], [], [])
    outputs = name_outputs(sources, out, suffix)
    read_from = {source.path.resolve() for source in outputs}
    for source, output in outputs.items():
        place(plan, source, output, read_from, force=force)
    return plan


def place(plan: Plan, source: Source, output: Path, read_from: set[Path], *, force: bool) -> None:
    """Put one input where it belongs in the plan."""
    format_of(output)
    if not source.path.exists():
        plan.failures.append(Failure(source.path, f"{source.path}: no such file"))
    elif output.resolve() in read_from:
        reason = f"{output}: is an input and would be overwritten; give another name with -o"
        plan.failures.append(Failure(source.path, reason))
    elif not output.exists() or force:
        plan.jobs.append(Job(source.path, output))
    elif source.found:
        plan.done_before.append(Job(source.path, output))
    else:
        reason = f"{output}: exists already; use --force to overwrite it"
        plan.failures.append(Failure(source.path, reason))


@dataclass(frozen=True)
class Done:
    """One picture that was restored and written."""

    job: Job
    notes: tuple[str, ...] = ()


def run_plan(
    plan: Plan, load: Callable[[], Restorer], on_tile: Callable[[Job, int, int], None]
) -> Iterator[Done | Failure]:
    """Each result as it is there. One bad picture is a ``Failure``; the rest goes on.

    The model is loaded when there is something to do.
    """
    yield from plan.failures
    if not plan.jobs:
        return
    restorer = load()
    for job in plan.jobs:
        try:
            yield run_job(job, restorer, on_tile)
        # RuntimeError is how PyTorch says that memory ran out
        except (ValueError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
            reason = str(error) or type(error).__name__
            if str(job.source) not in reason:
                reason = f"{job.source}: {reason}"
            yield Failure(job.source, reason, error)


def run_job(job: Job, restorer: Restorer, on_tile: Callable[[Job, int, int], None]) -> Done:
    """Read, restore and write one picture."""
    picture = read(job.source)
    restored = restore_picture(restorer, picture, lambda done, of: on_tile(job, done, of))
    return Done(job, (*picture.notes, *write(restored, job.output)))
