"""Thousands of damaged and lying weight files: each loads, or is refused in one clear error.

    python -m tests.fuzz_weights --count 5000

Under a limit of memory; a trap in every torch file would leave a file behind if it ran.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adacode_cli.model import checkpoint
from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.weights.catalogue import load_model
from tests.conftest import tiny_model
from tests.published_layout import filled_state
from tests.test_parity import SMALL
from tests.test_published_files import Bomb

Random = np.random.Generator
HEADROOM = 2 << 30  # bytes of address space beyond what the process has
SECONDS = 5.0  # of processor time for one file
ABSURD: tuple[Any, ...] = (
    0,
    -1,
    3,
    10**9,
    1 << 62,
    1.5,
    "x",
    None,
    True,
    [],
    {},
    [[]],
    "\x1b[31m",
    "9" * 3000,
)
DTYPES: tuple[Any, ...] = (
    "F64",
    "F32",
    "BF16",
    "I64",
    "U8",
    "BOOL",
    "F8_E4M3",
    "F8_E5M2",
    "C64",
    "X",
    "F4",
    7,
)


class Files:
    """Sound files to damage."""

    def __init__(self, folder: Path) -> None:
        self.trace, self.path = folder / "trace", folder / "made"
        model = tiny_model()
        checkpoint.save(self.path, model.config, model.state_dict(), dtype=torch.float16)
        self.ours = self.path.read_bytes()
        self.theirs = self.pickled({"params": filled_state(SMALL)})
        self.trapped = self.pickled({"params": {"a": torch.ones(2), "b": Bomb(self.trace)}})
        self.bare = pickle.dumps(Bomb(self.trace))

    def pickled(self, value: object) -> bytes:
        torch.save(value, self.path)
        return self.path.read_bytes()

    def make(self, rng: Random) -> tuple[str, bytes]:
        """A suffix and bytes."""
        kind = rng.integers(10)
        if kind < 4:
            return ".safetensors", change_header(rng, self.ours)
        if kind < 7:
            return ".safetensors", damage(rng, self.ours)
        base = (self.theirs, self.trapped, self.bare)[rng.integers(3)]
        return ".pth", damage(rng, base) if rng.random() < 0.8 else base


def damage(rng: Random, data: bytes) -> bytes:
    """Bits, stretches and the end."""
    changed = bytearray(data)
    reach = len(data) if rng.random() < 0.5 else min(len(data), 4000)
    for place in rng.integers(0, reach, rng.integers(1, 20)):
        changed[place] = int(rng.integers(256))
    if rng.random() < 0.3:
        del changed[int(len(changed) * rng.random()) :]
    return bytes(changed)


def change_header(rng: Random, data: bytes) -> bytes:
    """One thing in the safetensors header or in our configuration becomes absurd."""
    (length,) = struct.unpack("<Q", data[:8])
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    kind = rng.integers(6)
    name = list(header)[int(rng.integers(1, len(header)))]
    if kind == 0:
        header[name]["dtype"] = DTYPES[rng.integers(len(DTYPES))]
    elif kind == 1:
        header[name]["shape"] = [absurd(rng) for _ in range(rng.integers(0, 5))]
    elif kind == 2:
        header[name]["data_offsets"] = [absurd(rng), absurd(rng)]
    elif kind == 3:
        header[str(absurd(rng))] = header.pop(name)
    else:
        config = json.loads(header["__metadata__"]["adacode"])
        key = list(config)[int(rng.integers(len(config)))]
        config[key] = change_value(rng, config[key])
        header["__metadata__"]["adacode"] = json.dumps(config)
        if kind == 5 and rng.random() < 0.2:
            header["__metadata__"]["adacode"] = "[" * 100_000
    text = json.dumps(header).encode()
    told = absurd(rng) if rng.random() < 0.05 else len(text)
    size = told if type(told) is int and 0 <= told < 1 << 63 else len(text)
    return struct.pack("<Q", size) + text + data[8 + length :]


def change_value(rng: Random, value: Any) -> Any:
    """``value``, or one thing in it, absurd."""
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = int(rng.integers(len(value)))
        return [*value[:place], change_value(rng, value[place]), *value[place + 1 :]]
    if isinstance(value, dict) and rng.random() < 0.7:
        key = list(value)[int(rng.integers(len(value)))]
        return {**value, key: change_value(rng, value[key])}
    return absurd(rng)


def absurd(rng: Random) -> Any:
    return ABSURD[rng.integers(len(ABSURD))]


def judged(path: Path, trace: Path) -> tuple[str, str]:
    """'loaded', 'refused' or 'wrong', and why."""
    began = time.process_time()
    try:
        load_model(path)
        outcome, told = "loaded", ""
    except CheckpointError as error:
        outcome, told = "refused", str(error)
        if str(path) not in told:
            outcome = "wrong"
    except BaseException as error:  # noqa: BLE001 this is what is looked for
        outcome, told = "wrong", f"{type(error).__name__}: {error}"
    if trace.exists():
        return "wrong", "code in the file was run"
    if (taken := time.process_time() - began) > SECONDS:
        return "wrong", f"took {taken:.1f} s"
    return outcome, told


def run(count: int, seed: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """What came of ``count`` files, and what was wrong."""
    outcomes: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        for number in range(first, first + count):
            suffix, data = files.make(np.random.default_rng([seed, number]))
            path = Path(folder) / f"{number}{suffix}"
            path.write_bytes(data)
            outcome, told = judged(path, files.trace)
            path.unlink()
            outcomes[f"{outcome} {suffix}"] += 1
            if outcome == "wrong":
                failures.append(f"{number}{suffix}: {told}")
    return outcomes, failures


def main() -> None:
    """Read the options, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM, used + HEADROOM))
    began = time.monotonic()
    outcomes, failures = run(options.count, options.seed, options.first)
    told = ", ".join(f"{name} {n}" for name, n in sorted(outcomes.items()))
    print(f"{options.count} files, seed {options.seed}, {time.monotonic() - began:.0f} s: {told}")
    for failure in failures:
        print("FAILED", failure)
    sys.exit(bool(failures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
