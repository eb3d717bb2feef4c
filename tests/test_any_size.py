"""`adacode sr` at any size, and the sheet of before and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adacode_cli.images.wanted_size import SUFFIX, WantedSize, passes, scale_for
from tests.conftest import Command, make_photo, rows, tiny_model

USE = ("--weights", "tiny.safetensors")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.usefixtures("tiny_weights")
@pytest.mark.parametrize(
    ("words", "name", "size"),
    [
        (("--scale", "1.5"), "a_x1.5.png", (60, 45)),
        (("--scale", "3"), "a_x3.png", (120, 90)),
        (("--scale", "8"), "a_x8.png", (320, 240)),
        (("--width", "100"), "a_w100.png", (100, 75)),
        (("--height", "100"), "a_h100.png", (133, 100)),
        (("--long-edge", "70"), "a_long70.png", (70, 52)),
        (("--short-edge", "70"), "a_short70.png", (93, 70)),
        (("--megapixels", "0.012"), "a_0.012mp.png", (126, 95)),
        (("--fit", "100x60"), "a_fit100x60.png", (80, 60)),
    ],
)
def test_a_result_has_the_size_that_was_asked_for(
    words: tuple[str, ...], name: str, size: tuple[int, int], tmp_path: Path, adacode: Command
) -> None:
    make_photo(40, 30).save(tmp_path / "a.png")
    planned = adacode("sr", "a.png", *USE, *words, "--dry-run").stdout
    assert f"{size[0]}×{size[1]}" in planned
    assert adacode("sr", "a.png", *USE, *words).stdout == f"{name}\n"
    assert size_of(tmp_path / name) == size


@pytest.mark.usefixtures("tiny_weights")
@pytest.mark.parametrize(
    "words",
    [
        ("--width", "99999999"),
        ("--height", "961"),
        ("--long-edge", "1281"),
        ("--short-edge", "961"),
        ("--megapixels", "2000000"),
        ("--fit", "99999x99999"),
    ],
)
def test_no_option_enlarges_beyond_the_limit(
    words: tuple[str, str], tmp_path: Path, adacode: Command
) -> None:
    make_photo(40, 30).save(tmp_path / "a.png")
    for more in ((), ("--dry-run",)):
        done = adacode("sr", "a.png", *USE, *words, *more, check=1)
        (error,) = [line for line in done.stderr.splitlines() if "error" in line]
        assert f"a.png: {' '.join(words)} would make 40×30 pixels" in error
        assert "32 times is the most" in error
    assert not list(tmp_path.glob("a_*"))


def test_every_suffix_is_known_again() -> None:
    for wish in (
        WantedSize(scale=1.5),
        WantedSize(megapixels=0.00001),
        WantedSize(megapixels=2.5e7),
        WantedSize(width=1),
        WantedSize(height=1920),
        WantedSize(long_edge=10),
        WantedSize(short_edge=10),
        WantedSize(fit=(10, 20)),
    ):
        assert re.fullmatch(SUFFIX, wish.suffix)
    assert not re.fullmatch(SUFFIX, "_2mpx")


def test_the_limit_itself_is_allowed() -> None:
    assert WantedSize(width=1280).size_for((40, 30)) == (1280, 960)


@pytest.mark.usefixtures("tiny_weights")
def test_it_is_the_networks_result_reduced(tmp_path: Path, adacode: Command) -> None:
    make_photo(40, 32).convert("RGBA").save(tmp_path / "a.png")
    adacode("sr", "a.png", *USE, "--precision", "fp32")
    adacode("sr", "a.png", *USE, "--precision", "fp32", "--scale", "2")
    with Image.open(tmp_path / "a_x4.png") as full, Image.open(tmp_path / "a_x2.png") as out:
        expected = np.asarray(full.convert("RGB").resize((80, 64), Image.Resampling.LANCZOS))
        assert out.mode == "RGBA"
        assert out.getchannel("A").getextrema() == (255, 255)
        difference = abs(np.asarray(out.convert("RGB")).astype(int) - expected)
    assert difference.max() <= 2


@pytest.mark.usefixtures("tiny_weights")
def test_what_is_large_enough_is_copied_or_left_alone(tmp_path: Path, adacode: Command) -> None:
    large, small = make_photo(90, 60), make_photo(30, 20)
    large.save(tmp_path / "large.png")
    small.save(tmp_path / "small.png")
    words = ("sr", "large.png", "small.png", *USE, "--width", "60")
    done = adacode(*words, "--json", "-o", "copied")
    first, _ = rows(done.stdout)[0]
    assert "copied as it is" in first["warnings"][0]
    with Image.open(tmp_path / "copied" / "large_w60.png") as out:
        assert out.tobytes() == large.tobytes()
    done = adacode(*words, "--if-larger", "skip", "-o", "skipped")
    assert done.stdout == "skipped/small_w60.png\n"
    assert "large enough" in done.stderr
    assert "1 left alone" in done.stderr
    assert [p.name for p in (tmp_path / "skipped").iterdir()] == ["small_w60.png"]


@pytest.mark.usefixtures("tiny_weights")
def test_a_sheet_shows_before_and_after(tmp_path: Path, adacode: Command) -> None:
    for name in "ab":
        make_photo(120, 80).save(tmp_path / f"{name}.png")
    adacode("sr", "a.png", *USE, "--compare", "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * 640 + 8
        pixels = np.asarray(sheet).astype(int)
    left, right = pixels[28:440, :640], pixels[28:440, 648:]
    assert abs(left - right).mean() > 1
    adacode("sr", "a.png", "b.png", *USE, "-o", "out", "--compare", "sheets")
    assert sorted(p.name for p in (tmp_path / "sheets").iterdir()) == ["a.png", "b.png"]


def test_the_nearest_model_is_used_as_often_as_it_takes() -> None:
    assert [scale_for(f, [2, 4]) for f in (1.5, 2, 2.1, 4, 8)] == [2, 2, 4, 4, 4]
    assert [passes(f, 4) for f in (1.5, 4, 4.01, 16, 17)] == [1, 1, 2, 2, 3]
    assert [passes(f, 2) for f in (2, 3, 8)] == [1, 2, 3]
    assert WantedSize(fit=(100, 100)).size_for((50, 200)) == (50, 200)


def test_python_takes_and_returns_every_kind_of_image(tiny_weights: Path) -> None:
    from adacode_cli import Restorer

    restorer = Restorer.load(tiny_weights, device="cpu", precision="fp32")
    with pytest.raises(ValueError, match="no image"):
        _ = restorer.weight_map
    photo = make_photo(40, 32)
    array = np.asarray(photo)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1) / 255
    from_pil, from_array, from_tensor = restorer(photo), restorer(array), restorer(tensor)
    assert isinstance(from_pil, Image.Image)
    assert from_array.dtype == np.uint8
    assert from_tensor.shape == (3, 128, 160)
    assert np.array_equal(np.asarray(from_pil), from_array)
    seen = (from_tensor.permute(1, 2, 0) * 255).round().numpy()
    assert np.array_equal(seen, from_array)
    with torch.no_grad():
        expected = tiny_model("sr", 4)(tensor[None])
    assert torch.equal(restorer.indices, expected.indices[0])
    assert torch.allclose(restorer.weight_map, expected.weight_map[0], atol=1e-5)
    wrong: Any
    for wrong in ("a.png", array[..., 0], array.astype(np.int64), photo.convert("RGBA")):
        with pytest.raises((TypeError, ValueError)):
            restorer(wrong)


def test_python_fills_holes(tmp_path: Path) -> None:
    from adacode_cli import Restorer
    from adacode_cli.model import checkpoint
    from adacode_cli.model.adacode import AdaCode
    from tests.conftest import tiny_config

    torch.manual_seed(0)
    model = AdaCode(tiny_config("reconstruct", 1).restoring("inpaint", 1))
    checkpoint.save(tmp_path / "inpaint.safetensors", model.config, model.state_dict())
    restorer = Restorer.load(tmp_path / "inpaint.safetensors", device="cpu")
    photo = make_photo(60, 44)
    mask = Image.new("L", photo.size, 0)
    mask.paste(255, (20, 10, 35, 25))
    filled = restorer.inpaint(photo, mask)
    assert isinstance(filled, Image.Image)
    changed = (np.asarray(filled) != np.asarray(photo)).any(axis=2)
    hole = np.asarray(mask) > 0
    assert not changed[~hole].any()
    assert changed[hole].mean() > 0.9
    again = restorer.inpaint(np.asarray(photo), torch.from_numpy(hole))
    assert np.array_equal(again, np.asarray(filled))
    assert restorer.indices.shape == (3, 6, 8)
    with pytest.raises(ValueError, match="mask"):
        restorer.inpaint(photo, np.zeros((3, 4)))
