"""Many files: read ahead, restored on one device or several, written behind."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from PIL import UnidentifiedImageError

from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.colour import lock_colour
from adacode_cli.images.formats import BY_NAME, BY_SUFFIX, Format, format_of
from adacode_cli.images.mark import hash_of, with_source
from adacode_cli.images.naming import STREAM
from adacode_cli.images.picture import (
    Animation,
    Picture,
    PictureError,
    PictureInBands,
    Samples,
    whole,
)
from adacode_cli.images.read import MAX_PIXELS, decode, load, open_image, own_name
from adacode_cli.images.unfinished import OccupiedError
from adacode_cli.images.write import Content, Encoding, as_held, write, write_stream
from adacode_cli.restore.plan import Job, trouble_with_existing
from adacode_cli.restore.result import Result, Span, busy
from adacode_cli.restore.tiling import OnTile
from adacode_cli.restore.turns import Turns

Process = Callable[[Picture, OnTile], Picture | PictureInBands]
Decode = Callable[[bytes, str, int], Picture | Animation]  # bytes, their name, most pixels
# What reading, restoring and writing raise; RuntimeError is how PyTorch says that memory ran out.
EXPECTED = (ValueError, OSError, ArithmeticError, MemoryError, RuntimeError)
STDIN, STDOUT = "standard input", "standard output"  # what a person reads instead of -
CODECS = 2  # threads that read, and as many that write
MOMENT = 0.5  # seconds


class Stopped(Exception):  # noqa: N818 not a fault
    """The run was ended while a picture was being restored."""


class LeftAlone(Exception):  # noqa: N818 not a fault
    """A picture needs no result; the words say why."""


@dataclass(frozen=True)
class Worker:
    """A device with a model on it, and what it does to a picture."""

    process: Process
    device: str


@dataclass(frozen=True)
class Handling:
    """How files are read and written, whatever happens in between."""

    encoding: Encoding = field(default_factory=Encoding)
    stream_format: Format | None = BY_NAME["PNG"]  # of what goes to stdout; None: as its source
    max_pixels: int = MAX_PIXELS
    color_lock: bool = False
    fail_fast: bool = False
    force: bool = False  # whether a result may take the place of what is there
    decode: Decode = decode


@dataclass(frozen=True)
class Loaded:
    """A decoded file, the job that knows its source now, and when it was read."""

    job: Job
    content: Picture | Animation
    span: Span


class FolderRun:
    """Jobs on their way through reading, a device, and writing.

    ``report`` hears each result as it is there, one device's in the order of the jobs, and
    ``on_tile`` how far a picture is; both from whichever thread it happens in, one at a time.
    """

    def __init__(
        self,
        jobs: list[Job],
        workers: list[Worker],
        handling: Handling,
        report: Callable[[Result], None],
        on_tile: Callable[[Job, int, int], None],
    ) -> None:
        self.jobs, self.workers, self.handling = deque(jobs), workers, handling
        self.report, self.on_tile = report, on_tile
        self.began = time.perf_counter()
        self.stop = threading.Event()
        self.lock, self.reporting = threading.Lock(), threading.RLock()
        self.readers = ThreadPoolExecutor(CODECS, "read")
        self.writers = ThreadPoolExecutor(CODECS, "write")
        # What waits in memory: as much read as can be restored next, as much to be written.
        self.ahead: deque[tuple[Job, Future[Loaded]]] = deque()
        self.slots = threading.Semaphore(CODECS + 1)
        self.crash: BaseException | None = None
        self.stream_format = handling.stream_format  # known when the only such picture is read

    def run(self) -> None:
        """Until all is done or stopped. One bad picture is a failed result; the rest goes on."""
        with silent_decoders():
            try:
                start_threads(self.writers, CODECS)
                if len(self.workers) == 1:
                    self.work(self.workers[0])  # here: so Ctrl-C ends it at once
                else:
                    self.work_side_by_side()
            except BaseException:
                self.stop.set()
                raise
            finally:
                self.readers.shutdown(cancel_futures=True)
                self.writers.shutdown()  # what is computed is written
        if self.crash is not None:
            raise self.crash

    def work_side_by_side(self) -> None:
        """A thread for each device; each takes the next picture when it is ready."""
        ended: SimpleQueue[None] = SimpleQueue()

        def work(worker: Worker) -> None:
            self.guarded(self.work, worker)
            ended.put(None)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in self.workers]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                wait_for(ended)  # not join: Ctrl-C in it would make a thread look ended
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def guarded(self, function: Callable[..., None], *args: object) -> None:
        """Call ``function`` in a thread; what nobody expected ends the run."""
        try:
            function(*args)
        except BaseException as error:  # noqa: BLE001 raised again in the main thread
            self.crash = self.crash or error
            self.stop.set()

    def next(self) -> tuple[Job, Future[Loaded]] | None:
        """The next picture, being read or read already; more are started to be read."""
        with self.lock:
            if self.stop.is_set():
                return None
            while self.jobs and len(self.ahead) <= len(self.workers) + 1:
                job = self.jobs.popleft()
                self.ahead.append((job, self.readers.submit(self.read, job)))
            return self.ahead.popleft() if self.ahead else None

    def work(self, worker: Worker) -> None:
        """Restore pictures on one device until there are none left; told in their order."""
        turns = Turns(self.report)
        while (item := self.next()) is not None:
            job, future = item
            finish = partial(self.finish, turns, turns.take())
            result = Result(job.source, job.output, "done")
            ended: Result | None
            try:
                loaded = future.result()
                result = replace(
                    result,
                    device=worker.device,
                    input_size=loaded.content.size,
                    notes=loaded.content.notes,
                    timeline={"read": loaded.span},
                )
                ended = self.restore_and_write(loaded.job, loaded.content, worker, result, finish)
            except Stopped:
                return
            except LeftAlone as reason:
                notes = (*result.notes, str(reason))
                ended = replace(result, status="skipped", notes=notes)
            except EXPECTED as error:
                ended = failed(result, error)
            if ended is not None:
                finish(ended)

    def restore_and_write(
        self,
        job: Job,
        content: Picture | Animation,
        worker: Worker,
        result: Result,
        finish: Callable[[Result], None],
    ) -> Result | None:
        """What comes in bands is written here, as it comes; what is whole, behind: None."""
        began = self.now()
        restored = self.restore(job, content, worker)
        result.timeline["compute"] = began, self.now()
        if isinstance(restored, PictureInBands):
            bands = self.timed(restored.bands, result)
            return self.written(job, replace(restored, bands=bands), result)
        self.slots.acquire()
        self.writers.submit(self.guarded, self.write, job, restored, result, finish)
        return None

    def timed(self, bands: Iterator[Samples], result: Result) -> Iterator[Samples]:
        """The same bands; ``result`` learns when the last one was computed."""
        yield from bands
        result.timeline["compute"] = result.timeline["compute"][0], self.now()

    def read(self, job: Job) -> Loaded:
        """A file's bytes, decoded. Raises ``PictureError``."""
        began = self.now()
        data = sys.stdin.buffer.read() if job.source == STREAM else load(job.source)
        name = STDIN if job.source == STREAM else str(job.source)
        content = self.handling.decode(data, name, self.handling.max_pixels)
        if job.output == STREAM and self.stream_format is None:
            self.stream_format = own_format(job.source, data)
        mark = job.mark and with_source(job.mark, hash_of(data))
        content = of_file(content, job.source)
        return Loaded(replace(job, mark=mark), content, (began, self.now()))

    def restore(self, job: Job, content: Picture | Animation, worker: Worker) -> Content:
        """A picture, or those frames of an animation that will be kept, by the worker's model."""
        notes: list[str] = []
        if isinstance(content, Animation):
            content = as_held(content, self.form_of(job), notes)
        if isinstance(content, Picture):
            return self.restore_frame(job, content.noting(*notes), worker, 0, 1)
        count = len(content.frames)
        frames = (
            whole(self.restore_frame(job, frame, worker, number, count))
            for number, frame in enumerate(content.frames)
        )
        return replace(content, frames=tuple(frames))

    def form_of(self, job: Job) -> Format:
        """The format of a job's result, once its source is read."""
        form = self.stream_format if job.output == STREAM else format_of(job.output)
        assert form
        return form

    def restore_frame(
        self, job: Job, frame: Picture, worker: Worker, number: int, count: int
    ) -> Picture | PictureInBands:
        """The frame of that number, of so many."""

        def on_tile(done: int, of: int) -> None:
            if self.stop.is_set():
                raise Stopped
            with self.reporting:
                self.on_tile(job, number * of + done, count * of)

        on_tile(0, 1)
        after = worker.process(frame, on_tile)
        return lock(whole(after), frame) if self.handling.color_lock else after

    def write(
        self,
        job: Job,
        restored: Picture | Animation,
        result: Result,
        finish: Callable[[Result], None],
    ) -> None:
        """What is computed, into a file; then report."""
        try:
            result = self.written(job, restored, result)
        except EXPECTED as error:
            result = failed(result, error)
        finally:
            self.slots.release()
        finish(result)

    def written(self, job: Job, restored: Content, result: Result) -> Result:
        """Into a file, whole or not at all, or to standard output. Raises ``PictureError``."""
        began, how = self.now(), self.handling
        encoding = replace(how.encoding, mark=job.mark)
        if job.output == STREAM:
            notes = to_stdout(restored, self.form_of(job), encoding)
        else:
            try:
                notes = write(restored, job.output, encoding, replace=how.force)
            except OccupiedError as error:  # since the plan was made
                if trouble := trouble_with_existing(job):
                    raise PictureError(trouble) from error
                return Result(job.source, job.output, "skipped")  # done meanwhile, by another run
        timeline = {**result.timeline, "write": (began, self.now())}
        return replace(
            result,
            output_size=restored.size,
            # A process may have added notes of its own.
            notes=tuple(dict.fromkeys((*result.notes, *restored.notes, *notes))),
            seconds=busy(timeline.values()),
            timeline=timeline,
            facts=restored.facts,
        )

    def finish(self, turns: Turns, turn: int, result: Result) -> None:
        """A failed result may end the run; all are told, each when it is its turn."""
        if result.status == "failed" and self.handling.fail_fast:
            self.stop.set()
        with self.reporting:
            turns.done(turn, result)

    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.began


