"""The network is what the paper says: codebooks, mixed by a weight map."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

import adacode_cli
from adacode_cli.heap import keep_freed_memory
from adacode_cli.model import checkpoint, winograd
from adacode_cli.model.adacode import AdaCode, merge
from adacode_cli.model.blocks import conv3
from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.model.codebook import nearest
from adacode_cli.model.config import AdaCodeConfig, Family, lite_config, official_config
from adacode_cli.model.enlarge import enlarge, lanczos_kernel
from adacode_cli.model.swin import SwinBlock, order
from adacode_cli.restore.bands.banded import stored
from adacode_cli.restore.bands.run import bands
from tests.conftest import tiny_config, tiny_model


class OneHot(torch.nn.Module):
    """A weight map that knows one codebook only."""

    def __init__(self, k: int, count: int) -> None:
        super().__init__()
        self.k, self.count = k, count

    def forward(self, z: Tensor) -> Tensor:
        weight = torch.zeros(len(z), self.count, *z.shape[-2:])
        weight[:, self.k] = 1
        return weight


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_result_is_scale_times_larger(scale: int) -> None:
    model = tiny_model(scale=scale)
    side = 2 * model.config.multiple
    restored = model(torch.rand(2, 3, side, 2 * side))
    assert restored.image.shape == (2, 3, scale * side, 2 * scale * side)
    assert restored.indices.shape == restored.weight_map.shape == (2, 3, 2, 4)


def test_a_one_hot_weight_map_is_that_codebook_alone() -> None:
    model = tiny_model()
    image = torch.rand(1, 3, 8, 8)
    for k, book in enumerate(model.books):
        model.weight_map = OneHot(k, len(model.books))
        features = model.encoder(image)
        alone = model.decoder(book(features.z).after, features)
        assert torch.allclose(model(image).image, alone, atol=1e-6)


def test_the_merged_features_are_the_weighted_sum() -> None:
    model = tiny_model()
    _, quantised, weight = model.encode(torch.rand(1, 3, 8, 8))
    expected = sum(weight[:, k, None] * q.after for k, q in enumerate(quantised))
    assert torch.allclose(merge(quantised, weight), torch.as_tensor(expected), atol=1e-6)


@pytest.mark.parametrize("family", ["lite", "official"])
def test_the_nearest_code_is_the_nearest(family: Family) -> None:
    config = replace(tiny_config(), family=family)
    book = AdaCode(replace(config, widths=(32, 32, 32, 32))).books[0]
    before = book.before(torch.randn(1, 32, 5, 7))
    distances = torch.cdist(before.flatten(2).transpose(1, 2), book.codes[None])
    assert torch.equal(nearest(before, book.codes).flatten(1), distances.argmin(2))


def test_gradients_pass_straight_through_the_codes() -> None:
    model = tiny_model("reconstruct", 1).train()
    model(torch.rand(1, 3, 16, 16)).image.sum().backward()
    gradient = model.get_parameter("encoder.first.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    assert all(book.codes.grad is None for book in model.books)


def test_a_reconstruction_sees_the_picture_only_through_its_codes() -> None:
    """Same codes and weights, another picture: the same result."""
    model = tiny_model("reconstruct", 1)
    features, quantised, weight = model.encode(torch.rand(1, 3, 16, 16))
    other = model.encoder(torch.rand(1, 3, 16, 16))
    merged = merge(quantised, weight)
    assert torch.equal(model.decoder(merged, features), model.decoder(merged, other))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_enlarging_keeps_flat_areas_flat_and_follows_slopes(factor: int) -> None:
    flat = torch.full((1, 3, 9, 9), 0.3)
    assert torch.allclose(enlarge(flat, factor), torch.tensor(0.3), atol=1e-6)
    slope = torch.linspace(0, 1, 16).view(1, 1, 1, 16).expand(1, 1, 9, 16)
    steps = enlarge(slope, factor)[0, 0, 0].diff()[4 * factor : -4 * factor]
    assert torch.allclose(steps, torch.tensor(1 / 15 / factor), rtol=0.15)


@pytest.mark.parametrize(
    "config",
    [tiny_config(), official_config("sr", 2), lite_config("inpaint", 1, tiny_config().codebooks)],
)
def test_a_configuration_survives_json(config: AdaCodeConfig) -> None:
    assert AdaCodeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 3},
        {"family": "x"},
        {"task": "x"},
        {"codebooks": ()},
        {"far_depths": (1,) * 4},
        {"far_depths": (-1,)},
    ],
)
def test_an_impossible_configuration_names_the_field(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdaCodeConfig.from_dict({**tiny_config().to_dict(), **wrong})


def test_a_file_is_all_that_is_needed(tmp_path: Path) -> None:
    model = tiny_model()
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model.config, model.state_dict(), {"note": "kept"})
    loaded = AdaCode.from_file(path)
    image = torch.rand(1, 3, 8, 8)
    assert loaded.config == model.config
    assert torch.equal(loaded(image).image, model(image).image)
    assert checkpoint.load(path).metadata == {"note": "kept"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_loaded_model_is_laid_out_as_a_built_one(tmp_path: Path, dtype: torch.dtype) -> None:
    config = replace(official_config("sr", 4), widths=(32, 32, 64, 64))
    built = AdaCode(config)
    checkpoint.save(tmp_path / "m.safetensors", config, built.state_dict(), dtype=dtype)
    loaded = AdaCode.from_file(tmp_path / "m.safetensors")
    ours, theirs = (
        [(n, t.dtype, t.device, t.stride(), t.requires_grad) for n, t in everything(model)]
        for model in (loaded, built)
    )
    assert ours == theirs
    assert all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        for (_, a), (_, b) in zip(everything(loaded), everything(built), strict=True)
    )


def everything(model: AdaCode) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def test_save_pretrained_and_from_pretrained(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").exists()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        AdaCode.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match="stricct"):
        AdaCode.from_pretrained(tmp_path / "saved", stricct=True)
    assert "library_name: adacode" in (tmp_path / "saved" / "README.md").read_text()
    loaded = AdaCode.from_pretrained(tmp_path / "saved")
    assert isinstance(loaded, adacode_cli.AdaCode)
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(loaded(image).image, model(image).image)


def break_missing(state: dict[str, Tensor]) -> str:
    del state["encoder.first.bias"]
    return "encoder.first.bias"


def break_unknown(state: dict[str, Tensor]) -> str:
    state["more"] = torch.zeros(1)
    return "more"


def break_shape(state: dict[str, Tensor]) -> str:
    state["encoder.first.bias"] = torch.zeros(99)
    return "encoder.first.bias"


def break_values(state: dict[str, Tensor]) -> str:
    state["encoder.first.bias"] = torch.full((8,), torch.nan)
    return "not finite"


@pytest.mark.parametrize("break_it", [break_missing, break_unknown, break_shape, break_values])
def test_the_first_wrong_tensor_is_named(break_it: object, tmp_path: Path) -> None:
    assert callable(break_it)
    model = tiny_model()
    state = {name: t.clone() for name, t in model.state_dict().items()}
    named = break_it(state)
    checkpoint.save(tmp_path / "m.safetensors", model.config, state)
    with pytest.raises(CheckpointError, match=named):
        AdaCode.from_file(tmp_path / "m.safetensors")


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not an AdaCode file"):
        AdaCode.from_file(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="not a readable"):
        AdaCode.from_file(tmp_path / "y.safetensors")
    assert load_file(tmp_path / "x.safetensors")


@pytest.mark.parametrize(("r", "padding"), [(3, (1, 1)), (3, (0, 1)), (2, (0, 1)), (2, (0, 0))])
def test_winograd_is_a_convolution(r: int, padding: tuple[int, int]) -> None:
    torch.manual_seed(r)
    x, weight, bias = torch.randn(2, 24, 29, 46), torch.randn(20, 24, r, r), torch.randn(20)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=padding)
    found = winograd.convolve(x, weight, bias, padding)
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 3e-6 * exact.abs().max()
    assert not found.requires_grad


def test_winograd_is_for_many_channels_in_float32_without_gradients() -> None:
    x, weight = torch.randn(1, 256, 32, 32), torch.randn(256, 256, 3, 3)
    assert winograd.pays(x, weight)
    assert not winograd.pays(x, weight[:64])
    assert not winograd.pays(x[:, :, :8], weight)
    assert not winograd.pays(x.bfloat16(), weight.bfloat16())
    assert not winograd.pays(x, weight.clone().requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(x, weight)


def test_a_wide_convolution_in_bands_is_the_whole_one() -> None:
    torch.manual_seed(0)
    conv = conv3(192, 192).requires_grad_(False)
    x = torch.randn(1, 192, 75, 40)
    whole = conv(x)
    assert winograd.pays(x, conv.weight)
    banded = torch.cat([rows for _, (rows,) in bands([conv(stored(x))], 26)], dim=2)
    assert (banded - whole).abs().max() < 1e-5


def test_freed_memory_stays_where_the_c_library_knows_how() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_what_inference_keeps_does_for_training() -> None:
    order.cache_clear()
    lanczos_kernel.cache_clear()
    block, tokens = SwinBlock(32, 4), torch.rand(1, 32, 16, 16)
    picture = torch.rand(1, 3, 8, 8)
    model = tiny_model("reconstruct", 1)
    with torch.inference_mode():
        block(tokens)
        model(picture)
    block(tokens.requires_grad_()).sum().backward()
    model.train()(picture).image.sum().backward()
    assert tokens.grad is not None
