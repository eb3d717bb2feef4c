"""Codecs beside the model, several devices, several processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import Command, environment, make_photo, rows, tree

TINY = ("--weights", "tiny.safetensors")
pytestmark = pytest.mark.usefixtures("tiny_weights")


def test_codecs_work_while_the_model_does(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    for number in range(5):
        make_photo(300, 260, number).save(tmp_path / "in" / f"{number}.png")
    pictures, summary = rows(
        adacode("sr", "in", "-o", "out", *TINY, "--json", "--format", "bmp").stdout
    )
    assert summary["done"] == 5
    spans = {
        name: sorted(tuple(p["timeline"][name]) for p in pictures)
        for name in ("read", "compute", "write")
    }
    # The next picture was read before the one before it was computed …
    for (_, computed), (_, read) in zip(spans["compute"][:-1], spans["read"][1:], strict=True):
        assert read < computed
    # … and while one was being written, the next was being computed.
    overlapping = [
        write
        for write in spans["write"][:-1]
        if any(begin < write[1] and write[0] < end for begin, end in spans["compute"])
    ]
    assert len(overlapping) == 4


def test_two_devices_share_a_folder(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        make_photo(40, 30, number).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    words = ("sr", "in", "-o", "out", *TINY, "--json", "--devices", "cpu,cpu")
    done = adacode(*words, check=1)
    pictures, summary = rows(done.stdout)
    assert (summary["done"], summary["failed"]) == (6, 1)
    assert done.stderr.count("on cpu") == 2
    assert tree(tmp_path / "out") == [f"{n}_x4.png" for n in range(6)]
    spans = sorted(p["timeline"]["compute"] for p in pictures if p["status"] == "done")
    assert any(later[0] < earlier[1] for earlier, later in pairwise(spans))


@pytest.mark.parametrize(
    "launcher",
    [
        ("torchrun", "--nproc-per-node", "2"),
        ("accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    ],
)
def test_a_launchers_processes_share_a_folder(launcher: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(5):
        make_photo(12, 8, number).save(tmp_path / "in" / "sub" / f"{number}.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    if launcher[0] == "accelerate":
        launcher = (*launcher, "--mixed_precision", "no", "--dynamo_backend", "no")
    words = ("-m", "adacode_cli", "sr", "in", "-r", "-o", "out", *TINY, "--json")
    done = subprocess.run(
        [*launcher, *words, "--report", "r.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(ACCELERATE_USE_CPU="1", OMP_NUM_THREADS="1"),
    )
    assert done.returncode == 1, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    summaries = [o["summary"] for o in objects if "summary" in o]
    assert [(s["done"], s["failed"], s["total"]) for s in summaries] == [(5, 1, 6)]
    inputs = [o["input"] for o in objects if "input" in o]
    assert len(inputs) == len(set(inputs)) == 6
    assert done.stderr.count("on cpu in") == 2
    assert done.stderr.count("5 restored, 1 failed") == 1
    assert len(json.loads((tmp_path / "r.json").read_text())["pictures"]) == 6
    assert tree(tmp_path / "out") == [f"sub/{n}_x4.png" for n in range(5)]


def test_ctrl_c_ends_every_device(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_photo(300, 260).save(tmp_path / "photo.png")
    many = 300  # so that no machine has done them all by then
    for number in range(many):
        (tmp_path / "in" / f"{number:03}.png").hardlink_to(tmp_path / "photo.png")
    words = ("sr", "in", "-o", "out", *TINY, "--devices", "cpu,cpu", "--report", "r.json")
    # A shell's background job ignores Ctrl-C, and its children would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "-m", "adacode_cli", *words],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        first = run.stdout.readline().strip()
        run.send_signal(signal.SIGINT)
        assert "interrupted" in run.stderr.read()
    assert run.returncode == 130
    written = tree(tmp_path / "out")
    assert Path(first).name in written
    assert len(written) < many
    assert not [name for name in written if "unfinished" in name]
    summary = json.loads((tmp_path / "r.json").read_text())["summary"]
    assert summary["done"] == len(written)
    assert summary["not_started"] == many - len(written)
