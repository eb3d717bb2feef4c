"""Inputs that can't be used, and what is said of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from adacode_cli.images.folders import Inside
from tests.conftest import Command, make_photo, rows, tree
from tests.processes import give_up_rights, run_command

TINY = ("--weights", "tiny.safetensors")
pytestmark = pytest.mark.usefixtures("tiny_weights")
needs_rights = pytest.mark.skipif(
    sys.platform != "linux", reason="NOT TESTED: rights are given up otherwise there"
)


def humbly(folder: Path, *words: str, check: int) -> subprocess.CompletedProcess[str]:
    """The command without root's rights."""
    done = run_command(list(words), folder, os.environ, give_up_rights)
    assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    start = "adacode: error: "
    return [line.removeprefix(start) for line in done.stderr.splitlines() if start in line]


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """in/: a photo, one that may not be read, and folders that are closed or only listed."""
    modes = {"in/closed": 0o000, "in/listed": 0o444, "in/b.png": 0o000}
    for name in ("in/a.png", "in/b.png", "in/closed/c.png", "in/listed/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(12, 8).save(tmp_path / name)
    for name, mode in modes.items():
        (tmp_path / name).chmod(mode)
    yield tmp_path
    for name in modes:
        (tmp_path / name).chmod(0o700)


@needs_rights
def test_what_may_not_be_read_in_a_folder_is_told_and_fails(forbidden: Path) -> None:
    words = ("sr", "in", "-r", "-o", "out", *TINY)
    told = [
        "in/closed: the folder may not be read",
        "in/b.png: may not be read",
        "in/listed/d.png: may not be read",
    ]
    for more in (("--dry-run",), ()):
        assert errors(humbly(forbidden, *words, *more, check=1)) == told
    assert tree(forbidden / "out") == ["a_x4.png"]
    again, summary = rows(humbly(forbidden, *words, "--json", check=1).stdout)
    assert (summary["failed"], summary["skipped"], summary["total"]) == (3, 1, 4)
    assert again[0]["output"] == "out/closed"
    left = ("--exclude", "closed/*", "--exclude", "listed/*", "--exclude", "b.*")
    humbly(forbidden, *words, *left, check=0)
    [alone] = errors(humbly(forbidden, "sr", "in/closed", *TINY, check=1))
    assert alone == "in/closed: the folder may not be read"


@needs_rights
def test_a_name_that_cannot_be_used_costs_only_itself(forbidden: Path) -> None:
    long = f"{'x' * 300}.png"
    names = ("in/b.png", "in/closed/c.png", long, "in/a.png")
    done = humbly(forbidden, "sr", *names, "-o", "out", *TINY, check=1)
    assert done.stdout == "out/a_x4.png\n"
    assert errors(done) == [
        "in/b.png: may not be read",
        "in/closed/c.png: may not be read",
        f"{long}: can't be read (File name too long)",
    ]
    [alone] = errors(humbly(forbidden, "sr", long, *TINY, check=1))
    assert alone.endswith("(File name too long)")


@needs_rights
def test_a_folder_for_results_that_cannot_be_entered_is_told(forbidden: Path) -> None:
    (forbidden / "out").mkdir(mode=0o600)
    for out in ("out", "out/deeper", "out/x.png"):
        [told] = errors(humbly(forbidden, "sr", "in/a.png", "-o", out, *TINY, check=1))
        assert "nothing can be written into" in told


@needs_rights
def test_a_folder_of_masks_that_may_not_be_read_is_told(forbidden: Path) -> None:
    words = ("inpaint", "in/a.png", "-o", "out", "--mask", "in/closed")
    [told] = errors(humbly(forbidden, *words, check=1))
    assert told == "in/a.png: in/closed: the folder of masks may not be read"
    [told] = errors(humbly(forbidden, *words[:-1], "in/closed/c.png", check=1))
    assert "in/closed/c.png" in told
    assert "no such file" not in told  # nobody knows


@pytest.fixture
def half_closed(tmp_path: Path) -> Iterator[Path]:
    """in/: two classes of photos, in one of them a folder that may not be read."""
    for name in ("in/one/a.png", "in/one/closed/b.png", "in/two/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(96, 80).save(tmp_path / name)
    (tmp_path / "in/one/closed").chmod(0)
    yield tmp_path
    (tmp_path / "in/one/closed").chmod(0o700)


@needs_rights
def test_closed_folders_of_a_test_set_are_told_and_fail(half_closed: Path) -> None:
    told = "in/one/closed: the folder may not be read"
    done = humbly(half_closed, "degrade", "in", "-o", "set", "--scale", "4", check=1)
    assert (errors(done), len(done.stdout.splitlines())) == ([told], 2)
    ways: tuple[tuple[str, ...], ...] = (TINY, ("--reference", "in"))
    for words in ways:
        done = humbly(half_closed, "eval", "in", *words, "--json", check=1)
        assert errors(done) == [told]
        assert len(json.loads(done.stdout)["photos"]) == 2
    (half_closed / "in" / "one" / "a.png").unlink()
    ways = (("degrade", "in/one", "-o", "x"), ("eval", "in/one", *TINY))
    for words in ways:
        assert errors(humbly(half_closed, *words, check=1)) == [told]


@needs_rights
def test_closed_folders_are_told_before_training(half_closed: Path) -> None:
    words = ("--steps", "1", "--batch", "1", "--patch", "64", "--workers", "0", "--codes", "4")
    done = humbly(half_closed, "train", "codebook", "in", *words, "-o", "run", check=0)
    told = "adacode: in/one/closed: the folder may not be read; left out"
    assert told in done.stderr.splitlines()
    more = ("--valid", "in/one", "-o", "other")
    done = humbly(half_closed, "train", "codebook", "in/two", *words, *more, check=0)
    assert told in done.stderr.splitlines()


class Junction:
    """What Windows lists for one."""

    name = "one"

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return True


def test_a_junction_is_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    inside = Inside(deep=True)
    assert not inside.add(cast("os.DirEntry[str]", Junction()), tmp_path / "one")
    assert inside.linked_folders == [tmp_path / "one"]


def test_links_that_lead_nowhere_are_told_as_such(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(12, 8).save(tmp_path / "in" / "a.png")
    links = {"loop.png": "loop.png", "dead.png": "nowhere.png", "loop": "loop", "dead.txt": "x"}
    for name, target in links.items():
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "other").mkdir()
    (tmp_path / "in" / "other").symlink_to(tmp_path / "other")
    for words in (("in/loop.png", "--compare", "c.png"), ("in/a.png", "--compare", "in/loop.png")):
        assert "Traceback" not in adacode("sr", *words, "-o", "new.png", *TINY, check=1).stderr
        (tmp_path / "new.png").unlink(missing_ok=True)
    for name in ("in/loop.png", "in/dead.png", "in/loop"):
        assert f"{name}: a link that leads nowhere" in adacode("sr", name, *TINY, check=1).stderr
    assert "in/loop/a.png: no such file" in adacode("sr", "in/loop/a.png", *TINY, check=1).stderr

    def told(*words: str) -> list[str]:
        done = adacode("sr", "in", "-o", "out", *TINY, "--dry-run", *words)
        return [line for line in done.stderr.splitlines() if "link" in line]

    nowhere = "adacode: in/dead.png and 1 more: links that lead nowhere, left out"
    folder = "adacode: in/other: a link to a folder, left out"
    assert told() == [nowhere]
    assert told("-r") == [nowhere, folder]
    assert told("--exclude", "dead*") == [
        "adacode: in/loop.png: a link that leads nowhere, left out"
    ]
    assert told("--include", "a*") == []


def test_patterns_take_either_case(tmp_path: Path, adacode: Command) -> None:
    for name in ("a.jpg", "B.JPG", "c.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        make_photo(12, 8).save(tmp_path / "in" / name)

    def meant(*words: str) -> list[str]:
        plan = adacode("sr", "in", *words, "-o", "out", "--dry-run", "-q", *TINY).stdout
        return [line.split()[0] for line in plan.splitlines()]

    assert meant("--include", "*.jpg") == ["in/B.JPG", "in/a.jpg"]
    assert meant("--include", "*.JPG", "--exclude", "A*") == ["in/B.JPG"]


def test_what_has_no_name_needs_one(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    for words in ((), ("-o", "out")):
        told = adacode("sr", os.devnull, *words, *TINY, check=1).stderr
        assert f"{os.devnull}: a pipe or a device" in told
        assert "name the result with -o FILE" in told
        assert " on cpu" not in told
    data = (tmp_path / "a.png").read_bytes()
    os.mkfifo(tmp_path / "63")  # as a shell's <(…) is called
    writer = Thread(target=(tmp_path / "63").write_bytes, args=(data,))
    writer.start()
    assert adacode("sr", "63", "-o", "b.png", *TINY).stdout == "b.png\n"
    writer.join(10)
