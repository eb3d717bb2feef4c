"""The command, stopped at random moments by SIGINT, SIGTERM or SIGKILL, again and again.

    python -m tests.kill_runs --count 100

After each stop: no half file under a final name, no original changed, no process left, and
the next run completes. Exit code 1 if one of these didn't hold.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from adacode_cli.model import checkpoint
from tests.conftest import make_photo, tiny_model
from tests.hub import Fault, Hub, running
from tests.published_layout import filled_state
from tests.test_parity import SMALL

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
PHOTOS = 6
PATIENCE = 120.0  # seconds for anything to end


@dataclass
class Tally:
    """How the runs ended, and what didn't hold."""

    stops: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    completed: int = 0  # runs after a stop that did what was left
    hidden: int = 0  # unfinished files that a stopped run left, hidden and under no final name

    def expect(self, holds: bool, what: str) -> None:  # noqa: FBT001 a claim
        if not holds:
            self.failures.append(what)


class Scene:
    """Photos, weights and what they become."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.photos = folder, folder / "photos"
        self.photos.mkdir()
        for number in range(PHOTOS):
            make_photo(150, 110, number).save(self.photos / f"{number}.png")
        model = tiny_model()
        checkpoint.save(folder / "tiny.safetensors", model.config, model.state_dict())
        torch.save({"params": filled_state(SMALL)}, folder / "theirs.pth")
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.originals = hashes(self.photos)
        self.seconds = self.measure()
        self.results = hashes(folder / "out")

    def measure(self) -> float:
        """A whole run; returns how long the photos take, from the moment the model is there."""
        with self.start(self.sr("out")) as run:
            self.wait_for_model(run)
            began = time.monotonic()
            assert run.wait(PATIENCE) == 0
            return time.monotonic() - began

    def sr(self, out: str, *more: str) -> list[str]:
        return ["sr", "photos", "-o", out, "--weights", "tiny.safetensors", *more]

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """The command, with its processes in a group of their own."""
        return subprocess.Popen(
            [sys.executable, "-m", "adacode_cli", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_model(self, run: subprocess.Popen[str]) -> None:
        assert run.stderr
        for line in run.stderr:
            if " on cpu" in line:
                return


def hashes(folder: Path) -> dict[str, str]:
    """Files that are not hidden, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*"))
        if not path.name.startswith(".")
    }


def stop_a_restoration(scene: Scene, rng: np.random.Generator, tally: Tally, label: str) -> None:
    """Stop ``adacode sr`` on a folder, into a new folder or over results that are there."""
    again = bool(rng.random() < 0.4)
    out = scene.folder / "out" if again else scene.folder / f"out {label}"
    hidden = set(out.glob(".*"))
    words = scene.sr(out.name, *(["--force"] if again else []))
    number = SIGNALS[rng.integers(len(SIGNALS))]
    late = rng.random() < 0.8  # earlier, Python itself is still starting
    run = scene.start(words)
    if late:
        scene.wait_for_model(run)
    time.sleep(float(rng.uniform(0, scene.seconds if late else 3)))
    told = end(run, number, tally, label)
    left = hashes(out)
    proper = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    # When all is done Python stops listening to signals while it goes.
    ends = {0, proper, -number if left == scene.results else proper}
    right = not late or (run.returncode in ends and "Traceback" not in told)
    tally.expect(right, f"{label}: {number.name} ended with {run.returncode}: {told}")
    for name, digest in left.items():
        tally.expect(scene.results.get(name) == digest, f"{label}: {name} isn't whole")
    tally.expect(not again or left == scene.results, f"{label}: a result was lost")
    tally.expect(hashes(scene.photos) == scene.originals, f"{label}: an original changed")
    tally.hidden += len(set(out.glob(".*")) - hidden)
    with scene.start(scene.sr(out.name)) as following:
        told = following.communicate(timeout=PATIENCE)[1]
    tally.expect(following.returncode == 0, f"{label}: the next run failed: {told}")
    whole = hashes(out) == scene.results
    tally.expect(whole, f"{label}: the next run didn't complete")
    tally.completed += whole


def stop_a_download(
    scene: Scene, hub: Hub, rng: np.random.Generator, tally: Tally, label: str
) -> None:
    """Stop ``adacode weights pull`` of a file to be converted, from the Hub or an address."""
    home = scene.folder / f"home {label}"
    scene.environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    name = ("hf:someone/pth", f"{hub.files_url}/theirs.pth")[rng.integers(2)]
    hub.faults[:] = [Fault("^GET /(theirs|[0-9a-f]{64})", slow=True, pause=0.0003)]
    number = SIGNALS[rng.integers(len(SIGNALS))]
    run = scene.start(["weights", "pull", name])
    time.sleep(float(rng.uniform(0.5, 7)))
    end(run, number, tally, label)
    hub.faults.clear()
    for path in home.rglob("*.safetensors"):
        try:
            checkpoint.load(path)
        except checkpoint.CheckpointError as error:
            tally.expect(path.name.startswith("."), f"{label}: {error}")
    for words in (["weights", "pull", name], ["weights", "verify", name]):
        with scene.start(words) as following:
            told = following.communicate(timeout=PATIENCE)[1]
        tally.expect(following.returncode == 0, f"{label}: {words} failed: {told}")
    tally.completed += following.returncode == 0


def end(run: subprocess.Popen[str], number: signal.Signals, tally: Tally, label: str) -> str:
    """Send the signal, and see how the run and its group end; returns what it said."""
    run.send_signal(number)
    told = run.communicate(timeout=PATIENCE)[1]
    tally.ends[f"{number.name} → {run.returncode}"] += 1
    for _ in range(100):
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return told
        time.sleep(0.1)
    tally.expect(False, f"{label}: left processes behind")
    os.killpg(run.pid, signal.SIGKILL)
    return told


def run(count: int, seed: int, minutes: float = 1e9) -> Tally:
    """``count`` stops, or what ``minutes`` allow; every fourth is one of a download."""
    tally, began = Tally(), time.monotonic()
    # A shell's background job ignores Ctrl-C, and its children would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder, running() as hub:
        scene = Scene(Path(folder))
        theirs = (scene.folder / "theirs.pth").read_bytes()
        hub.blobs["theirs.pth"] = theirs
        hub.repo("someone/pth", {"theirs.pth": theirs})
        for number in range(count):
            if time.monotonic() - began > 60 * minutes:
                break
            tally.stops += 1
            rng = np.random.default_rng([seed, number])
            if number % 4 == 3:
                stop_a_download(scene, hub, rng, tally, f"run {number}")
            else:
                stop_a_restoration(scene, rng, tally, f"run {number}")
    return tally


def main() -> None:
    """Read the options, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop earlier after these")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    tally = run(options.count, options.seed, options.minutes)
    ends = ", ".join(f"{end} {n}" for end, n in sorted(tally.ends.items()))
    print(f"{tally.stops} stops, seed {options.seed}, {time.monotonic() - began:.0f} s: {ends}")
    print(f"completed by the next run {tally.completed}; hidden leftovers {tally.hidden}")
    for failure in tally.failures:
        print("FAILED", failure)
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
