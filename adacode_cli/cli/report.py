"""Results on stdout and in a report file, everything else on stderr."""

from __future__ import annotations

import csv
import enum
import io
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adacode_cli.cli import problems
from adacode_cli.cli.progress import PictureBar, picture_bar
from adacode_cli.counted import counted
from adacode_cli.visible import visible

if TYPE_CHECKING:
    from adacode_cli.restore.folder import Worker
    from adacode_cli.restore.plan import Job
    from adacode_cli.restore.result import Result, Summary

Size = tuple[int, int]
SAMPLE = 128  # pixels a side of the picture that is timed


class Output(enum.Enum):
    """What standard output is for."""

    LINES = "a path a line"
    NULL = "a path and a NUL"
    JSON = "an object a line"
    PICTURE = "the picture itself"


class Report:
    """Tells each result as it comes, and keeps it."""

    def __init__(self, output: Output, weights: str, planned: int) -> None:
        self.output, self.weights, self.planned = output, weights, planned
        self.results: list[Result] = []
        self.untold: deque[Result] = deque()  # one is here only if a signal came at that moment
        self.began = time.perf_counter()
        self.shown: PictureBar | None = None

    @contextmanager
    def bar(self) -> Iterator[None]:
        """A bar while pictures are being restored, unless NULs on a terminal would meet it."""
        jobs = self.planned - len(self.results)
        in_the_way = self.output is Output.NULL and sys.stdout.isatty()
        with picture_bar(jobs, hidden=problems.quiet or in_the_way) as self.shown:
            yield
        self.shown = None

    def on_tile(self, job: Job, done: int, of: int) -> None:
        """How far a picture is."""
        if self.shown:
            self.shown.on_tile(job.source, done, of)

    def add(self, result: Result) -> None:
        """A picture's end: to stdout what a script needs, to stderr what a person should know."""
        self.results.append(result)
        self.untold.append(result)
        if self.shown:
            self.shown.finished(result.source)
        for note in result.notes:
            problems.say(f"{result.source_name}: {note}")
        if result.error is not None:
            problems.complain(result.error, result.cause)
        if result.error is not None and self.output is Output.PICTURE:
            problems.drop_untold()  # the rest of what standard output had no room for
        self.tell_results()

    def tell_results(self) -> None:
        """What a script needs of each result that it wasn't told of."""
        while self.untold:
            line = self.line_of(self.untold[0])
            self.untold.popleft()
            if line:
                tell(line, end="\0" if self.output is Output.NULL else "\n")

    def line_of(self, result: Result) -> str:
        """A result on standard output; empty if it isn't told there."""
        if self.output is Output.JSON:
            return json.dumps(result.to_json(self.weights))
        if result.status == "done" and self.output is not Output.PICTURE:
            return str(result.output)
        return ""

    @property
    def summary(self) -> Summary:
        """What there is so far."""
        from adacode_cli.restore.result import summarise

        return summarise(self.results, self.planned, time.perf_counter() - self.began)

    def close(self, total: Summary, path: Path | None) -> None:
        """The report file, and the last words; either in spite of the other."""
        try:
            self.write(path, total)
        finally:
            self.tell_summary(total)
            if total.total > 1 or total.skipped:
                problems.say(in_words(total, sum(map(left_alone, self.results))))

    def break_off(self, path: Path | None) -> None:
        """The report file and --json's summary of a run that something else ends, and explains."""
        try:
            self.write(path, self.summary)
        except OSError as error:
            problems.complain(str(error), error)
        with suppress(OSError):  # it may be that nobody reads stdout which ends the run
            self.tell_results()
            self.tell_summary(self.summary)

    def tell_summary(self, total: Summary) -> None:
        """The last object of --json."""
        if self.output is Output.JSON:
            tell(json.dumps({"summary": as_json(total)}))

    def write(self, path: Path | None, total: Summary) -> None:
        """All results as a file, .json or .csv, whole or not at all. Raises ``OSError``."""
        if path is None:
            return
        rows = [result.to_json(self.weights) for result in self.results]
        if path.suffix.lower() == ".csv":
            text = as_table(rows)
        else:
            text = json.dumps({"summary": as_json(total), "pictures": rows}, indent=1) + "\n"
        write_text(text, path)


