"""Thousands of damaged pictures through the reader, each under limits of time and memory.

    python -m tests.fuzz_pictures --count 5000

Prints what came of them. Exit code 1, and the pictures kept, if one led to anything but a
picture or one clear error.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.mutants import mutant

ROOT = Path(__file__).parents[1]
HANGS = 60.0  # seconds on the clock after which a process is taken for dead
HEADROOM = 4 << 30  # bytes of address space beyond what the process has, at most


@dataclass(frozen=True)
class Limits:
    """What one picture may take: seconds of processor time, bytes of memory.

    The reader is told to refuse more than ``pixels``: a file of a few bytes can be a sound
    picture of any size, and then it needs what a picture of that size needs.
    """

    seconds: float = 5.0
    memory: int = 1 << 30
    pixels: int = 20_000_000


@dataclass
class Tally:
    """What came of the pictures."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0
    kept_memory: int = 0  # growth of a process from its 100th picture to its last

    def add(self, answer: dict[str, Any], limits: Limits) -> str | None:
        """Count an answer; returns what is wrong with it."""
        self.outcomes[answer["outcome"]] += 1
        self.slowest = max(self.slowest, answer["seconds"])
        self.largest = max(self.largest, answer["memory"])
        self.kept_memory = max(self.kept_memory, answer["kept"])
        if answer["outcome"] == "wrong":
            return str(answer["told"])
        if answer["seconds"] > limits.seconds:
            return f"took {answer['seconds']:.1f} s"
        if answer["memory"] > limits.memory:
            return f"took {answer['memory'] >> 20} MiB"
        return None


class Worker:
    """A process that reads pictures by number, one after the other."""

    def __init__(self, seed: int, limits: Limits) -> None:
        command = [sys.executable, "-m", "tests.fuzz_pictures", "--worker", "--seed", str(seed)]
        command += ["--pixels", str(limits.pixels)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, number: int) -> dict[str, Any]:
        """The worker's answer, or that it died or hangs."""
        assert self.process.stdin
        assert self.process.stdout
        dead = {"outcome": "wrong", "seconds": 0.0, "memory": 0, "kept": 0}
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {**dead, "told": "its process was gone"}
        if not select.select([self.process.stdout], [], [], HANGS)[0]:
            return {**dead, "told": f"hung for {HANGS:.0f} s"}
        line = self.process.stdout.readline()
        if not line:
            return {**dead, "told": f"its process died ({self.process.wait()})"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def run(count: int, seed: int, limits: Limits, keep: Path, first: int = 0) -> Tally:
    """``count`` pictures through one worker, which is replaced when it dies."""
    tally, worker = Tally(), Worker(seed, limits)
    for number in range(first, first + count):
        made = mutant(number, seed)
        tally.kinds[made.story.partition(": ")[2].partition(",")[0]] += 1
        answer = worker.ask(number)
        wrong = tally.add(answer, limits)
        if wrong:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{number:06}{Path(made.name).suffix}").write_bytes(made.data)
            tally.failures.append(f"{number} ({made.story}): {wrong}")
        if worker.process.poll() is not None or "hung" in str(answer.get("told")):
            worker.close()
            worker = Worker(seed, limits)
    worker.close()
    return tally


def work(seed: int, pixels: int) -> None:
    """The worker: numbers in, answers out."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM, used + HEADROOM))
    early = 0
    with tempfile.TemporaryDirectory() as folder:
        for done, line in enumerate(sys.stdin):
            made = mutant(int(line), seed)
            path = Path(folder) / made.name
            path.write_bytes(made.data)
            answer = measured(path, pixels)
            path.unlink()
            early = resident() if done == 100 else early
            answer["kept"] = resident() - early if done > 100 else 0
            print(json.dumps(answer), flush=True)


def measured(path: Path, pixels: int) -> dict[str, Any]:
    """Read a picture; what came of it, and what it took."""
    before, began = reset_peak(), time.process_time()
    outcome, told = judged(path, pixels)
    seconds = time.process_time() - began
    return {"outcome": outcome, "told": told, "seconds": seconds, "memory": peak() - before}


def judged(path: Path, pixels: int) -> tuple[str, str]:
    """'picture', 'error' or 'wrong', and the error's words or what is wrong."""
    from adacode_cli.images.picture import PictureError
    from adacode_cli.images.read import read

    try:
        picture = read(path, pixels)
    except PictureError as error:
        told = " ".join(str(error).split())
        if path.name not in str(error) or len(told) <= len(str(path)) + 5 or len(told) > 600:
            return "wrong", f"unclear error: {told!r}"
        return "error", told
    except BaseException as error:  # noqa: BLE001 this is what is looked for
        return "wrong", f"{type(error).__name__}: {error}"
    rgb = picture.rgb
    if (rgb.shape[2], rgb.shape[1]) != picture.size or not np.isfinite(rgb).all():
        return "wrong", "a picture of another size, or not finite"
    if rgb.min() < 0 or rgb.max() > 1:
        return "wrong", "a picture beyond [0, 1]"
    return "picture", ""


def reset_peak() -> int:
    """Start measuring the peak of this process's memory anew; returns what it has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident()


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most that it has had since ``reset_peak``."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Read the options, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=Limits.seconds)
    parser.add_argument("--memory", type=int, default=Limits.memory >> 20, help="MiB")
    parser.add_argument("--pixels", type=int, default=Limits.pixels, help="the reader's limit")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="for what failed")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.seed, options.pixels)
        return
    limits = Limits(options.seconds, options.memory << 20, options.pixels)
    began = time.monotonic()
    tally = run(options.count, options.seed, limits, options.keep, options.first)
    print(f"{options.count} pictures, seed {options.seed}, {time.monotonic() - began:.0f} s")
    print("made by:", ", ".join(f"{name} {n}" for name, n in tally.kinds.items()))
    print("became:", ", ".join(f"{name} {n}" for name, n in tally.outcomes.items()))
    print(f"slowest {tally.slowest:.2f} s; largest growth {tally.largest >> 20} MiB;", end=" ")
    print(f"kept at the end {tally.kept_memory >> 20} MiB")
    for failure in tally.failures:
        print("FAILED", failure)
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
