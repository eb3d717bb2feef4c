"""adacode train and the folders people have: one class, few photos, some beside, none at all."""

from __future__ import annotations

from pathlib import Path

from adacode_cli.model.adacode import AdaCode
from tests.conftest import Command, make_photo

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
    words = ("train", "all", mine.parent, "--steps", "8", *QUICK, "-o", "runs")
    weights = adacode(*words).stdout.strip()
    model = AdaCode.from_file(tmp_path / weights)
    assert model.config.task == "sr"
    assert [book.name for book in model.config.codebooks] == ["mine"]
    book = tmp_path / "runs" / "codebooks" / "mine" / "codebook.safetensors"
    refused = adacode("train", "restoration", mine, *ONCE, "--prior", book, check=1).stderr
    assert "not a prior from `adacode train representation`" in refused


def test_photos_beside_the_classes_are_told(photos: Path, adacode: Command) -> None:
    for number in range(2):
        make_photo(96, 80).save(photos / f"beside{number}.png")
    told = "2 photos beside the classes are left out"
    assert told in adacode("train", "codebook", photos, *ONCE, "-o", "run").stderr
    assert "left out" not in adacode("train", "codebook", photos / "cats", *ONCE, "-o", "r").stderr
