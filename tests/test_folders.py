"""Folders and scripts: plan, run, report, with the real command and a tiny model."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from adacode_cli.model import checkpoint
from tests.conftest import Command, make_photo, tiny_model

ROOT = Path(__file__).parents[1]
TINY = ("--weights", "tiny.safetensors")


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path) -> Path:
    """Weights in the folder where the command runs."""
    model = tiny_model("sr", 4)
    checkpoint.save(tmp_path / "tiny.safetensors", model.config, model.state_dict())
    return tmp_path / "tiny.safetensors"


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests don't depend on who runs them."""
    monkeypatch.setenv("ADACODE_CONFIG", str(tmp_path / "config.toml"))


def environment(**others: str) -> dict[str, str]:
    """For processes that aren't started by the fixture."""
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": binaries, **others}


def rows(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """--json's objects, and the summary."""
    *pictures, last = map(json.loads, text.splitlines())
    return pictures, last["summary"]


def tree(folder: Path) -> list[str]:
    """Every file below, by its relative path."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_tree_is_kept_and_patterns_choose(tmp_path: Path, adacode: Command) -> None:
    for name in ("a.png", "a.jpg", "deep/er/b.webp", "deep/old_c.png", "deep/d.gif", ".x/e.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(12, 8).save(tmp_path / "in" / name)
    words = ("sr", "in", "-o", "in/out", "-r", "--exclude", "old_*", "--exclude", "*.gif", *TINY)
    planned = adacode(*words, "--dry-run")
    assert "in/deep/er/b.webp 12×8 → in/out/deep/er/b_x4.png 48×32" in planned.stdout
    assert re.search(r"3 pictures .*: about .* on cpu", planned.stderr)
    assert not (tmp_path / "in" / "out").exists()
    adacode(*words)
    found = tree(tmp_path / "in" / "out")
    assert found == ["a_jpg_x4.png", "a_png_x4.png", "deep/er/b_x4.png"]
    again = adacode(*words)
    assert again.stdout == ""
    assert "3 done before" in again.stderr
    assert tree(tmp_path / "in" / "out") == found
    chosen = adacode("sr", "in/*.jpg", "in/**/d.*", "-o", "two", "--dry-run", "-q", *TINY)
    assert [line.split(" →")[0] for line in chosen.stdout.splitlines()] == [
        "in/a.jpg 12×8",
        "in/deep/d.gif 12×8",
    ]


def test_what_was_done_with_other_settings_is_not_passed_off(
    tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "in").mkdir()
    for suffix in ("png", "gif", "jpg"):
        make_photo(12, 8).save(tmp_path / "in" / f"{suffix}.{suffix}")
    words = ("sr", "in", "-o", "out", "--format", "same", *TINY)
    assert len(adacode(*words).stdout.splitlines()) == 3
    assert "3 done before" in adacode(*words).stderr
    before = {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")}
    other = adacode(*words, "--quality", "50", check=1)
    assert other.stderr.count("made with other settings") == 3
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "tiny.safetensors").read_bytes())
    renamed = adacode(*words[:-1], "other.safetensors")
    assert "3 done before" in renamed.stderr  # the same weights by another name
    model = tiny_model("sr", 4, books=2)
    checkpoint.save(tmp_path / "other.safetensors", model.config, model.state_dict())
    changed = adacode(*words[:-1], "other.safetensors", check=1)
    assert changed.stderr.count("other settings or weights") == 3
    make_photo(4, 4).save(tmp_path / "out" / "png_x4.png")  # somebody's own
    assert "nothing in it says" in adacode(*words, check=1).stderr
    assert {n: (tmp_path / "out" / n).read_bytes() for n in before if "png" not in n} == {
        n: content for n, content in before.items() if "png" not in n
    }
    done = adacode(*words, "--quality", "50", "--force")
    assert len(done.stdout.splitlines()) == 3
    assert (tmp_path / "out" / "jpg_x4.jpg").stat().st_size < len(before["jpg_x4.jpg"])


def test_every_picture_is_an_object_of_json(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(12, 8).save(tmp_path / "in" / "a.png")
    make_photo(12, 8).convert("CMYK").save(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "c.png").write_bytes(b"nothing")
    make_photo(12, 8).save(tmp_path / "in" / "d.png")
    words = ("sr", "in", "-o", "out", *TINY, "--json", "--report", "r.json")
    done = adacode(*words, "--quiet", check=1)
    pictures, summary = rows(done.stdout)
    by_name = {Path(p["input"]).name: p for p in pictures}
    assert set(by_name) == {"a.png", "b.jpg", "c.png", "d.png"}
    assert by_name["a.png"]["input_size"] == [12, 8]
    assert by_name["a.png"]["output_size"] == [48, 32]
    assert by_name["a.png"]["device"] == "cpu"
    assert by_name["a.png"]["seconds"] > 0
    assert len(by_name["a.png"]["weights_sha256"]) == 64
    assert "CMYK" in by_name["b.jpg"]["warnings"][0]
    assert by_name["c.png"]["status"] == "failed"
    assert "c.png" in by_name["c.png"]["error"]
    assert (summary["done"], summary["failed"], summary["total"]) == (3, 1, 4)
    assert [line for line in done.stderr.splitlines() if "error" not in line] == []
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["summary"]["failed"] == 1
    assert len(written["pictures"]) == 4
    adacode("sr", "in", "-o", "out", *TINY, "--report", "r.csv", check=1)
    with (tmp_path / "r.csv").open(newline="") as file:
        table = {Path(row["input"]).name: row for row in csv.DictReader(file)}
    assert [table[n]["status"] for n in ("a.png", "c.png")] == ["skipped", "failed"]


def test_the_first_failure_can_end_it(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").write_bytes(b"nothing")
    for number in range(1, 40):
        make_photo(12, 8).save(tmp_path / "in" / f"{number:02}.png")
    done = adacode("sr", "in", "-o", "out", *TINY, "--fail-fast", "--json", check=1)
    _, summary = rows(done.stdout)
    assert summary["failed"] == 1
    assert summary["not_started"] > 30


@pytest.mark.parametrize("word", ["png", "webp"])
def test_standard_input_to_standard_output(word: str, tmp_path: Path) -> None:
    photo = make_photo(12, 8)
    photo.save(tmp_path / "a.png")
    words = [sys.executable, "-m", "adacode_cli", "sr", "-", *TINY, "--format", word]
    done = subprocess.run(
        words,
        input=(tmp_path / "a.png").read_bytes(),
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=environment(),
    )
    found = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.shape == (32, 48, 3)
    assert done.stdout.startswith({"png": b"\x89PNG", "webp": b"RIFF"}[word])
    assert tree(tmp_path) == ["a.png", "tiny.safetensors"]


AWKWARD = [
    "with space.png",
    "new\nline.png",
    "emoji 🦅.png",
    "-dash.png",
    "con.photo.png",
    "é" * 125 + "a.png",
    "quote'\"$HOME`x`.png",
]


def test_awkward_names(tmp_path: Path, adacode: Command) -> None:
    for name in AWKWARD:
        make_photo(8, 8).save(tmp_path / name)
    latin = os.fsdecode(b"caf\xe9.png")  # no text in UTF-8
    make_photo(8, 8).save(tmp_path / latin)
    names = [*AWKWARD, latin]
    assert max(len(os.fsencode(name)) for name in names) == 255
    words = [sys.executable, "-m", "adacode_cli", "sr", "-o", "out", "-0", *TINY, "--", *names]
    done = subprocess.run(words, capture_output=True, check=True, cwd=tmp_path, env=environment())
    written = done.stdout.rstrip(b"\0").split(b"\0")
    assert len(written) == len(names)
    for path in written:
        with Image.open(tmp_path / os.fsdecode(path)) as out:
            assert out.size == (32, 32)
    results = {path.name for path in (tmp_path / "out").iterdir()}
    assert "new\nline_x4.png" in results
    assert "_con.photo_x4.png" in results
    assert "-dash_x4.png" in results
    again = adacode("sr", "-o", "out", *TINY, "--skip-existing", "--", *names)
    assert again.stdout == ""


def test_input_folder_as_output_folder(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(12, 8).save(tmp_path / "in" / "a.png")
    original = (tmp_path / "in" / "a.png").read_bytes()
    for _ in range(2):
        adacode("sr", "in", "-o", "in", *TINY)
    assert tree(tmp_path / "in") == ["a.png", "a_x4.png"]
    assert (tmp_path / "in" / "a.png").read_bytes() == original


def test_places_that_cannot_be_used_are_told_before_anything(
    tmp_path: Path, adacode: Command
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "file").write_text("no folder")
    done = adacode("sr", "a.png", "-o", "file/out", *TINY, check=1)
    assert "nothing can be written into" in done.stderr
    assert " on cpu" not in done.stderr  # no model was loaded
    for words, says in (
        (("--device", "cpu", "--devices", "cpu,cpu"), "exclude each other"),
        (("--format", "docx"), "docx"),
        (("--format", "jpg", "--lossless"), "no lossless form"),
        (("--max-pixels", "many"), "number of pixels"),
        (("--report", "r.txt"), ".json or .csv"),
        (("-o", "-", "--json"), "standard output"),
    ):
        done = adacode("sr", "a.png", *TINY, *words, check=2)
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "--max-pixels" in adacode("sr", "a.png", *TINY, "--max-pixels", "50", check=1).stderr


def test_a_moving_picture_moves_on(tmp_path: Path, adacode: Command) -> None:
    frames = [make_photo(12, 8, seed) for seed in range(3)]
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    frames[0].save(tmp_path / "a.gif", duration=[100, 50, 70], loop=0, **more)
    adacode("sr", "a.gif", *TINY)
    adacode("sr", "a.gif", *TINY, "--format", "same")
    for name in ("a_x4.png", "a_x4.gif"):
        with Image.open(tmp_path / name) as out:
            times = []
            for number in range(getattr(out, "n_frames", 1)):
                out.seek(number)
                times.append(out.info["duration"])
            assert (out.size, times, out.info["loop"]) == ((48, 32), [100, 50, 70], 0)


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


def test_settings_of_a_person(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "config.toml").write_text(
        'device = "cpu"\nquiet = true\n[sr]\nweights = "tiny.safetensors"\nformat = "webp"\n'
    )
    assert adacode("sr", "a.png").stdout == "a_x4.webp\n"
    assert adacode("sr", "a.png", "--format", "bmp").stdout == "a_x4.bmp\n"
    shown = adacode("config").stdout
    assert shown.startswith(f"# {tmp_path / 'config.toml'}\n")
    assert re.search(r'\[sr\]\ndevice = "cpu" .*\nformat = "webp"', shown)
    (tmp_path / "config.toml").write_text('colour = "blue"\n')
    assert "'colour'" in adacode("sr", "a.png", check=2).stderr
    (tmp_path / "config.toml").write_text("[sr\n")
    assert "config.toml" in adacode("sr", "a.png", check=2).stderr


def test_variables_win_over_the_file(
    tmp_path: Path, adacode: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "config.toml").write_text('[sr]\nformat = "webp"\n')
    monkeypatch.setenv("ADACODE_FORMAT", "tif")
    monkeypatch.setenv("ADACODE_WEIGHTS", "tiny.safetensors")
    assert adacode("sr", "a.png").stdout == "a_x4.tif\n"
    assert adacode("sr", "a.png", "--format", "gif").stdout == "a_x4.gif\n"
    assert 'format = "tif"  # ADACODE_FORMAT' in adacode("config").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    code = "from adacode_cli.cli.main import app; app(prog_name='adacode')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(_ADACODE_COMPLETE=f"source_{shell}"),
    )
    assert "adacode" in done.stdout
    words = {
        "COMP_WORDS": "adacode sr --skip",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "adacode sr --skip",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(_ADACODE_COMPLETE=f"complete_{shell}", **words),
    )
    assert "--skip-existing" in done.stdout


def fill_mixed_folder(folder: Path, count: int, broken: int) -> set[str]:
    """``count`` pictures of all kinds, of which ``broken`` are damaged; those by name."""
    folder.mkdir()
    suffixes = ("png", "jpg", "webp", "tif", "bmp", "gif", "avif")
    bad = set()
    for number in range(count):
        photo, suffix = make_photo(16, 12, number), suffixes[number % len(suffixes)]
        if number % 5 == 0 and suffix in {"png", "webp", "tif"}:
            photo.putalpha(128)
        path = folder / f"{number:03}.{suffix}"
        photo.save(path)
        if number % (count // broken) == 0:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 3] if number % 3 else b"no picture")
            bad.add(path.name)
    return bad


def test_a_run_that_is_killed_twice_is_completed(tmp_path: Path, adacode: Command) -> None:
    bad = fill_mixed_folder(tmp_path / "in", 200, 10)
    words = ("sr", "in", "-o", "out", *TINY, "--json")
    command = [sys.executable, "-m", "adacode_cli", *words]
    chance = random.Random(0)  # noqa: S311
    for _ in range(2):
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            env=environment(),
        ) as run:
            assert run.stdout is not None
            done = 0
            for line in run.stdout:
                done += json.loads(line).get("status") == "done"
                if done == chance.randint(10, 30) or done == 30:
                    run.send_signal(signal.SIGKILL)
                    break
        for name in tree(tmp_path / "out"):
            if not name.endswith(".unfinished"):
                with Image.open(tmp_path / "out" / name) as out:
                    out.load()  # whole, or it isn't there
    last = adacode(*words, check=1)
    pictures, summary = rows(last.stdout)
    assert {Path(p["input"]).name for p in pictures if p["status"] == "failed"} == bad
    assert len(bad) == 10
    assert summary["failed"] == 10
    assert summary["done"] + summary["skipped"] == 190
    assert summary["skipped"] >= 20
    results = tree(tmp_path / "out")
    assert len(results) == 190
    assert all(name.endswith("_x4.png") for name in results)


def readme_scripts() -> list[str]:
    """The shell scripts of the README's part about scripts."""
    text = (ROOT / "README.md").read_text()
    part = text.split("### In scripts", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", part, re.DOTALL)


def test_the_readmes_loop_and_pipeline(tmp_path: Path) -> None:
    scripts = readme_scripts()
    assert any("for " in s for s in scripts)
    assert any("xargs" in s for s in scripts)
    (tmp_path / "photos").mkdir()
    for name in ("a b.jpg", "c\nd.jpg", "-e.jpg"):
        make_photo(12, 8).save(tmp_path / "photos" / name)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "adacode").write_text(f'#!/bin/sh\nexec {sys.executable} -m adacode_cli "$@"\n')
    (bin_folder / "adacode").chmod(0o755)
    settings = environment(ADACODE_WEIGHTS=str(tmp_path / "tiny.safetensors"))
    settings["PATH"] = f"{bin_folder}{os.pathsep}{settings['PATH']}"
    for script in scripts:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=settings,
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
    expected = {"a b_x4.png", "c\nd_x4.png", "-e_x4.png"}
    folders = {p.parent for p in tmp_path.rglob("*_x4.png")}
    assert len(folders) >= 2
    for folder in folders:
        assert {p.name for p in folder.iterdir()} == expected


def test_ctrl_c_ends_every_device(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        make_photo(300, 260, number).save(tmp_path / "in" / f"{number:02}.png")
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
    assert len(written) < 30
    assert not [name for name in written if "unfinished" in name]
    summary = json.loads((tmp_path / "r.json").read_text())["summary"]
    assert summary["done"] == len(written)
    assert summary["not_started"] == 30 - len(written)
