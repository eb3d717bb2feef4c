"""A file gets its name when it is whole, whatever others do there in the meantime."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adacode_cli.images.unfinished import HOST, OccupiedError, remove_unfinished, unfinished
from tests.conftest import environment, make_photo

LINKS = [True, False]


@pytest.fixture(params=LINKS, ids=["links", "no links"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, of a file system with links or without."""
    if not request.param:

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
    words = ["sr", "-", "-o", "r.png", "--weights", "tiny.safetensors", "--device", "cpu"]
    command = [sys.executable, "-m", "adacode_cli", *words]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    ) as run:
        assert run.stderr
        while b" on cpu" not in run.stderr.readline():
            assert run.poll() is None
        (tmp_path / "r.png").write_text("precious")
        out, told = run.communicate((tmp_path / "a.png").read_bytes())
    assert run.returncode == 1
    assert out == b""
    assert b"error: r.png: exists already; use --force" in told
    assert (tmp_path / "r.png").read_text() == "precious"