def wait_for(ended: SimpleQueue[None]) -> None:
    """Until a thread has ended; a signal that came just before is heeded after a moment.

    One that comes between Python's look for signals and its waiting is seen when it wakes.
    """
    while True:
        try:
            return ended.get(timeout=MOMENT)
        except Empty:
            continue


def start_threads(pool: ThreadPoolExecutor, count: int) -> None:
    """Start all ``count`` threads of a pool now.

    A pool whose ``submit`` a signal interrupts while it starts a thread doesn't know that
    thread, and wouldn't wait for what it writes.
    """
    meeting = threading.Barrier(count)
    try:
        list(pool.map(lambda _: meeting.wait(), range(count)))
    finally:
        meeting.abort()  # whoever is there waits for nobody any more


def own_format(source: Path, data: bytes) -> Format:
    """A source's own: by its name, as for files; of standard input, which has none, by ``data``.

    PNG for what can be read only. ``data`` was decoded before.
    """
    if source != STREAM:
        return BY_SUFFIX.get(source.suffix.lower(), BY_NAME["PNG"])
    try:
        with open_image(data, STDIN) as image:
            name = own_name(image)
    except UnidentifiedImageError:
        name = "TIFF"  # of samples that Pillow doesn't know
    return BY_NAME.get(name, BY_NAME["PNG"])


