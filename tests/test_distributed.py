"""Two processes learn what one with twice the batch learns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.conftest import Command

ROOT = Path(__file__).parents[1]
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def launch(*words: object) -> None:
    """Run Python in the repository."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_have_the_gradient_of_twice_the_batch(photos: Path, tmp_path: Path) -> None:
    launch("-m", "tests.two_processes", photos, 4, tmp_path / "one")
    launch(*LAUNCH, "-m", "tests.two_processes", photos, 2, tmp_path / "two")
    one = load_file(tmp_path / "one.0")
    for rank in range(2):
        two = load_file(tmp_path / f"two.{rank}")
        assert two.keys() == one.keys()
        for name, gradient in one.items():
            difference = (two[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
            assert difference < 1e-5, f"{name}: {difference}"


def test_a_launched_run_ends_with_one_result(photos: Path, tmp_path: Path) -> None:
    words = ("train", "codebook", photos, "--steps", 6, "--batch", 2, "--patch", 48)
    more = ("--device", "cpu", "--codes", 16, "--workers", 0, "--accumulate", 2)
    launch(*LAUNCH, "-m", "adacode_cli", *words, *more, "-o", tmp_path / "run")
    states = list((tmp_path / "run" / "states").iterdir())
    assert [p.name for p in states] == ["codebook-00000006.state"]
    assert torch.load(states[0], weights_only=True)["step"] == 6


def test_accumulated_batches_are_one_step(photos: Path, tmp_path: Path, adacode: Command) -> None:
    few = ("--steps", "4", "--patch", "48", "--codes", "16", "--workers", "0")
    result = adacode(
        "train", "codebook", photos, "--batch", "2", "--accumulate", "3", *few, "-o", tmp_path / "a"
    )
    assert Path(result.stdout.strip()).exists()
    state = torch.load(tmp_path / "a" / "states" / "codebook-00000004.state", weights_only=True)
    assert state["optimiser"]["state"][0]["step"].item() == 4
