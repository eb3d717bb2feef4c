"""Names that mean something else than they seem to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Command, make_photo, tree

TINY = ("--weights", "tiny.safetensors")
pytestmark = pytest.mark.usefixtures("tiny_weights")


@pytest.mark.parametrize(
    "words",
    [
        ("sr", ""),
        ("sr", "a.png", ""),
        ("sr", "a.png", "-o", ""),
        ("sr", "a.png", "--compare", ""),
        ("sr", "a.png", "--weights", ""),
        ("reconstruct", "a.png", "--weights", ""),
        ("inpaint", "a.png", "--mask", ""),
        ("degrade", "", "-o", "set"),
        ("weights", "convert", "", "b.safetensors"),
        ("weights", "info", ""),
    ],
)
def test_an_empty_name_is_no_folder(
    words: tuple[str, ...], tmp_path: Path, adacode: Command
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    before = tree(tmp_path)
    assert "an empty name" in adacode(*words, check=2).stderr
    assert tree(tmp_path) == before


def test_a_file_that_is_called_as_standard_input(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "-", "png")
    assert adacode("sr", "./-", *TINY).stdout == f"{tmp_path / '-_x4.png'}\n"
    adacode("sr", "./-", "-o", "./-/out", *TINY, check=1)
    assert tree(tmp_path) == ["-", "-_x4.png", "tiny.safetensors"]
