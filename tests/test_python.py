"""What a Python program gives to a Restorer, and what it gets back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from adacode_cli.images.read import read
from adacode_cli.restore.kinds import to_tensor
from tests.conftest import make_photo


def slope(top: float) -> NDArray[Any]:
    """From 0 to ``top``, (24, 32)."""
    return np.linspace(0, top, 24 * 32).reshape(24, 32)


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (slope(65535).astype(np.uint16), "I;16"),
        (slope(65535).astype(np.int32), "I"),
        (slope(1).astype(np.float32), "F"),
    ],
)
def test_an_image_of_more_than_8_bits_keeps_its_brightness(array: NDArray[Any], mode: str) -> None:
    image = Image.fromarray(array)
    assert image.mode == mode
    rgb, back = to_tensor(image, 3)
    assert rgb.shape == (3, 24, 32)
    assert np.allclose(rgb.numpy(), slope(1), atol=1 / 65535)
    assert np.array_equal(np.asarray(back(rgb))[..., 0], np.rint(rgb[0].numpy() * 255))


def test_a_deep_file_is_read_as_the_command_reads_it(tmp_path: Path) -> None:
    for name, order in (("a.png", "<u2"), ("b.tif", "<u2"), ("c.tif", ">u2")):
        Image.fromarray(slope(65535).astype(order)).save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            rgb, _ = to_tensor(image, 3)
        assert np.array_equal(rgb.numpy(), read(tmp_path / name).rgb)


def test_every_mode_of_pillow_is_read_or_refused_by_name() -> None:
    photo = make_photo(24, 16)
    expected = np.asarray(photo).transpose(2, 0, 1) / 255
    for mode in ("CMYK", "YCbCr", "HSV", "LAB"):
        if mode == "LAB":
            srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            image = ImageCms.profileToProfile(photo, srgb, lab, outputMode="LAB")
        else:
            image = photo.convert(mode)
        assert image is not None
        assert abs(to_tensor(image, 3)[0].numpy() - expected).max() < 0.05, mode
    for mode in ("1", "L", "P"):
        image = photo.convert(mode)
        seen = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(np.rint(to_tensor(image, 3)[0].numpy() * 255), seen), mode
    for mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        with pytest.raises(ValueError, match=f"mode {mode} has transparency; convert it to RGB"):
            to_tensor(Image.new(mode, (8, 8)), 3)
    deep = Image.fromarray(slope(65535).astype(np.uint16))
    deep.info["transparency"] = 0
    with pytest.raises(ValueError, match=r"delete its info\['transparency'\]"):
        to_tensor(deep, 3)
    with pytest.raises(ValueError, match="mode I is read as 16 bits, 0 to 65535; it holds 0 to 9"):
        to_tensor(Image.fromarray(slope(99999).astype(np.int32)), 3)