def write_text(text: str, path: Path) -> None:
    """A report file, with the very bytes of names that are no text. Raises ``OSError``."""
    from adacode_cli.images.unfinished import unfinished

    try:
        with unfinished(path) as (file, finish):
            file.write(text.encode("utf-8", "surrogateescape"))
            finish()
    except OSError as error:
        raise OSError(f"{path}: the report can't be written ({error.strerror})") from error


def tell(text: str, end: str = "\n") -> None:
    """A line of the answer, at once and as a whole. Raises ``StdoutError``.

    A terminal shows it with nothing in it that it would obey; all else has it as it is.
    """
    if sys.stdout.isatty():
        text = visible(text)
    with problems.answering():
        # Not echo: rich must see it to make way. And as one text: a launcher's processes aren't
        # buffered, and another's line would come before the end of this one.
        print(text + end, end="", flush=True)


def as_json(total: Summary) -> dict[str, Any]:
    """The summary's numbers."""
    return {**asdict(total), "total": total.total, "seconds": round(total.seconds, 3)}


def left_alone(result: Result) -> bool:
    """Whether a picture was skipped for a reason that was found in it, and said."""
    return result.status == "skipped" and result.input_size is not None


def in_words(total: Summary, left: int) -> str:
    """The summary in a line; ``left``: how many of the skipped ones were left alone."""
    parts = [f"{total.done} restored"]
    if total.skipped > left:
        parts.append(f"{total.skipped - left} done before (--force does them again)")
    if left:
        parts.append(f"{left} left alone")
    if total.failed:
        parts.append(f"{total.failed} failed")
    if total.not_started:
        parts.append(f"{total.not_started} not started")
    return f"{', '.join(parts)}; {duration(total.seconds)}"


def as_table(rows: list[dict[str, Any]]) -> str:
    """The results as CSV, sizes as 640x480."""
    text = io.StringIO()
    columns = [n for n, v in rows[0].items() if not isinstance(v, dict)] if rows else ["input"]
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        sizes = {n: "x".join(map(str, row[n] or ())) for n in ("input_size", "output_size")}
        writer.writerow({**row, **sizes, "warnings": "; ".join(row["warnings"])})
    return text.getvalue()


def tell_job(
    source: Path,
    output: Path,
    status: str,
    before: Size | None,
    after: Size | None,
    *,
    as_json: bool,
) -> None:
    """One line of a plan."""
    if as_json:
        row = {"input": str(source), "output": str(output), "status": status}
        tell(json.dumps({**row, "input_size": before, "output_size": after}))
    else:
        words = {"skipped": "done before", "failed": "impossible"}.get(status, "")
        tell(f"{source}{in_pixels(before)} → {output}{in_pixels(after)}  {words}".rstrip())


def in_pixels(size: Size | None) -> str:
    """640×480, with a space before it."""
    return f" {size[0]}×{size[1]}" if size else ""


def tell_time(worker: Worker, pixels: int, pictures: int, devices: int) -> None:
    """How long it would take, by a small picture restored now."""
    import numpy as np

    from adacode_cli.images.picture import Picture, whole

    noise = np.random.default_rng(0).integers(0, 256, (SAMPLE, SAMPLE, 3), dtype=np.uint8)
    try:
        for _ in range(2):  # the first one warms up
            began = time.perf_counter()
            whole(worker.process(Picture(noise), lambda _done, _of: None))
            seconds = time.perf_counter() - began
    except (ValueError, OSError, RuntimeError) as error:
        problems.say(f"{counted(pictures, 'picture')}; no estimate of the time ({error})")
        return
    total = duration(seconds * pixels / SAMPLE**2 / devices)
    what = f"{counted(pictures, 'picture')} of {area(pixels)}"
    problems.say(f"{what}: about {total} on {worker.device}, writing not counted")


def area(pixels: int) -> str:
    """2.50 megapixels; of less than a hundredth of one, 640 pixels."""
    return f"{pixels / 1e6:,.2f} megapixels" if pixels >= 10_000 else counted(pixels, "pixel")


def duration(seconds: float) -> str:
    """2.5 s, 3 min 10 s, 4 h 5 min; of little, 0.02 s."""
    if seconds < 0.05:
        return f"{max(seconds, 0.001):.1g} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