def to_stdout(content: Content, form: Format, encoding: Encoding) -> tuple[str, ...]:
    """The picture to standard output; returns notes on it. Raises ``PictureError``."""
    try:
        return write_stream(content, form, encoding)
    except OSError as error:
        reason = error.strerror or error
        raise PictureError(f"{STDOUT}: can't be written ({reason})") from error


def failed(result: Result, error: Exception) -> Result:
    """The result as a failure, its reason a line that names the file."""
    reason = str(error) or type(error).__name__
    source = result.source_name
    output = STDOUT if result.output == STREAM else str(result.output)
    if source not in reason and output not in reason:
        reason = f"{source}: {reason}"
    return replace(result, status="failed", error=reason, cause=error, output_size=None)


def of_file(content: Picture | Animation, source: Path) -> Picture | Animation:
    """The same, knowing its file."""
    if isinstance(content, Animation):
        return replace(content, frames=tuple(replace(f, source=source) for f in content.frames))
    return replace(content, source=source)


def lock(after: Picture, before: Picture) -> Picture:
    """``after`` with the coarse colour of ``before``."""
    original = before.rgb
    if before.alpha is not None:
        original = fill_transparent(original, before.alpha)
    return after.with_pixels(lock_colour(after.rgb, original), after.alpha)


@contextmanager
def silent_decoders() -> Iterator[None]:
    """No warnings of Python's in any thread; what a person should know is in the notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
