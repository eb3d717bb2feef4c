"""Photos, small networks and the command itself, for every test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import AdaCodeConfig, CodebookConfig, Task
from tests.processes import run_command

SHARED = Path(__file__).resolve().parents[2] / "shared"
Command = Callable[..., subprocess.CompletedProcess[str]]

# The networks here are tiny, and several tests run at once: a thread each is enough.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


def shared(name: str) -> Path:
    """Material that isn't part of the repository; where it is missing, the test is skipped."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"NOT TESTED: ../shared/{name} is not beside this checkout")
    return path


def tiny_config(task: Task = "sr", scale: int = 4, books: int = 3) -> AdaCodeConfig:
    """The lite family at its smallest."""
    return AdaCodeConfig(
        family="lite",
        task=task,
        scale=scale,
        codebooks=tuple(CodebookConfig(name, 16, 4) for name in "abcd"[:books]),
        widths=(4, 8, 8, 16),
        in_channels=4 if task == "inpaint" else 3,
        encoder_depths=(1, 1),
        decoder_depths=(1, 1),
    )


def tiny_model(task: Task = "sr", scale: int = 4, books: int = 3) -> AdaCode:
    """A tiny network with the same random weights every time."""
    torch.manual_seed(0)
    return AdaCode(tiny_config(task, scale, books)).eval()


def make_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Something like a photo: smooth areas, edges and texture, all in colour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / a + y / b) for a, b in rng.uniform(3, 40, (3, 2))]
    smooth = np.stack(waves, axis=2) * 60 + 128
    edges = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 40, 0)
    texture = rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(smooth + edges[..., None] + texture, 0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes of photos."""
    for number in range(8):
        folder = tmp_path / "photos" / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        make_photo(96 + 8 * number, 80, seed=number).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def adacode(tmp_path: Path) -> Command:
    """Run the real command as a process, in ``tmp_path``."""

    def run(*words: str | Path, check: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_command([str(word) for word in words], tmp_path, os.environ)
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def squeeze_file(tmp_path: Path) -> Path:
    """SqueezeNet 1.1 with random weights: blind, but of the right shape."""
    from adacode_cli.training.squeezenet import FIRES

    shapes = {"conv1": (64, 3, 3), "conv10": (1000, 512, 1)}
    before = 64
    for name, squeeze, expand in FIRES:
        shapes[f"{name}.squeeze1x1"] = (squeeze, before, 1)
        shapes[f"{name}.expand1x1"] = (expand, squeeze, 1)
        shapes[f"{name}.expand3x3"] = (expand, squeeze, 3)
        before = 2 * expand
    return save_convolutions(shapes, tmp_path / "squeeze.safetensors")


@pytest.fixture
def vgg_file(tmp_path: Path) -> Path:
    """VGG19's convolutions with random weights."""
    from adacode_cli.training.vgg import LEVELS

    shapes, at, before = {}, 0, 3
    for count, channels in LEVELS:
        for _ in range(count):
            shapes[f"features.{at}"] = (channels, before, 3)
            at, before = at + 2, channels
        at += 1
    return save_convolutions(shapes, tmp_path / "vgg.safetensors")


def save_convolutions(shapes: dict[str, tuple[int, int, int]], path: Path) -> Path:
    """Convolutions by name, from (out, in, side of the kernel), float16."""
    torch.manual_seed(0)
    state = {}
    for name, (out, channels, side) in shapes.items():
        weight = torch.randn(out, channels, side, side) / (channels * side**2) ** 0.5
        state[f"{name}.weight"], state[f"{name}.bias"] = weight.half(), torch.zeros(out).half()
    save_file(state, path)
    return path


def environment(**others: str) -> dict[str, str]:
    """For commands that aren't started by the fixture."""
    root = Path(__file__).parents[1]
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(root), "PATH": binaries, **others}


def rows(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """--json's objects, and the summary."""
    *pictures, last = map(json.loads, text.splitlines())
    return pictures, last["summary"]


def tree(folder: Path) -> list[str]:
    """Every file below, by its relative path."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def tiny_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """tiny.safetensors in the folder where the command runs, and nobody's own settings."""
    monkeypatch.setenv("ADACODE_CONFIG", str(tmp_path / "config.toml"))
    model = tiny_model("sr", 4)
    checkpoint.save(tmp_path / "tiny.safetensors", model.config, model.state_dict())
    return tmp_path / "tiny.safetensors"
