"""adacode bench: figures that fit together, for what was asked, or one clear line."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.benchmark import apart, memory, stages
from adacode_cli.benchmark.setting import (
    Extent,
    Setting,
    make_picture,
    parse_size,
    resolve,
    resolve_other,
)
from adacode_cli.cli.bench import resolve_all
from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.restore.restorer import Restorer
from adacode_cli.weights.catalogue import BUNDLED
from tests.conftest import Command, environment, tiny_model

TINY = ("--weights", "tiny.safetensors")
SMALL = ("--size", "20x12", "--repeats", "2", "--device", "cpu")
pytestmark = pytest.mark.usefixtures("tiny_weights")


def bench(adacode: Command, *words: str) -> dict[str, Any]:
    """What --json tells."""
    return json.loads(adacode("bench", *SMALL, "--json", *words).stdout)


def test_the_figures_of_a_setting_fit_together(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "config.toml").write_text('weights = "tiny.safetensors"\n')  # once, for all
    told = bench(adacode, "--precision", "fp32", "--threads", "1")
    assert told["against"] is None
    assert told["machine"]["torch"] == torch.__version__
    [found] = told["settings"]
    assert (found["weights"], found["precision"]) == ("tiny.safetensors", "fp32")
    assert (found["device"], found["threads"]) == ("cpu", 1)
    assert (found["task"], found["scale"]) == ("sr", 4)
    assert (found["input_size"], found["output_size"]) == ([20, 12], [80, 48])
    seconds = found["seconds_per_megapixel"]
    assert len(seconds["runs"]) == 2
    assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
    parts = found["stages"]
    assert [p["stage"] for p in parts] == [*stages.STAGES, "rest"]
    assert all(p["seconds_per_megapixel"] >= 0 for p in parts)
    assert sum(p["share"] for p in parts) == pytest.approx(1)
    assert sum(p["flop_per_megapixel"] for p in parts) == pytest.approx(found["flop_per_megapixel"])
    best = found["ceiling"]["flop_per_second"]
    for part in (found, *parts):
        assert part["of_ceiling"] == pytest.approx(part["flop_per_second"] / best)
    assert found["flop_per_second"] == pytest.approx(
        found["flop_per_megapixel"] / seconds["median"]
    )


@pytest.mark.skipif(not memory.STATUS.is_file(), reason="Linux tells how much is resident")
def test_more_pixels_take_more_memory(adacode: Command) -> None:
    few, many = (
        bench(adacode, *TINY, "--size", size)["settings"][0]["memory"]
        for size in ("16x16", "384x384")
    )
    assert {few["kind"], many["kind"]} == {"resident"}
    for found in (few, many):
        assert found["peak"] - found["before"] == found["growth"] >= 0
    result = 3 * 4 * (4 * 384) ** 2  # bytes of the picture alone
    assert many["growth"] > few["growth"] + result


def test_the_tables_can_be_read_by_programs(tmp_path: Path, adacode: Command) -> None:
    model = tiny_model("inpaint", 1)
    checkpoint.save(tmp_path / "filler.safetensors", model.config, model.state_dict())
    words = (*TINY, "--weights", "filler.safetensors", "--precision", "fp32")
    done = adacode("bench", *words, "--megapixels", "0.01", "--repeats", "1", "--threads", "1")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|") and set(line) != set("|-")
    ]
    names = ["tiny.safetensors", "filler.safetensors"]
    assert rows[0][:4] == ["weights", "precision", "result", "s/MP"]
    assert [row[:3] for row in rows[1:3]] == [[name, "fp32", "100×100"] for name in names]
    assert all(float(row[3]) > 0 for row in rows[1:3])
    assert [row[0] for row in rows[3:]] == 2 * ["stage", *stages.STAGES, "rest"]
    assert all(f"\n{name} in fp32 on cpu, 1 thread\n" in done.stdout for name in names)
    assert done.stdout.count("Ceiling in fp32: ") == 1
    assert "\x1b" not in done.stdout
    assert not any(line.startswith("adacode") for line in done.stdout.splitlines())


def test_every_combination_once(tmp_path: Path) -> None:
    names = [str(tmp_path / "tiny.safetensors"), "lite-x4"]
    found = resolve_all(names, ["fp32", "bf16", "fp32"], "cpu", 3)
    kinds = [(name, kind) for name in names for kind in ("fp32", "bf16")]
    assert [(s.weights, s.precision) for s in found] == kinds
    assert {s.threads for s in found} == {3}
    assert {s.weights for s in resolve_all(None, ["fp32"], "cpu", None)} == set(BUNDLED)
    other = resolve_other("weights=lite-x4, threads=2", found[0])
    assert (other.weights, other.precision, other.threads) == ("lite-x4", "fp32", 2)


def test_two_settings_in_turn(adacode: Command) -> None:
    told = bench(adacode, *TINY, "--precision", "fp32", "--against", "precision=bf16")
    assert [s["precision"] for s in told["settings"]] == ["fp32", "bf16"]
    assert "fp32" in told["against"]["first"]
    assert "bf16" in told["against"]["second"]
    ratios = told["against"]["times_as_fast"]
    assert len(ratios["runs"]) == 2
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios["runs"])
    (low, high), median = ratios["quartiles"], ratios["median"]
    assert ratios["min"] <= low <= median <= high <= ratios["max"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--size", "big"), 2, "640x480"),
        (("--size", "8x8", "--megapixels", "1"), 2, "exclude each other"),
        (("--megapixels", "nan"), 2, "--megapixels"),
        (("--precision", "fp16"), 1, "fp16"),
        (("--against", "colour=red"), 2, "weights, precision"),
        (("--precision", "fp32", "--against", "precision=fp32"), 2, "first setting itself"),
        (("--precision", "fp32", "--precision", "bf16", "--against", "threads=1"), 2, "two"),
        (("--weights", "missing"), 1, "missing"),
        (("--weights", "official-x4", "--offline"), 1, "official-x4"),
    ],
)
def test_bad_words_are_one_line(
    words: tuple[str, ...], code: int, said: str, adacode: Command
) -> None:
    done = adacode("bench", *TINY, "--device", "cpu", *words, check=code)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("adacode: error: ")
    assert said in line


@pytest.mark.parametrize("text", ["", "8", "8x", "0x7", "-1x7", "1.5x2", "8x8x8"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="640x480"):
        parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["", "bf16", "colour=red", "threads=0", "threads=x", "precision=fp64", "weights=", "device=abc",
     "precision=bf16,precision=fp32", "threads=1"],
)  # fmt: skip
def test_what_is_no_other_setting(text: str, tmp_path: Path) -> None:
    first = resolve(str(tmp_path / "tiny.safetensors"), "fp32", "cpu", 1)
    with pytest.raises(UsageError):
        resolve_other(text, first)


def test_one_that_fails_leaves_the_others(tmp_path: Path, adacode: Command) -> None:
    broken = tiny_model("sr", 4)
    with torch.no_grad():
        for parameter in broken.decoder.parameters():
            parameter.fill_(math.nan)
    checkpoint.save(tmp_path / "broken.safetensors", broken.config, broken.state_dict())
    words = ("--weights", "broken.safetensors", *TINY, "--json")
    done = adacode("bench", *SMALL, *words, check=1)
    assert [s["weights"] for s in json.loads(done.stdout)["settings"]] == ["tiny.safetensors"]
    assert re.search(r"error: broken\.safetensors .*not finite", done.stderr)
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_both_processes(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "adacode_cli", "bench", *TINY, "--size", "64x64"]
    running = subprocess.Popen(
        [*words, "--repeats", "100000"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    assert "tiny.safetensors in " in running.stderr.readline()
    # The other process starts at this moment, when it couldn't yet do anything about it.
    os.killpg(running.pid, signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    for _ in range(100):
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process is left")


def test_operations_are_counted_right(tmp_path: Path) -> None:
    restorer = Restorer.load(tmp_path / "tiny.safetensors", "cpu", "fp32")
    expected = 0

    def count(layer: nn.Module, _given: object, made: Tensor) -> None:
        nonlocal expected
        assert isinstance(layer, nn.Conv2d)
        each = layer.in_channels * math.prod(layer.kernel_size) // layer.groups
        expected += 2 * each * made.numel()

    for layer in restorer.model.encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    picture = make_picture(restorer, Extent((20, 12)))
    found = stages.flop_by_stage(restorer, picture)
    assert found["encoder"] == expected > 0
    places, width, dim, codes = 6 * 10, 16, 4, 16  # at stride 8 of the result
    book = 2 * places * (width * dim + dim * codes + 9 * dim * width)
    assert found["codebooks"] == 3 * book
    hooks = [h for m in restorer.model.children() for h in m._forward_hooks.values()]
    assert hooks == []


def test_attention_is_counted() -> None:
    model = tiny_model()
    dim = 16

    class Attention(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            x = z.flatten(2).transpose(1, 2)[:, None]  # (B, 1, places, C)
            F.scaled_dot_product_attention(x, x, x)
            return z[:, :3]

    model.weight_map = Attention()
    restorer = Restorer(model, torch.device("cpu"), torch.float32)
    found = stages.flop_by_stage(restorer, make_picture(restorer, Extent((20, 12))))
    assert found["weight map"] == 2 * 2 * dim * 60 * 60


def test_the_picture_to_fill_has_a_hole(tmp_path: Path) -> None:
    model = tiny_model("inpaint", 1)
    checkpoint.save(tmp_path / "filler.safetensors", model.config, model.state_dict())
    picture = make_picture(Restorer.load(tmp_path / "filler.safetensors", "cpu"), Extent((40, 8)))
    assert picture.shape == (4, 8, 40)
    hole = picture[3] == 1
    assert 0 < hole.float().mean() < 1
    assert (picture[:3, hole] == 0).all()


def leave(code: int, _on_step: apart.Step) -> None:
    """End like a process that the system killed."""
    os._exit(code)


def test_a_process_that_ends_is_an_error() -> None:
    with pytest.raises(ValueError, match="exit code 7"):
        apart.apart(partial(leave, 7), lambda: None)


def test_settings_say_what_they_are() -> None:
    setting = Setting("lite-x4", Path("x"), "bf16", "cpu", 2)
    assert str(setting) == "lite-x4 in bf16 on cpu, 2 threads"
    assert str(Setting("a", Path("x"), "fp16", "cuda:1", 2)) == "a in fp16 on cuda:1"
