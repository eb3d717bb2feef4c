"""adacode train and the folders people have: one class, few photos, some beside, none at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.training.photos import list_skipped
from tests.conftest import Command, environment, make_photo, tree

QUICK = ("--batch", "2", "--patch", "64", "--workers", "0", "--codes", "16")
ONCE = ("--steps", "1", "--batch", "2", "--patch", "64", "--workers", "0")


def save_photos(folder: Path, count: int) -> Path:
    """So many photos in a folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        make_photo(96, 80, seed=number).save(folder / f"{number}.png")
    return folder


def test_a_single_class_goes_through_all_three_stages(tmp_path: Path, adacode: Command) -> None:
    mine = save_photos(tmp_path / "photos" / "mine", 3)
    save_photos(mine / "more", 3)
    words = ("train", "all", mine.parent, "--steps", "8", *QUICK, "-o", "runs")
    weights = adacode(*words).stdout.strip()
    model = AdaCode.from_file(tmp_path / weights)
    assert model.config.task == "sr"
    assert [book.name for book in model.config.codebooks] == ["mine"]
    book = tmp_path / "runs" / "codebooks" / "mine" / "codebook.safetensors"
    for made in (book, tmp_path / "runs" / "prior" / "representation.safetensors"):
        story = json.loads(checkpoint.load(made).metadata["training"])
        assert story["photos"] == 5, made  # and one kept aside
    refused = adacode("train", "restoration", mine, *ONCE, "--prior", book, check=1).stderr
    assert "not a prior from `adacode train representation`" in refused


def test_photos_beside_the_classes_are_told(photos: Path, adacode: Command) -> None:
    for number in range(2):
        make_photo(96, 80).save(photos / f"beside{number}.png")
    told = "2 photos beside the classes left out"
    assert told in adacode("train", "codebook", photos, *ONCE, "-o", "run").stderr
    assert "left out" not in adacode("train", "codebook", photos / "cats", *ONCE, "-o", "r").stderr


def test_skipped_photos_are_listed_by_names_that_are_no_text(tmp_path: Path) -> None:
    list_skipped({Path(os.fsdecode(b"a\xff.png")): "why"}, tmp_path)
    assert (tmp_path / "skipped.txt").read_bytes() == b"a\xff.png: why\n"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("nowhere",), "nowhere: no such folder"),
        (("one.png",), "one.png: is a file; give a folder of photos to train on"),
        (("empty",), "empty: no photo in it to train on"),
        (("mine", "--valid", "empty"), "empty: no photo in it to validate on"),
        (("mine", "--valid", "nowhere"), "nowhere: no such folder"),
        (("mine", "--start-from", "nowhere"), "nowhere: no such file; weights of an earlier run"),
    ],
)
def test_a_folder_that_cannot_be_used_is_said_to_be_what_it_is(
    more: tuple[str, ...], told: str, tmp_path: Path, adacode: Command
) -> None:
    save_photos(tmp_path / "mine", 1)
    make_photo(96, 80).save(tmp_path / "one.png")
    (tmp_path / "empty").mkdir()
    assert told in adacode("train", "codebook", *more, *ONCE, "-o", "run", check=1).stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_prior_is_said_to_be_missing(tmp_path: Path, adacode: Command) -> None:
    mine = save_photos(tmp_path / "mine", 1)
    told = adacode("train", "restoration", mine, *ONCE, "--prior", "nowhere", check=1).stderr
    assert "nowhere: no such file; the result of `adacode train representation` is wanted" in told
    words = ("train", "representation", mine, *ONCE, "--codebooks", "nowhere", "-o", "prior")
    told = adacode(*words, check=1).stderr
    assert "nowhere: no such file; the result of `adacode train codebook` is wanted" in told


def test_results_need_a_folder(tmp_path: Path, adacode: Command) -> None:
    mine = save_photos(tmp_path / "mine", 1)
    before = (mine / "0.png").read_bytes()
    for out in ("mine/0.png", "mine/0.png/run"):
        told = adacode("train", "codebook", mine, *ONCE, "-o", out, check=2).stderr
        assert f"-o {out}: mine/0.png is a file; a run needs a folder" in told
    assert (mine / "0.png").read_bytes() == before


def test_the_folders_of_all_stages_are_looked_at_before_the_first(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "prior").touch()
    told = adacode("train", "all", photos, *ONCE, "-o", "runs", check=2).stderr
    assert "-o runs/prior: runs/prior is a file; a run needs a folder" in told
    assert tree(tmp_path / "runs") == ["prior"]


def test_what_is_done_already_is_told_and_what_differs(photos: Path, adacode: Command) -> None:
    words = ("train", "codebook", photos / "cats", *ONCE, "--codes", "16", "-o", "run")
    assert "done already" not in adacode(*words).stderr
    assert "run: codebook is done already" in adacode(*words).stderr
    told = adacode(*words, "--seed", "1", "--loss", "fine=1", check=2).stderr
    assert "another run (seed 0 there, 1 here; losses " in told
    told = adacode(*words, "--codes", "8", check=2).stderr
    assert "another run (codebooks cats 16 16 there, cats 8 16 here)" in told


def test_one_of_few_photos_is_kept_aside_or_it_is_said_that_none_is(
    tmp_path: Path, adacode: Command
) -> None:
    four, three = (save_photos(tmp_path / str(n), n) for n in (4, 3))
    done = adacode("train", "codebook", four, *ONCE, "-o", "run4")
    assert done.stdout.strip() == "run4/codebook.best.safetensors"
    assert "too few photos" not in done.stderr
    done = adacode("train", "codebook", three, *ONCE, "-o", "run3")
    assert done.stdout.strip() == "run3/codebook.safetensors"
    assert "too few photos to keep any aside: no .best weights, no sheets" in done.stderr
    assert not (tmp_path / "run3" / "sheets").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="it locks no folder")
def test_a_folder_takes_one_run_at_a_time(tmp_path: Path, adacode: Command) -> None:
    mine = save_photos(tmp_path / "mine", 1)
    words = ("train", "codebook", mine, *ONCE, "-o", "run")
    code = (
        "import sys; from pathlib import Path; from adacode_cli.training.alone import alone_in\n"
        "with alone_in(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), **streams) as other:  # type: ignore[call-overload]
        other.stdout.readline()  # now it has the folder
        assert "run: another run is writing here" in adacode(*words, check=1).stderr
        assert tree(tmp_path / "run") == [".lock"]
        other.kill()
    adacode(*words)
