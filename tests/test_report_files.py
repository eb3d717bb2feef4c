"""What --report may overwrite, and where it may be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Command, make_photo, tree

TINY = ("--weights", "tiny.safetensors")
pytestmark = pytest.mark.usefixtures("tiny_weights")


def test_a_report_takes_the_place_of_a_report_alone(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    words = ("sr", "a.png", "-o", "out", "--skip-existing", *TINY, "--report")
    for name in ("n.csv", "n.json"):
        (tmp_path / name).write_text("kept")
        assert "is no earlier report" in adacode(*words, name, check=2).stderr
        assert (tmp_path / name).read_text() == "kept"
        (tmp_path / name).write_text("")
        for done in (name, name):
            adacode(*words, done)
        adacode("sr", "a.png", "-o", "out", "--force", *TINY, "--report", name)
    assert json.loads((tmp_path / "n.json").read_text())["summary"]["done"] == 1
    (tmp_path / "r.json").mkdir()
    assert "r.json: is a folder" in adacode(*words, "r.json", check=2).stderr


def test_a_report_never_takes_the_place_of_a_photo(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "photo.json", "png")
    before = (tmp_path / "photo.json").read_bytes()
    for more in ((), ("--force",)):
        adacode("sr", "photo.json", *TINY, "--report", "./photo.json", *more, check=2)
        assert (tmp_path / "photo.json").read_bytes() == before
    assert tree(tmp_path) == ["photo.json", "tiny.safetensors"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no named pipes here")
def test_a_report_does_not_wait_for_a_pipe(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "r.json")
    told = adacode("sr", "a.png", "-o", "out", *TINY, "--report", "r.json", check=2).stderr
    assert "r.json: exists, and is no earlier report" in told


def test_a_report_may_be_among_the_results(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    adacode("sr", "a.png", "-o", "out", *TINY, "--report", "out/deep/r.CSV")
    assert (tmp_path / "out" / "deep" / "r.CSV").read_text().startswith("input,")
    for out in ("other", "b.png"):
        words = ("sr", "a.png", "-o", out, *TINY, "--report", "missing/r.json")
        assert "its folder is missing" in adacode(*words, check=2).stderr
