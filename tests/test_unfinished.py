"""A file gets its name when it is whole, whatever others do there in the meantime."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adacode_cli.evaluation.sheet import save_sheet
from adacode_cli.evaluation.test_set import save_png
from adacode_cli.images.unfinished import HOST, OccupiedError, remove_unfinished, unfinished
from adacode_cli.restore.reconstruction.codes import save_arrays
from tests.conftest import environment, make_photo

LINKS = ["links", "no links", "no such function"]


@pytest.fixture(params=LINKS)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, of a file system with links or without."""
    if request.param == "no such function":
        monkeypatch.delattr(os, "link")
    if request.param == "no links":

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def write(path: Path, text: str, *, replace: bool = False) -> None:
    with unfinished(path, replace=replace) as (file, finish):
        file.write(text.encode())
        finish()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_appears_while_a_file_is_written_is_kept(folder: Path) -> None:
    with unfinished(folder / "a", replace=False) as (file, finish):
        file.write(b"new")
        (folder / "a").write_text("precious")
        with pytest.raises(OccupiedError, match="exists already; use --force"):
            finish()
    assert (folder / "a").read_text() == "precious"
    write(folder / "a", "wanted", replace=True)
    assert (folder / "a").read_text() == "wanted"
    write(folder / "b", "free")
    assert (folder / "b").read_text() == "free"
    assert names(folder) == ["a", "b"]


@pytest.mark.parametrize(
    "save",
    [
        lambda path: save_sheet([Image.new("RGB", (8, 8))], path),
        lambda path: save_arrays(path, {"a": np.zeros(1)}),
        lambda path: save_png(np.zeros((8, 8, 3), np.uint8), path),
    ],
)
def test_what_cannot_be_written_is_named_as_it_was_to_be(
    save: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(OSError, match=r"taken: can't be written \(") as told:
        save(path)
    assert "unfinished" not in str(told.value)
    assert names(tmp_path) == ["taken"]


def test_a_link_to_nothing_is_kept(folder: Path) -> None:
    (folder / "a").symlink_to("nowhere")
    with pytest.raises(OccupiedError):
        write(folder / "a", "new")
    assert (folder / "a").readlink() == Path("nowhere")
    assert names(folder) == ["a"]


def test_what_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    with unfinished(tmp_path / "a") as (file, finish):
        os.utime(next(tmp_path.iterdir()), (0, 0))
        remove_unfinished(tmp_path)
        file.write(b"whole")
        finish()
    assert (tmp_path / "a").read_text() == "whole"


def test_leftovers_go_when_they_are_surely_nobodys(tmp_path: Path) -> None:
    drawn = "0123456789abcdef"
    stays = [f".elsewhere.{drawn}.unfinished", f".{HOST}.1.0.unfinished"]
    for name in (*stays, f".{HOST}.{drawn}.unfinished", ".notes.unfinished"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert names(tmp_path) == sorted([*stays, ".notes.unfinished"])
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 90_000,) * 2)
    remove_unfinished(tmp_path)
    assert names(tmp_path) == [".notes.unfinished"]


PROCESS = """
import sys
from pathlib import Path
from adacode_cli.images.unfinished import remove_unfinished, unfinished
path = Path(sys.argv[1])
remove_unfinished(path.parent)
with unfinished(path) as (file, finish):
    file.write(b"whole")
    print("open", flush=True)
    sys.stdin.read()
    finish()
"""


def test_processes_that_share_their_number_keep_their_files(tmp_path: Path) -> None:
    alone = ["unshare", "-p", "-f"]  # as a container does: each process is the first
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("NOT TESTED: no namespace of processes may be made here")
    running = []
    for name in "ab":
        process = subprocess.Popen(
            [*alone, sys.executable, "-c", PROCESS, str(tmp_path / name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        running.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
    for process in running:
        process.communicate()
        assert process.returncode == 0
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.usefixtures("tiny_weights")
def test_a_file_that_appears_while_a_photo_is_restored_is_kept(tmp_path: Path) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "precious").write_text("precious")
    code, out, told = meanwhile(tmp_path, "precious", "r.png")
    assert code == 1
    assert out == b""
    assert b"error: r.png: exists already; use --force" in told
    assert (tmp_path / "r.png").read_text() == "precious"


@pytest.mark.usefixtures("tiny_weights")
def test_what_another_run_has_done_meanwhile_is_done_before(tmp_path: Path) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "none").write_text("")
    code, _, _ = meanwhile(tmp_path, "none", "elsewhere")
    assert code == 0
    code, out, _ = meanwhile(tmp_path, "r.png", "r.png", "--skip-existing", "--json")
    assert code == 0
    result, summary = (json.loads(line) for line in out.splitlines())
    assert (result["status"], summary["summary"]["skipped"]) == ("skipped", 1)
    assert result["input_size"] is None  # as of one that was there from the start


def meanwhile(folder: Path, made: str, place: str, *more: str) -> tuple[int, bytes, bytes]:
    """Restore a.png into r.png, and move ``made`` to ``place`` before the photo is there.

    Returns the exit code, stdout and stderr.
    """
    others = ["--weights", "tiny.safetensors", "--device", "cpu", *more]
    waiting = (folder / made).rename(folder / "waiting")
    with subprocess.Popen(
        [sys.executable, "-m", "adacode_cli", "sr", "-", "-o", "r.png", *others],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
    ) as run:
        assert run.stderr
        while b" on cpu" not in run.stderr.readline():
            assert run.poll() is None
        waiting.rename(folder / place)
        out, told = run.communicate((folder / "a.png").read_bytes())
    return run.returncode, out, told
