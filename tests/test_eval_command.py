"""adacode eval and adacode degrade: the same damage for everyone, and honest figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from adacode_cli.evaluation.pairs import Results
from adacode_cli.evaluation.protocol import Protocol
from adacode_cli.evaluation.test_set import names_of
from adacode_cli.images.naming import fitting
from adacode_cli.model import checkpoint
from adacode_cli.model.config import Task
from adacode_cli.training.degradations import Blur, Jpeg, Noise, Resize, follow
from tests.conftest import Command, make_photo, tiny_config, tiny_model, tree

STEPS = {"blur": Blur, "resize": Resize, "noise": Noise, "jpeg": Jpeg}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Three clean photos, one of them in a subfolder."""
    for number, name in enumerate(("a.png", "b.png", "more/a.png")):
        path = tmp_path / "clean" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_photo(96, 72, seed=number).save(path)
    return tmp_path / "clean"


def save_tiny(folder: Path, task: Task, scale: int) -> Path:
    """A tiny network's file."""
    path = folder / f"{task}.safetensors"
    model = tiny_model(task, scale)
    checkpoint.save(path, model.config, model.state_dict())
    return path


def test_a_test_set_can_be_made_again_from_its_record(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    done = adacode("degrade", clean, "-o", "set", "--scale", "2", "--seed", "7")
    assert len(done.stdout.splitlines()) == 3
    record = json.loads((tmp_path / "set" / "degradations.json").read_text())
    assert record["protocol"]["seed"] == 7
    for told in record["photos"]:
        with (
            Image.open(tmp_path / "set" / told["clean"]) as photo,
            Image.open(clean / told["photo"]) as named,
        ):
            original = np.asarray(photo)
            assert np.array_equal(original, np.asarray(named))
        steps = [STEPS[step.pop("step")](**step) for step in told["steps"]]
        with Image.open(tmp_path / "set" / told["degraded"]) as photo:
            assert np.array_equal(follow(tuple(steps), original), np.asarray(photo))
            assert photo.size == (48, 36)
    first = {p: (tmp_path / "set" / p).read_bytes() for p in tree(tmp_path / "set")}
    assert "exists already" in adacode("degrade", clean, "-o", "set", check=2).stderr
    adacode("degrade", clean, "-o", "set", "--scale", "2", "--seed", "7", "--force")
    assert first == {p: (tmp_path / "set" / p).read_bytes() for p in tree(tmp_path / "set")}
    assert "lies within" in adacode("degrade", clean, "-o", clean / "set", check=2).stderr


def test_photos_of_one_name_keep_their_extension_in_a_test_set(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    make_photo(96, 72).save(clean / "a.jpg")
    make_photo(96, 72).save(clean / "two.words.jpg")
    adacode("degrade", clean, "-o", "set")
    names = ["a_jpg.png", "a_png.png", "b.png", "more/a.png", "two.words.png"]
    assert tree(tmp_path / "set" / "clean") == names
    make_photo(96, 72).save(clean / "a_jpg.png")
    refused = adacode("degrade", clean, "-o", "other", check=2).stderr
    assert "would both become a_jpg.png" in refused
    assert not (tmp_path / "other").exists()


def test_a_test_set_takes_the_longest_names(clean: Path, tmp_path: Path, adacode: Command) -> None:
    for name in (f"{'a' * 251}.png", f"{'a' * 251}.jpg", f"{'b' * 249}.png"):
        make_photo(96, 72).save(clean / name)
    adacode("degrade", clean, "-o", "set")
    assert len(tree(tmp_path / "set" / "degraded")) == 3 + 3


def test_names_that_only_some_file_systems_tell_apart_keep_their_extension(tmp_path: Path) -> None:
    photos = [tmp_path / "caf\N{LATIN SMALL LETTER E WITH ACUTE}.png", tmp_path / "cafe\u0301.jpg"]
    names = [name.as_posix() for name in names_of(photos, tmp_path).values()]
    assert names == ["caf\N{LATIN SMALL LETTER E WITH ACUTE}_png.png", "cafe\u0301_jpg.png"]


def test_a_test_set_is_restored_and_compared(clean: Path, tmp_path: Path, adacode: Command) -> None:
    make_photo(96, 72, seed=4).save(clean / "c.jpg")
    weights = save_tiny(tmp_path, "inpaint", 1)
    adacode("degrade", clean, "-o", "set", "--task", "inpaint", "--seed", "7")
    adacode(
        "inpaint", "set/degraded", "-r", "--mask", "set/masks", "-o", "out", "--weights", weights
    )
    told = json.loads(adacode("eval", "out", "--reference", "set/clean", "--json").stdout)
    assert len(told["photos"]) == 4
    # Each with its own: of another photo there is nothing alike.
    assert all(scores["out"]["SSIM"] > 0.5 for scores in told["photos"].values())


def test_a_test_set_without_its_record_is_not_overwritten(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    adacode("degrade", clean, "-o", "set")
    (tmp_path / "set" / "degradations.json").unlink()
    first = {p: (tmp_path / "set" / p).read_bytes() for p in tree(tmp_path / "set")}
    refused = adacode("degrade", clean, "-o", "set", "--seed", "1", check=2).stderr
    assert "clean/a.png: exists already; --force" in refused
    assert first == {p: (tmp_path / "set" / p).read_bytes() for p in tree(tmp_path / "set")}
    adacode("degrade", clean, "-o", "set", "--seed", "1", "--force")


def test_no_seed_is_negative(clean: Path, tmp_path: Path, adacode: Command) -> None:
    for words in (("degrade", clean, "-o", "set"), ("eval", clean), ("train", "codebook", clean)):
        assert "'--seed': -1 is not in" in adacode(*words, "--seed", "-1", check=2).stderr
    assert not (tmp_path / "set").exists()


def test_no_scale_is_zero(clean: Path, tmp_path: Path, adacode: Command) -> None:
    words = ("degrade", clean, "-o", tmp_path / "set", "--scale", "0")
    assert "sr knows no scale 0" in adacode(*words, check=2).stderr
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("kind", ["strokes", "boxes", "outlines"])
def test_holes_are_white_and_the_mask_tells_where(
    kind: str, clean: Path, tmp_path: Path, adacode: Command
) -> None:
    adacode("degrade", clean, "-o", "set", "--task", "inpaint", "--damage", kind)
    for name in ("a.png", "more/a.png"):
        folder = tmp_path / "set"
        photo, holed, mask = (
            np.asarray(Image.open(folder / part / name)) for part in ("clean", "degraded", "masks")
        )
        assert 0 < (mask > 0).mean() < 0.6
        assert np.array_equal(holed[mask == 0], photo[mask == 0])
        assert (holed[mask > 0] == 255).all()


def test_broken_photos_are_told_and_the_rest_is_written(clean: Path, adacode: Command) -> None:
    (clean / "broken.png").write_bytes(b"no picture")
    done = adacode("degrade", clean, "-o", "set", check=1)
    assert "broken.png" in done.stderr
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("task", "scale", "rows"),
    [
        ("sr", 4, {"bicubic", "adacode"}),
        ("inpaint", 1, {"Telea", "Navier-Stokes", "network alone", "adacode"}),
        ("reconstruct", 1, {"adacode"}),
    ],
)
def test_every_task_is_scored_beside_what_anyone_could_do(
    task: Task, scale: int, rows: set[str], clean: Path, tmp_path: Path, adacode: Command
) -> None:
    weights = save_tiny(tmp_path, task, scale)
    words = ("eval", clean, "--task", task, "--weights", weights, "--json")
    told = json.loads(adacode(*words).stdout)
    assert told["mean"].keys() == rows
    assert len(told["photos"]) == 3
    assert ("PSNR hole" in told["mean"]["adacode"]) == (task == "inpaint")
    again = json.loads(adacode(*words, "--every", "3").stdout)
    assert len(again["photos"]) == 1


def test_without_texture_the_network_is_scored_once(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    words = ("--task", "inpaint", "--weights", save_tiny(tmp_path, "inpaint", 1), "--every", "3")
    told = json.loads(adacode("eval", clean, *words, "--texture", "none", "--json").stdout)
    assert told["mean"].keys() == {"Telea", "Navier-Stokes", "adacode"}


def test_coarser_weights_are_scored_beside_the_exact_ones(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    words = ("eval", clean, "--weights", save_tiny(tmp_path, "reconstruct", 1), "--every", "3")
    few = ("--task", "reconstruct", "--weight-bits", "8", "--weight-bits", "1", "--json")
    means = json.loads(adacode(*words, *few).stdout)["mean"]
    assert list(means) == ["adacode", "8-bit weights", "1-bit weights"]
    rates = [scores["bits/px"] for scores in means.values()]
    books = len(tiny_config("reconstruct", 1).codebooks)
    assert rates == [books * (4 + bits) / 64 for bits in (32, 8, 1)]
    exact, fine, coarse = (scores["PSNR-Y"] for scores in means.values())
    assert abs(exact - fine) < abs(exact - coarse)


def test_results_are_compared_with_their_references(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    with Image.open(clean / "a.png") as photo:
        original = np.asarray(photo)
        photo.save(results / "a_x4.png")
    with Image.open(clean / "b.png") as photo:
        photo.resize((48, 36)).save(results / "b.png")
    done = adacode("eval", results, "--reference", clean, "--json", check=1)
    assert "48×36 and 96×72" in done.stderr
    told = json.loads(done.stdout, parse_constant=pytest.fail)  # Infinity is no JSON
    scores = told["photos"][str(clean / "a.png")]["results"]
    assert scores["PSNR-Y"] is told["mean"]["results"]["PSNR-Y"] is None
    assert scores["SSIM"] == 1
    noisy = np.clip(original + np.random.default_rng(0).normal(0, 9, original.shape), 0, 255)
    Image.fromarray(noisy.astype(np.uint8)).save(results / "a_x4.png")
    done = adacode("eval", results, "--reference", clean / "a.png", "--border", "4", "--json")
    found = json.loads(done.stdout)["mean"]["results"]["PSNR-Y"]
    luma = [luma_of(x)[4:-4, 4:-4] for x in (original, noisy.astype(np.uint8))]
    wanted = peak_signal_noise_ratio(*luma, data_range=255)  # type: ignore[no-untyped-call]
    assert found == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("a.png", "a.png"),
        ("a.jpg", "a_x4.png"),
        ("a.jpg", "a_x1.5.webp"),
        ("a.jpg", "a_inpainted.png"),
        ("a.jpg", "a_reconstructed.jpg"),
        ("a.jpg", "a_w160.png"),
        ("a.jpg", "a_h90.png"),
        ("a.jpg", "a_2mp.png"),
        ("a.jpg", "a_fit160x90.png"),
        ("a.jpg", "a_jpg_x4.png"),
        ("a.jpg", "a_jpg-2_x4.png"),
        ("a.jpg", "a_inpainted_x4.png"),
        (f"{'a' * 250}.jpg", fitting("a" * 250, "_x4.png")),
    ],
)
def test_a_result_is_known_by_every_name_that_results_have(
    photo: str, name: str, tmp_path: Path
) -> None:
    results = Results(tmp_path, [tmp_path / "b_x4.png", tmp_path / name, tmp_path / "aa_x4.png"])
    assert results.of(Path(photo), Path(), alone=True) == tmp_path / name


def test_one_result_is_compared_with_its_photo_alone(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "results").mkdir()
    for name in ("b_x4.png", "z_x4.png"):
        shutil.copy(clean / "b.png", tmp_path / "results" / name)
    done = adacode("eval", "results/b_x4.png", "--reference", clean, "--json")
    assert list(json.loads(done.stdout)["photos"]) == [str(clean / "b.png")]
    told = adacode("eval", "results/z_x4.png", "--reference", clean, check=1).stderr
    assert "results/z_x4.png: no photo in" in told


def test_a_result_is_its_own_photos(tmp_path: Path) -> None:
    names = ("a_x4.png", "more/a_x4.png", "c_x2.png", "c_x4.png", "d.png", "d_x4.png")
    results = Results(tmp_path, [tmp_path / name for name in names])
    for below, name in ((Path(), "a_x4.png"), (Path("more"), "more/a_x4.png")):
        assert results.of(Path("a.png"), below, alone=False) == tmp_path / name
    assert results.of(Path("d.png"), Path("flat"), alone=True) == tmp_path / "d.png"
    for photo, told in (("a", "several"), ("c", "c_x2.png, c_x4.png"), ("x", "no picture of")):
        with pytest.raises(ValueError, match=told):
            results.of(Path(f"{photo}.png"), Path("other"), alone=True)
    with pytest.raises(ValueError, match="may be any d's result"):
        results.of(Path("d.png"), Path("other"), alone=False)


def test_a_broken_photo_is_told_and_the_others_are_scored(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    words = ("--weights", save_tiny(tmp_path, "sr", 4), "--json")
    whole = json.loads(adacode("eval", clean, *words).stdout)["photos"]
    (clean / "b.png").write_bytes((clean / "b.png").read_bytes()[:2000])
    for more in (words, ("--reference", clean, "--json")):
        done = adacode("eval", clean, *more, check=1)
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        assert len(errors) == 1
        assert "b.png" in errors[0]
        scored = json.loads(done.stdout)["photos"]
        assert list(scored) == [str(clean / "a.png"), str(clean / "more" / "a.png")]
        if more is words:  # the others suffered what they always do
            for photo, methods in scored.items():
                assert methods["adacode"]["SSIM"] == whole[photo]["adacode"]["SSIM"]


def test_photos_that_are_too_small_are_told_and_the_rest_goes_on(
    clean: Path, tmp_path: Path, adacode: Command
) -> None:
    for side in (1, 7, 8):  # pixels; of 8 there is a damaged version, but not enough to compare
        make_photo(side, 40).save(clean / f"small{side}.png")
    done = adacode("degrade", clean, "-o", "set", check=1)
    assert "small7.png: 7×40 pixels are less than 8×8" in done.stderr
    assert done.stderr.count("\n") == 2
    record = json.loads((tmp_path / "set" / "degradations.json").read_text())
    assert len(record["photos"]) == 4
    for words in (("--weights", save_tiny(tmp_path, "sr", 4)), ("--reference", clean)):
        done = adacode("eval", clean, *words, "--json", check=1)
        assert "small8.png: 8×40 pixels are too few to be compared" in done.stderr
        assert len(json.loads(done.stdout)["photos"]) == 3


def test_a_border_that_leaves_nothing_is_refused(clean: Path, adacode: Command) -> None:
    done = adacode("eval", clean / "a.png", "--reference", clean, "--border", "500", check=2)
    assert "--border 500 leaves too little of 96×72 to compare" in done.stderr
    assert "Traceback" not in done.stderr


def luma_of(pixels: np.ndarray) -> np.ndarray:
    """Y of BT.601 in [16, 235]."""
    return 16 + pixels / 255 @ np.array([65.481, 128.553, 24.966])


def test_what_cannot_be_scored_is_one_line(clean: Path, tmp_path: Path, adacode: Command) -> None:
    weights = save_tiny(tmp_path, "sr", 4)
    words = ("eval", clean, "--weights", weights)
    assert (
        "no sr damage is called 'strokes'" in adacode(*words, "--damage", "strokes", check=2).stderr
    )
    done = adacode(*words, "--lpips", check=1)
    assert done.stderr.splitlines()[-1].startswith("adacode: error: LPIPS can't be had")
    assert "none" not in done.stdout
    (tmp_path / "empty").mkdir()
    assert "no photo" in adacode("eval", "empty", "--weights", weights, check=1).stderr
    for line in (("eval", "gone", "--reference", clean), ("degrade", "gone", "-o", "set")):
        assert "gone: no such file or folder" in adacode(*line, check=1).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--border", "4"), "--border goes with --reference alone"),
        (("--texture", "none"), "--texture goes with --task inpaint, not sr"),
        (("--weight-bits", "8"), "--weight-bits goes with --task reconstruct, not sr"),
        (("--reference", "x", "--weights", "lite-x4"), "--weights does nothing with --reference"),
        (("--reference", "x", "--seed", "0"), "--seed does nothing with --reference"),
        (("--reference", "x", "--sheet", "s.png"), "--sheet does nothing with --reference"),
        (("--sheet", "sheet.jpg"), "sheet.jpg: the sheet is a PNG; name it so"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    words: tuple[str, ...], told: str, clean: Path, adacode: Command
) -> None:
    refused = adacode("eval", clean, *words, check=2).stderr
    assert told in refused
    assert refused.count("\n") == 1


def test_settings_for_other_commands_are_no_options_that_do_nothing(
    clean: Path, adacode: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADACODE_DEVICE", "cpu")
    adacode("eval", clean, "--reference", clean)


def test_a_tasks_first_damage_is_its_default() -> None:
    assert Protocol("sr", 4).kind == "blind"
    assert Protocol("inpaint", 1).kind == "strokes"
    assert tiny_config("inpaint", 1).in_channels == 4
