"""`adacode inpaint` on real files: what is filled, what stays, and what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import png
import pytest
import torch
from PIL import ExifTags, Image, ImageDraw

from adacode_cli.images.mask_names import MaskNames
from adacode_cli.images.masks import MaskChoice, MaskFiles, doubts
from adacode_cli.images.naming import Source
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.restore.inpainting.inpaint import MIRRORED, brightness, painter, steadied
from tests.conftest import Command, environment, make_photo, tiny_config, tiny_model


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """inpaint.safetensors, untrained, in the folder where the command runs."""
    monkeypatch.setenv("ADACODE_CONFIG", str(tmp_path / "config.toml"))
    torch.manual_seed(0)
    model = AdaCode(tiny_config("reconstruct", 1).restoring("inpaint", 1))
    checkpoint.save(tmp_path / "inpaint.safetensors", model.config, model.state_dict())


def a_mask(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def by_opencv(path: Path) -> Any:
    samples = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert samples is not None
    return samples


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_known_pixels_are_the_files_own_at_8_bits(
    mode: str, tmp_path: Path, adacode: Command
) -> None:
    photo = make_photo(90, 70).convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "a person"
    photo.save(tmp_path / "a.png", exif=exif)
    a_mask(90, 70, (30, 20, 50, 40)).save(tmp_path / "m.png")
    done = adacode("inpaint", "a.png", "--mask", "m.png", "--weights", "inpaint.safetensors")
    assert done.stdout == "a_inpainted.png\n"
    before, after = by_opencv(tmp_path / "a.png"), by_opencv(tmp_path / "a_inpainted.png")
    changed: Any = (before != after).reshape(70, 90, -1).any(axis=2)
    hole = np.asarray(by_opencv(tmp_path / "m.png") > 0)
    assert not changed[~hole].any()
    assert changed[hole].mean() > 0.9
    with Image.open(tmp_path / "a_inpainted.png") as out:
        assert out.mode == mode
        assert out.getexif()[ExifTags.Base.Artist] == "a person"


@pytest.mark.usefixtures("weights")
def test_known_pixels_are_the_files_own_at_16_bits(tmp_path: Path, adacode: Command) -> None:
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (60, 80, 3), dtype=np.uint16)
    with (tmp_path / "deep.png").open("wb") as file:
        png.Writer(80, 60, greyscale=False, bitdepth=16).write(file, deep.reshape(60, -1))
    a_mask(80, 60, (20, 20, 40, 40)).save(tmp_path / "m.png")
    words = ("--mask", "m.png", "--grow", "3", "--feather", "4", "--weights", "inpaint.safetensors")
    adacode("inpaint", "deep.png", *words)
    with (tmp_path / "deep_inpainted.png").open("rb") as file:
        width, height, rows, info = png.Reader(file).read()
        after = np.array([list(row) for row in rows], np.uint16).reshape(height, width, 3)
    assert info["bitdepth"] == 16
    changed = (after != deep).any(axis=2)
    y, x = np.mgrid[:60, :80]
    away = np.hypot(np.maximum(abs(x - 30) - 10, 0), np.maximum(abs(y - 30) - 10, 0))
    assert not changed[away > 3].any()
    assert changed[away <= 3].mean() > 0.9


@pytest.mark.usefixtures("weights")
def test_a_hole_is_where_the_photo_is_transparent_or_painted(
    tmp_path: Path, adacode: Command
) -> None:
    photo = make_photo(64, 64)
    hole = a_mask(64, 64, (16, 16, 31, 31))
    cut = photo.convert("RGBA")
    cut.putalpha(hole.point(lambda v: 255 - v))
    cut.save(tmp_path / "cut.png")
    painted = photo.copy()
    painted.paste((255, 0, 255), mask=hole)
    painted.save(tmp_path / "painted.png")
    use = ("--weights", "inpaint.safetensors")
    adacode("inpaint", "cut.png", "--mask", "alpha", *use)
    adacode("inpaint", "painted.png", "--mask-color", "#ff00ff", *use)
    with Image.open(tmp_path / "cut_inpainted.png") as out:
        assert out.getchannel("A").getextrema() == (255, 255)
        from_alpha = np.asarray(out.convert("RGB"))
    with Image.open(tmp_path / "painted_inpainted.png") as out:
        from_paint = np.asarray(out)
    assert np.array_equal(from_alpha, from_paint)
    assert np.array_equal(from_paint[32:], np.asarray(photo)[32:])
    assert not (from_paint[16:32, 16:32] == (255, 0, 255)).all(axis=2).any()


@pytest.mark.usefixtures("weights")
def test_what_is_removed_lends_no_colour_to_what_nobody_sees(
    tmp_path: Path, adacode: Command
) -> None:
    photo = Image.new("RGBA", (64, 64), (120, 120, 120, 255))
    photo.paste((0, 0, 0, 0), (0, 0, 32, 64))
    gray = photo.copy()
    photo.paste((255, 0, 0, 255), (32, 16, 48, 32))
    photo.save(tmp_path / "red.png")
    gray.save(tmp_path / "gray.png")
    a_mask(64, 64, (32, 16, 47, 31)).save(tmp_path / "m.png")
    use = ("--mask", "m.png", "--weights", "inpaint.safetensors")
    adacode("inpaint", "red.png", "gray.png", *use)
    red, same = (by_opencv(tmp_path / f"{name}_inpainted.png") for name in ("red", "gray"))
    assert np.array_equal(red, same)


@pytest.mark.usefixtures("weights")
def test_paint_is_not_feathered_in(tmp_path: Path, adacode: Command) -> None:
    make_photo(40, 40).save(tmp_path / "a.png")
    words = ("--mask-color", "#ff00ff", "--feather", "4", "--weights", "inpaint.safetensors")
    assert "--feather" in adacode("inpaint", "a.png", *words, check=2).stderr


@pytest.mark.usefixtures("weights")
def test_a_folder_of_photos_takes_a_folder_of_masks(tmp_path: Path, adacode: Command) -> None:
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for name in "abc":
        make_photo(40, 40).save(tmp_path / "photos" / f"{name}.png")
    a_mask(40, 40, (5, 5, 9, 9)).save(tmp_path / "masks" / "a.png")
    a_mask(40, 40, (25, 25, 29, 29)).save(tmp_path / "masks" / "b.bmp")
    words = ("--mask", "masks", "--weights", "inpaint.safetensors", "-o", "out")
    done = adacode("inpaint", "photos", *words, check=1)
    assert done.stdout == "out/a_inpainted.png\nout/b_inpainted.png\n"
    assert "no mask named c.*" in done.stderr
    a, b = (by_opencv(tmp_path / "out" / f"{name}_inpainted.png") for name in "ab")
    differs = (a != b).any(axis=2)
    assert differs[5:10, 5:10].any()
    assert differs[25:30, 25:30].any()
    assert differs.sum() <= 50


def test_standard_input_has_no_name_for_a_mask(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "masks").mkdir()
    told = adacode("inpaint", "-", "--mask", "masks", "-o", "out.png", check=2).stderr
    assert "--mask masks: standard input has no name; give the mask's file" in told


@pytest.mark.usefixtures("weights")
def test_masks_follow_the_tree_or_go_by_an_unambiguous_name(
    tmp_path: Path, adacode: Command
) -> None:
    for name in ("a/x.png", "b/x.png", "b/y.png", "c/z.png", "x.png"):
        for folder in ("photos", "masks"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(40, 40).save(tmp_path / "photos" / name)
    a_mask(40, 40, (5, 5, 9, 9)).save(tmp_path / "masks" / "x.png")
    a_mask(40, 40, (25, 25, 29, 29)).save(tmp_path / "masks" / "a" / "x.png")
    a_mask(40, 40, (25, 5, 29, 9)).save(tmp_path / "masks" / "y.png")
    words = ("--mask", "masks", "--weights", "inpaint.safetensors", "-o", "out")
    done = adacode("inpaint", "photos", "-r", *words, check=1)
    results = ("a/x_inpainted.png", "b/y_inpainted.png", "x_inpainted.png")
    assert done.stdout.split() == [f"out/{name}" for name in results]
    assert "b/x.png: masks/x.png may be any x's mask; put its own into masks/b" in done.stderr
    assert "z.png: no mask named c/z.* or z.* in masks" in done.stderr
    before = by_opencv(tmp_path / "photos" / "x.png")
    for name, top, left in zip(results, (25, 5, 5), (25, 25, 5), strict=True):
        changed = (by_opencv(tmp_path / "out" / name) != before).any(axis=2)
        assert changed.any()
        assert changed.sum() == changed[top : top + 5, left : left + 5].sum()
    two = ("photos/a/x.png", "photos/b/x.png")
    told = adacode("inpaint", *two, *words[:-2], check=1).stderr
    assert told.count("may be any x's mask; restore one after the other") == 2


def test_a_folder_of_masks_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("masks/deep/0.png", "masks/1.png", "masks/2.gif", "photos/deep/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    photos = [tmp_path / "photos" / "deep" / f"{number}.png" for number in range(3)]
    read, usual = [], Path.iterdir

    def counted(folder: Path) -> Iterator[Path]:
        read.append(folder.name)
        return usual(folder)

    monkeypatch.setattr(Path, "iterdir", counted)
    names = MaskNames([Source(photo, tmp_path / "photos") for photo in photos])
    found = [names.find(photo, tmp_path / "masks") for photo in photos]
    assert [mask.name for mask in found] == ["0.png", "1.png", "2.gif"]
    assert read == ["deep", "masks"]


@pytest.mark.usefixtures("weights")
def test_another_mask_makes_another_result(tmp_path: Path, adacode: Command) -> None:
    make_photo(40, 40).save(tmp_path / "a.png")
    a_mask(40, 40, (5, 5, 9, 9)).save(tmp_path / "m.png")
    words = ("inpaint", "a.png", "--mask", "m.png", "--weights", "inpaint.safetensors")
    adacode(*words)
    assert "done before" in adacode(*words, "--skip-existing").stderr
    a_mask(40, 40, (5, 5, 12, 12)).save(tmp_path / "m.png")
    assert "other settings" in adacode(*words, "--skip-existing", check=1).stderr


@pytest.mark.usefixtures("weights")
def test_a_mask_that_is_added_leaves_the_other_results_alone(
    tmp_path: Path, adacode: Command
) -> None:
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        make_photo(40, 40).save(tmp_path / "photos" / f"{name}.png")
        a_mask(40, 40, (5, 5, 9, 9)).save(tmp_path / "masks" / f"{name}.png")
    words = ("inpaint", "photos", "--mask", "masks", "--weights", "inpaint.safetensors")
    adacode(*words, "-o", "out")
    make_photo(40, 40).save(tmp_path / "photos" / "c.png")
    a_mask(40, 40, (25, 5, 29, 9)).save(tmp_path / "masks" / "c.png")
    assert "1 restored, 2 done before" in adacode(*words, "-o", "out").stderr
    a_mask(40, 40, (5, 5, 12, 9)).save(tmp_path / "masks" / "b.png")
    refused = adacode(*words, "-o", "out", check=1).stderr
    assert refused.count("other settings") == 1
    assert "b_inpainted.png" in refused


@pytest.mark.usefixtures("weights")
def test_odd_masks_are_said(tmp_path: Path, adacode: Command) -> None:
    photo = make_photo(48, 40)
    photo.save(tmp_path / "a.png")
    use = ("--weights", "inpaint.safetensors", "--force")
    Image.new("L", (48, 40), 0).save(tmp_path / "empty.png")
    done = adacode("inpaint", "a.png", "--mask", "empty.png", *use)
    assert "empty" in done.stderr
    with Image.open(tmp_path / "a_inpainted.png") as out:
        assert out.tobytes() == photo.tobytes()
    assert (
        "everything" in adacode("inpaint", "a.png", "--mask", "empty.png", "--invert", *use).stderr
    )
    inverted = a_mask(48, 40, (10, 10, 20, 20)).point(lambda v: 255 - v)
    inverted.save(tmp_path / "inverted.png")
    done = adacode("inpaint", "a.png", "--mask", "inverted.png", *use, "--json")
    assert "--invert" in json.loads(done.stdout.splitlines()[0])["warnings"][0]
    done = adacode("inpaint", "a.png", "--mask", "inverted.png", "--invert", *use)
    assert "inverted" not in done.stderr
    small = a_mask(48, 40, (10, 10, 20, 20))
    small.save(tmp_path / "small.png")
    done = adacode("inpaint", "a.png", "--mask", "small.png", "--invert", *use)
    assert "looks inverted; is it meant without --invert?" in done.stderr
    done = adacode("inpaint", "a.png", "--mask-color", "#12fe34", *use)
    assert "none of it is of --mask-color" in done.stderr
    adacode("inpaint", "a.png", "--mask", "inverted.png", "--invert", *use)
    with Image.open(tmp_path / "a_inpainted.png") as out:
        assert np.array_equal(np.asarray(out)[21:], np.asarray(photo)[21:])


def test_what_is_all_but_everything_is_not_all() -> None:
    mask = np.ones((120, 120), bool)
    mask[60, 60] = False
    assert "covers 99%" in str(doubts(mask, MaskChoice(mask="alpha")))


@pytest.mark.parametrize("depth", [8, 16])
def test_a_mask_is_whatever_is_not_black(depth: int, tmp_path: Path) -> None:
    labels = np.zeros((8, 8), np.uint8 if depth == 8 else np.uint16)
    labels[2:4, 5] = 1
    Image.fromarray(labels).save(tmp_path / "m.png")
    assert np.array_equal(MaskFiles().mask(tmp_path / "m.png"), labels > 0)


@pytest.mark.usefixtures("weights")
def test_a_mask_of_another_size_is_refused_with_both_sizes(
    tmp_path: Path, adacode: Command
) -> None:
    make_photo(48, 40).save(tmp_path / "a.png")
    a_mask(24, 20, (4, 4, 8, 8)).save(tmp_path / "m.png")
    words = ("inpaint", "a.png", "--mask", "m.png", "--weights", "inpaint.safetensors")
    error = adacode(*words, check=1).stderr
    assert "24×20" in error
    assert "48×40" in error
    adacode(*words, "--resize-mask")
    before, after = by_opencv(tmp_path / "a.png"), by_opencv(tmp_path / "a_inpainted.png")
    changed = (before != after).any(axis=2)
    assert changed[8:18, 8:18].mean() > 0.9
    assert changed.sum() <= 100


@pytest.mark.usefixtures("weights")
def test_the_limit_on_pixels_is_for_masks_too(tmp_path: Path, adacode: Command) -> None:
    make_photo(48, 40).save(tmp_path / "a.png")
    a_mask(2000, 1000, (400, 400, 800, 800)).save(tmp_path / "m.png")
    words = ("inpaint", "a.png", "--mask", "m.png", "--resize-mask")
    use = ("--weights", "inpaint.safetensors")
    error = adacode(*words, *use, "--max-pixels", "1M", check=1).stderr
    assert "m.png: 2 megapixels in it, and 1 are allowed" in error
    adacode(*words, *use, "--max-pixels", "2M")


@pytest.mark.usefixtures("weights")
@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="a pipe has no name here")
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_mask_comes_through_a_pipe(kind: str, tmp_path: Path, adacode: Command) -> None:
    for name in "ab":
        make_photo(48, 40).save(tmp_path / f"{name}.png")
    a_mask(48, 40, (8, 8, 15, 15)).save(tmp_path / f"m.{kind}", quality=50)
    use = ("--weights", "inpaint.safetensors")
    words = ("inpaint", "a.png", "b.png", "--mask", "/dev/stdin", "-o", "piped", *use)
    content = (tmp_path / f"m.{kind}").read_bytes()
    command = [sys.executable, "-m", "adacode_cli", *words]
    subprocess.run(command, input=content, check=True, cwd=tmp_path, env=environment())
    again = ("--mask", f"m.{kind}", "-o", "piped", "--skip-existing")
    assert "2 done before" in adacode("inpaint", "a.png", "b.png", *again, *use).stderr
    adacode("inpaint", "a.png", "--mask", f"m.{kind}", "-o", "read", *use)
    one, other = (by_opencv(tmp_path / f / "a_inpainted.png") for f in ("piped", "read"))
    assert np.array_equal(one, other)


@pytest.mark.usefixtures("weights")
def test_a_file_is_lossy_by_its_content_whatever_it_is_called(
    tmp_path: Path, adacode: Command
) -> None:
    photo, use = make_photo(48, 40), ("--weights", "inpaint.safetensors")
    photo.save(tmp_path / "a.png")
    mask = a_mask(48, 40, (16, 16, 23, 23)).convert("RGB")
    mask.save(tmp_path / "one.jpg", quality=80)
    # As phones write them: several JPEGs in one file.
    mask.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[mask], quality=80)
    for name in ("one", "two"):
        adacode("inpaint", "a.png", "--mask", f"{name}.jpg", "-o", name, *use)
    assert np.array_equal(*(by_opencv(tmp_path / n / "a_inpainted.png") for n in ("one", "two")))
    photo.paste((255, 0, 255), (16, 16, 24, 24))
    photo.save(tmp_path / "p.jpg", quality=80)
    (tmp_path / "q").write_bytes((tmp_path / "p.jpg").read_bytes())
    photo.save(tmp_path / "p.ppm")
    for name in ("p.jpg", "q", "p.ppm"):
        adacode("inpaint", name, "--mask-color", "#f0f", "-o", f"{name}.png", *use)
    assert np.array_equal(by_opencv(tmp_path / "p.jpg.png"), by_opencv(tmp_path / "q.png"))


@pytest.mark.usefixtures("weights")
def test_a_lossy_result_is_said(tmp_path: Path, adacode: Command) -> None:
    make_photo(48, 40).save(tmp_path / "a.png")
    a_mask(48, 40, (4, 4, 8, 8)).save(tmp_path / "m.png")
    use = ("--mask", "m.png", "--weights", "inpaint.safetensors")
    assert "codec of JPEG" in adacode("inpaint", "a.png", "-o", "b.jpg", *use).stderr
    assert "codec" not in adacode("inpaint", "a.png", "-o", "b.webp", "--lossless", *use).stderr
    with Image.open(tmp_path / "b.webp") as out, Image.open(tmp_path / "a.png") as photo:
        assert np.array_equal(np.asarray(out)[9:], np.asarray(photo)[9:])


@pytest.mark.usefixtures("weights")
def test_a_large_hole_is_filled_from_its_surroundings(tmp_path: Path, adacode: Command) -> None:
    """Red on the left, blue on the right: the network is untrained, the coarse is from them."""
    field = np.zeros((400, 500, 3), np.uint8)
    field[:, :250], field[:, 250:] = (200, 40, 40), (40, 40, 200)
    Image.fromarray(field).save(tmp_path / "a.png")
    a_mask(500, 400, (100, 50, 399, 349)).save(tmp_path / "m.png")
    adacode("inpaint", "a.png", "--mask", "m.png", "--weights", "inpaint.safetensors")
    with Image.open(tmp_path / "a_inpainted.png") as out:
        filled = np.asarray(out).astype(int)
    assert np.array_equal(filled[:50], field[:50])
    left, right = filled[150:250, 140:180].mean((0, 1)), filled[150:250, 320:360].mean((0, 1))
    assert left[0] > left[2] + 30
    assert right[2] > right[0] + 30


@pytest.mark.parametrize(("channels", "passes"), [(4, 2), (3, 1)])
def test_the_published_network_paints_once(channels: int, passes: int) -> None:
    config = SimpleNamespace(in_channels=channels)
    seen: list[int] = []

    def restore(image: torch.Tensor) -> torch.Tensor:
        seen.append(len(image))
        return image[:3]

    restorer: Any = SimpleNamespace(model=SimpleNamespace(config=config), restore_any=restore)
    painter(restorer)(torch.rand(3, 8, 8), torch.ones(8, 8, dtype=torch.bool))
    assert seen == [channels] * passes


def test_what_the_mirror_image_says_counts_in_brightness_alone() -> None:
    ours, theirs = torch.rand(2, 3, 8, 12)
    hole = torch.zeros(8, 12, dtype=torch.bool)
    hole[2:6, :4] = True  # in the mirror image it is at the right

    def paint(_rgb: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return ours if mask[2, 0] else theirs.flip(2)

    painted = steadied(paint)(torch.rand(3, 8, 12), hole)
    wanted = torch.lerp(brightness(ours), brightness(theirs), MIRRORED)
    torch.testing.assert_close(brightness(painted), wanted)
    torch.testing.assert_close(painted - brightness(painted), ours - brightness(ours))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "--mask"),
        (("--mask", "m.png", "--mask-color", "#fff"), 2, "--mask and --mask-color exclude each"),
        (("--mask", "nothing.png"), 2, "nothing.png"),
        (("--mask-color", "#12"), 2, "#12"),
        (("--mask", "m.png", "--color-lock"), 2, "--color-lock"),
        (("--mask", "alpha"), 1, "transparency"),
        (("--mask", "m.png", "--weights", "sr.safetensors"), 1, "for sr"),
    ],
)
@pytest.mark.usefixtures("weights")
def test_a_mistake_is_one_clear_line(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path, adacode: Command
) -> None:
    make_photo(16, 16).save(tmp_path / "a.png")
    a_mask(16, 16, (4, 4, 8, 8)).save(tmp_path / "m.png")
    model = tiny_model("sr", 4)
    checkpoint.save(tmp_path / "sr.safetensors", model.config, model.state_dict())
    before = sorted(tmp_path.iterdir())
    use = () if "--weights" in words else ("--weights", "inpaint.safetensors")
    done = adacode("inpaint", "a.png", *words, *use, check=code)
    problems = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(problems) == 1
    assert says in problems[0]
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before
