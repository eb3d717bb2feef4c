"""Degradation is decided by its seed, and patches by their number."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from adacode_cli.errors import UsageError
from adacode_cli.training.damage import Degraded
from adacode_cli.training.dataset import PatchDataset, find_classes, load_photo
from adacode_cli.training.degradations import (
    CLEAN_REDUCTIONS,
    Strengths,
    degrade,
    gaussian_kernel,
)
from adacode_cli.training.recipes import damage_for
from adacode_cli.training.settings import Settings
from adacode_cli.training.target import Target, calmed, sharpened
from tests.conftest import make_photo, tiny_config

ALWAYS = Strengths(blur_chance=1, noise_chance=1, jpeg_chance=1, clean_chance=0)
NEVER = Strengths(
    clean_chance=0,
    blur_chance=0,
    stretched_blur_chance=0,
    detour_chance=0,
    noise_chance=0,
    early_jpeg_chance=0,
    jpeg_chance=0,
)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_same_seed_degrades_alike(scale: int) -> None:
    clean = np.asarray(make_photo(64, 48))
    first, again, other = (
        degrade(clean, scale, np.random.default_rng(seed), ALWAYS) for seed in (1, 1, 2)
    )
    assert first.shape == (48 // scale, 64 // scale, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_strengths_decide_what_happens() -> None:
    clean = np.asarray(make_photo(64, 48))
    rng = np.random.default_rng(0)
    assert np.array_equal(degrade(clean, 1, rng, NEVER), clean)
    assert not np.array_equal(degrade(clean, 1, rng, ALWAYS), clean)


def test_an_antialiased_reduction_is_pillows() -> None:
    clean = make_photo(64, 48)
    only = Strengths(clean_chance=1, clean_reductions=("bicubic",))
    small = degrade(np.asarray(clean), 4, np.random.default_rng(0), only)
    wanted = np.asarray(clean.resize((16, 12), Image.Resampling.BICUBIC))
    assert np.abs(small.astype(int) - wanted).max() <= 1


def test_the_share_of_clean_patches_is_a_setting() -> None:
    config = tiny_config("sr", 4)
    assert damage_for(config, plain=0.6) == Degraded(
        4, Strengths(clean_chance=0.6, clean_reductions=CLEAN_REDUCTIONS)
    )
    with pytest.raises(UsageError, match=r"plain is 1\.5"):
        Settings(steps=1, plain=1.5)
    for amount in (-1, math.inf, math.nan):
        for name in ("sharpen", "calm", "flat"):
            with pytest.raises(UsageError, match=f"{name} is"):
                Settings(steps=1, **{name: amount})  # type: ignore[arg-type]


def test_a_sharpened_target_is_crisper_at_edges_alone() -> None:
    clean = np.full((64, 64, 3), 100, np.uint8)
    clean[:, 32:] = 150
    clean[:, 31:33] = np.array([110, 140])[:, None]
    clean[:, :16] += np.arange(16, dtype=np.uint8)[:, None] % 2  # one level of noise
    crisp = sharpened(clean, 0.5)
    assert np.array_equal(crisp[:, :16], clean[:, :16])
    assert crisp[32, 31, 0] < clean[32, 31, 0]
    assert crisp[32, 32, 0] > clean[32, 32, 0]
    assert np.array_equal(sharpened(clean, 0), clean)
    steep = sharpened(clean, 5)
    assert (steep.min(), steep.max()) == (90, 160)  # a fifth of the step, however much


def test_a_calm_target_has_its_edges_but_no_grain() -> None:
    clean = np.full((64, 64, 3), 100, np.uint8)
    clean[:, 32:] = 150
    grainy = clean + np.random.default_rng(0).integers(-3, 4, clean.shape).astype(np.uint8)
    calm = calmed(grainy, 12)
    assert np.array_equal(calmed(grainy, 0), grainy)
    for half in (slice(0, 30), slice(34, 64)):
        assert calm[:, half].std() < 0.5 * grainy[:, half].std()
    assert np.abs(calm.astype(float) - clean).max() <= 4


def test_other_targets_leave_the_input_alone(photos: Path) -> None:
    classes = find_classes(photos)
    plain, crisp, calm = (
        PatchDataset(classes, 48, Degraded(4), 3, 100, target)[7]
        for target in (Target(), Target(sharpen=1), Target(calm=20))
    )
    for other in (crisp, calm):
        assert torch.equal(plain.degraded, other.degraded)
        assert not torch.equal(plain.clean, other.clean)


def test_sides_must_fit_the_scale() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        degrade(np.zeros((48, 63, 3), np.uint8), 4, np.random.default_rng(0))


def test_a_blur_kernel_sums_to_one_and_lies_along_its_angle() -> None:
    kernel = gaussian_kernel(3.0, 0.5, angle=0.0)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    middle = len(kernel) // 2
    assert kernel[middle, middle + 3] > 10 * kernel[middle + 3, middle]


def test_a_patch_is_decided_by_seed_and_number_alone(photos: Path) -> None:
    classes = find_classes(photos)
    assert list(classes) == ["cats", "dogs"]
    one, two = (PatchDataset(classes, 48, Degraded(4), seed=3, length=100) for _ in range(2))
    [one[i] for i in range(5)]
    for a, b in zip(one[17], two[17], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one[17].clean, one[18].clean)
    assert one[17].clean.shape == (3, 48, 48)
    assert one[17].degraded.shape == (3, 12, 12)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no photo"):
        find_classes(tmp_path)


def test_photos_are_read_as_rgb(tmp_path: Path) -> None:
    make_photo(20, 10).convert("L").save(tmp_path / "gray.png")
    assert load_photo(tmp_path / "gray.png").shape == (10, 20, 3)


def test_a_photo_of_16_bits_keeps_its_tones(tmp_path: Path) -> None:
    gray = np.asarray(make_photo(20, 10).convert("L"))
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(load_photo(tmp_path / "deep.png"), np.stack([gray] * 3, axis=2))


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    photo = make_photo(20, 10)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(tmp_path / "sideways.png", exif=exif)
    upright = np.asarray(photo.transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(load_photo(tmp_path / "sideways.png"), upright)
