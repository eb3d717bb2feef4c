"""What a Python program gives to a Restorer, and what it gets back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile
from torch import Tensor, nn

from adacode_cli.device import DeviceError
from adacode_cli.errors import UsageError
from adacode_cli.images.masks import mask_in
from adacode_cli.images.read import MAX_PIXELS, read
from adacode_cli.restore.inpainting.mask import to_mask
from adacode_cli.restore.kinds import to_tensor
from adacode_cli.restore.restorer import Restorer
from tests.conftest import make_photo, tiny_model

if TYPE_CHECKING:
    from typing_extensions import assert_type

    def what_a_type_checker_says(
        restorer: Restorer, file: ImageFile.ImageFile, array: NDArray[np.uint8], tensor: Tensor
    ) -> None:
        assert_type(restorer(file), Image.Image)
        assert_type(restorer(array), NDArray[Any])
        assert_type(restorer(nn.Parameter(tensor)), Tensor)
        assert_type(restorer.inpaint(file, array), Image.Image)
        restorer("in.png")  # type: ignore[type-var]
        restorer.inpaint(3, array)  # type: ignore[type-var]


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
    rgb, back = to_tensor(image)
    assert rgb.shape == (3, 24, 32)
    assert np.allclose(rgb.numpy(), slope(1), atol=1 / 65535)
    assert np.array_equal(np.asarray(back(rgb))[..., 0], np.rint(rgb[0].numpy() * 255))


def test_a_deep_file_is_read_as_the_command_reads_it(tmp_path: Path) -> None:
    for name, order in (("a.png", "<u2"), ("b.tif", "<u2"), ("c.tif", ">u2")):
        Image.fromarray(slope(65535).astype(order)).save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            rgb, _ = to_tensor(image)
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
        assert abs(to_tensor(image)[0].numpy() - expected).max() < 0.05, mode
    for mode in ("1", "L", "P"):
        image = photo.convert(mode)
        seen = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(np.rint(to_tensor(image)[0].numpy() * 255), seen), mode
    for mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        with pytest.raises(ValueError, match=f"mode {mode} has transparency; convert it to RGB"):
            to_tensor(Image.new(mode, (8, 8)))
    deep = Image.fromarray(slope(65535).astype(np.uint16))
    deep.info["transparency"] = 0
    with pytest.raises(ValueError, match=r"delete its info\['transparency'\]"):
        to_tensor(deep)
    with pytest.raises(ValueError, match="read as 16 bits, 0 to 65535; it holds 0 to 99999"):
        to_tensor(Image.fromarray(slope(99999).astype(np.int32)))


def restorer_for(task: Any) -> Restorer:
    return Restorer(tiny_model(task, 4 if task == "sr" else 1), torch.device("cpu"), torch.float32)


def kinds(array: NDArray[Any]) -> list[Any]:
    """(H, W, 3) of floats as an array and as a tensor."""
    return [array, torch.from_numpy(array.transpose(2, 0, 1).copy())]


def test_floats_on_another_scale_are_refused() -> None:
    restorer = restorer_for("sr")
    for value, words in ((100, "largest is 100"), (-1, "smallest is -1"), (1e300, "1e.300")):
        for image in kinds(np.full((8, 8, 3), value, np.float64)):
            with pytest.raises(ValueError, match=rf"floats must lie in \[0, 1\]; .*{words}$"):
                restorer(image)
    with pytest.raises(ValueError, match="the largest is 255"):
        restorer(Image.new("F", (8, 8), 255))


def test_floats_that_overshoot_slightly_are_clipped() -> None:
    restorer = restorer_for("sr")
    photo = np.asarray(make_photo(24, 16)) / np.float32(255) * 1.6 - np.float32(0.3)
    for over, within in zip(kinds(photo), kinds(photo.clip(0, 1)), strict=True):
        before = np.asarray(over).copy()
        assert np.array_equal(restorer(over), restorer(within))
        assert np.array_equal(np.asarray(over), before)


def test_values_that_are_not_finite_are_refused() -> None:
    restorer = restorer_for("sr")
    for value in (np.nan, np.inf, -np.inf):
        for image in kinds(np.where(np.arange(192).reshape(8, 8, 3) == 100, value, 0.5)):
            with pytest.raises(ValueError, match="the image holds values that are not finite"):
                restorer(image)


def test_any_byte_order_is_read_and_given_back() -> None:
    restorer = restorer_for("sr")
    for kind in ("u2", "f4", "f8"):
        native = (slope(1)[..., None].repeat(3, 2) * (65535 if kind == "u2" else 1)).astype(kind)
        foreign = restorer(native.astype(f">{kind}"))
        assert foreign.dtype == np.dtype(f">{kind}")
        assert np.array_equal(foreign, restorer(native))


@pytest.mark.filterwarnings("error")
def test_memory_that_may_not_be_written_is_read() -> None:
    planes = np.full((3, 8, 8), 0.5, np.float32)
    planes.flags.writeable = False
    assert to_tensor(planes.transpose(1, 2, 0))[0].shape == (3, 8, 8)


def test_what_is_no_image_is_named() -> None:
    restorer: Any = restorer_for("sr")
    for empty in (np.zeros((0, 5, 3)), torch.zeros(3, 0, 5), Image.new("RGB", (5, 0))):
        with pytest.raises(ValueError, match="an image of 5×0 has no pixels"):
            restorer(empty)
    with pytest.raises(ValueError, match="a meta tensor holds no numbers"):
        restorer(torch.zeros(3, 8, 8, device="meta"))
    with pytest.raises(ValueError, match=r"sparse_coo; give its .to_dense\(\)"):
        restorer(torch.zeros(3, 8, 8).to_sparse())


HOLE = np.zeros((20, 30), bool)
HOLE[5:12, 8:19] = True
BYTES = np.where(HOLE, np.uint8(255), np.uint8(0))
NONE = np.zeros_like(BYTES)
OPAQUE = np.full_like(BYTES, 255)


def stacked(*planes: NDArray[Any]) -> NDArray[Any]:
    return np.stack(planes, axis=2)


MASKS = {
    "1": Image.fromarray(HOLE),
    "L": Image.fromarray(BYTES // 255),
    "F": Image.fromarray(HOLE.astype(np.float32) / 2),
    "I": Image.fromarray(HOLE.astype(np.int32)),
    "I;16": Image.fromarray(HOLE.astype(np.uint16)),
    "dark blue": Image.fromarray(stacked(NONE, NONE, BYTES // 63)),
    "LA": Image.fromarray(stacked(BYTES, OPAQUE)),
    "RGBA": Image.fromarray(stacked(BYTES, BYTES, BYTES, OPAQUE)),
    "seen through elsewhere": Image.fromarray(stacked(OPAQUE, OPAQUE, OPAQUE, BYTES)),
    "bool": HOLE,
    "list": HOLE.tolist(),
    "floats": HOLE / 1000,
    "NaN": np.where(HOLE, np.nan, 0),
    "(H, W, 1)": HOLE[..., None],
    "(1, H, W)": HOLE[None],
    "(H, W, 2)": stacked(BYTES, OPAQUE),
    "(H, W, 3)": stacked(NONE, NONE, BYTES),
    "(H, W, 4)": stacked(BYTES, BYTES, BYTES, OPAQUE),
    "(4, H, W)": np.stack([OPAQUE, OPAQUE, OPAQUE, BYTES]),
    "four masks": stacked(HOLE, HOLE & False, HOLE & False, HOLE & False),
    "bfloat16": torch.from_numpy(HOLE).bfloat16(),
    "tensor": torch.from_numpy(np.stack([BYTES, NONE, NONE, OPAQUE])),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_of_any_kind_marks_the_holes(kind: str) -> None:
    assert np.array_equal(to_mask(MASKS[kind], HOLE.shape), HOLE)


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.tif", "d.png", "e.webp"])
def test_an_opened_mask_is_read_as_its_file(name: str, tmp_path: Path) -> None:
    mask: Any = {
        "a.png": MASKS["dark blue"],
        "b.jpg": Image.fromarray(BYTES),  # with rings around its edges
        "c.tif": MASKS["F"],
        "d.png": MASKS["I;16"],
        "e.webp": MASKS["seen through elsewhere"],
    }[name]
    mask.save(tmp_path / name, quality=40)
    read_by_the_command = mask_in((tmp_path / name).read_bytes(), name, MAX_PIXELS)
    with Image.open(tmp_path / name) as image:
        assert np.array_equal(to_mask(image, HOLE.shape), read_by_the_command)
    assert read_by_the_command[HOLE].all()


def test_what_is_no_mask_is_named() -> None:
    for wrong in (None, "mask.png", Path("mask.png"), 3):
        with pytest.raises(TypeError, match="is no mask; give a PIL image, array or tensor"):
            to_mask(wrong, HOLE.shape)
    with pytest.raises(TypeError, match="a mask of <U1; it must hold numbers"):
        to_mask(HOLE.astype(str).astype("U1"), HOLE.shape)
    with pytest.raises(ValueError, match=r"a mask of \(30, 20\); the image is \(20, 30\)"):
        to_mask(HOLE.T, HOLE.shape)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.uint16, ">f8"])
def test_every_other_pixel_comes_out_as_it_went_in(kind: Any) -> None:
    restorer, top = restorer_for("inpaint"), 65535 if kind is np.uint16 else 1.2
    array = (np.random.default_rng(0).random((20, 30, 3)) * top).astype(kind)
    filled = restorer.inpaint(array, HOLE)
    assert filled.dtype == array.dtype
    assert np.array_equal(filled[~HOLE], array[~HOLE])
    assert (filled[HOLE] != array[HOLE]).mean() > 0.9
    if kind not in {np.uint16, ">f8"}:
        tensor = torch.from_numpy(array).permute(2, 0, 1)
        outside = ~torch.from_numpy(HOLE)
        made = restorer.inpaint(tensor, HOLE)
        assert made.dtype == tensor.dtype
        assert torch.equal(made[:, outside], tensor[:, outside])


def test_what_lies_in_a_hole_does_not_matter() -> None:
    restorer = restorer_for("inpaint")
    photo = np.asarray(make_photo(30, 20)) / 255
    expected = restorer.inpaint(photo, HOLE)
    weights = restorer.weight_map
    for content in (np.nan, 1e300):
        for image in kinds(np.where(HOLE[..., None], content, photo)):
            filled = np.asarray(restorer.inpaint(image, HOLE))
            filled = filled if filled.shape[2] == 3 else filled.transpose(1, 2, 0)
            assert np.array_equal(filled, expected)
            assert torch.equal(restorer.weight_map, weights)
    for kind, content in ((np.float32, np.nan), (np.int32, -9999)):
        plain = (slope(1 if kind is np.float32 else 65535)[:20, :30]).astype(kind)
        missing = Image.fromarray(np.where(HOLE, kind(content), plain))
        filled = np.asarray(restorer.inpaint(missing, HOLE))
        expected = np.asarray(restorer.inpaint(Image.fromarray(plain), HOLE))
        assert np.array_equal(filled, expected)
    with pytest.raises(ValueError, match="not finite"):
        restorer.inpaint(np.where(HOLE[..., None], photo, np.nan), HOLE)


def test_weights_for_inpainting_are_called_by_that_name() -> None:
    photo = make_photo(30, 20)
    with pytest.raises(ValueError, match=r"are for inpaint; call .inpaint\(image, mask\)"):
        restorer_for("inpaint")(photo)
    with pytest.raises(ValueError, match="are for sr, not for inpaint"):
        restorer_for("sr").inpaint(photo, HOLE)


def test_a_restorer_is_loaded_onto_a_device_of_pytorch(tiny_weights: Path) -> None:
    restorer = Restorer.load(tiny_weights, device=torch.device("cpu"))
    assert restorer.device == torch.device("cpu")
    assert restorer.fixed


def test_what_cannot_be_loaded_is_said(tiny_weights: Path) -> None:
    load: Any = Restorer.load
    for weights, error, words in (
        (None, TypeError, "a name or a file's path, not None"),
        ("nosuch", FileNotFoundError, "neither a file nor a model"),
        ("lite-x4@2", UsageError, "no fidelity of 2"),
    ):
        with pytest.raises(error, match=words):
            load(weights)
    for where in ("gpu", torch.device("xpu")):
        with pytest.raises(UsageError, match="no device is called"):
            load(tiny_weights, where)
    with pytest.raises(UsageError, match="no precision is called"):
        load(tiny_weights, precision="int8")
    with pytest.raises(DeviceError):
        load(tiny_weights, device=torch.device("cuda:64"))
