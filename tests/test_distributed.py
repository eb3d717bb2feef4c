"""Two processes learn what one with twice the batch learns."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adacode_cli import launched
from adacode_cli.model import checkpoint
from tests.conftest import Command, environment, make_photo, tree

ROOT = Path(__file__).parents[1]
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def launch(*words: object, **others: str) -> None:
    """Run Python in the repository; on the CPU, unless ``others`` say where."""
    where = others or {"ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1", **where),
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


@pytest.mark.skipif(sys.platform == "win32", reason="it locks no folder")
def test_of_processes_that_mpi_launched_the_first_speaks_and_writes(
    photos: Path, tmp_path: Path
) -> None:
    make_photo(32, 32).save(photos / "cats" / "small.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    words = ("train", "codebook", photos, "--steps", 1, "--batch", 2, "--patch", 48)
    more = ("--device", "cpu", "--codes", 16, "--workers", 0, "--precision", "fp32", "-o")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    (folders[1] / ".lock").symlink_to(folders[0] / ".lock")  # as if it were one folder
    started = []
    for rank, folder in enumerate(folders):
        ranks = {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_LOCAL_RANK": str(rank)}
        command = [sys.executable, "-m", "adacode_cli", *map(str, (*words, *more, folder))]
        env = environment(**shared, **address, **ranks)
        started.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    try:
        told = [process.communicate(timeout=60)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], told
    for line in ("no --perceptual network", "skipped: 1 photo"):
        assert [line in text for text in told] == [True, False]
    assert {".lock", "settings.toml", "skipped.txt"} < set(tree(folders[0]))
    assert tree(folders[1]) == [".lock"]


def test_on_the_cpu_processes_train_together_untold(photos: Path, tmp_path: Path) -> None:
    words = ("train", "codebook", photos, "--steps", 1, "--batch", 2, "--patch", 48)
    more = ("--codes", 16, "--workers", 0, "-o", tmp_path / "run")
    launch(*LAUNCH, "-m", "adacode_cli", *words, *more, CUDA_VISIBLE_DEVICES="")
    stored = checkpoint.load(tmp_path / "run" / "codebook.safetensors")
    assert json.loads(stored.metadata["training"])["processes"] == 2


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ({}, 0),
        ({"RANK": "2", "PMI_RANK": "1"}, 2),
        ({"PMI_RANK": "1"}, 1),
        ({"OMPI_COMM_WORLD_RANK": "1"}, 1),
        ({"MV2_COMM_WORLD_RANK": "1"}, 1),
        ({"RANK": ""}, 0),
        ({"RANK": "abc"}, 0),
        ({"RANK": "-1"}, 0),
        ({"RANK": "²"}, 0),
    ],
)
def test_a_process_knows_its_number(
    given: dict[str, str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in launched.NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert launched.rank() == number
    assert launched.is_follower() == (number > 0)


def test_accumulated_batches_are_one_step(photos: Path, tmp_path: Path, adacode: Command) -> None:
    few = ("--steps", "4", "--patch", "48", "--codes", "16", "--workers", "0")
    result = adacode(
        "train", "codebook", photos, "--batch", "2", "--accumulate", "3", *few, "-o", tmp_path / "a"
    )
    assert Path(result.stdout.strip()).exists()
    state = torch.load(tmp_path / "a" / "states" / "codebook-00000004.state", weights_only=True)
    assert state["optimiser"]["state"][0]["step"].item() == 4
