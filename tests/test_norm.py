"""Normalising by sums, as on a GPU, is normalising."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adacode_cli.model import norm
from adacode_cli.model.norm import GroupNorm, normalised
from tests.test_bands import small_official


@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_pytorchs_group_norm(mean: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (mean + torch.randn(2, 64, 21, 34)).to(dtype, memory_format=torch.channels_last)
    weight, bias = torch.rand(64), torch.rand(64)
    wanted = F.group_norm(x.double(), 32, weight.double(), bias.double(), 1e-6).float()
    for lower in (False, True):  # half precision around it changes nothing
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            found = normalised(x, 32, weight, bias, 1e-6)
        assert found.dtype == torch.float32
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(found, wanted, atol=1e-5)


def test_a_flat_map_stays_finite() -> None:
    flat = normalised(torch.full((1, 32, 4, 4), 7.3), 32, torch.ones(32), torch.zeros(32), 1e-6)
    assert flat.abs().max() < 1e-2


def test_a_network_draws_the_same_by_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = small_official("sr", 4, scaled=True), torch.rand(1, 3, 32, 16)
    with torch.no_grad():
        wanted = model(image)
        monkeypatch.setattr(norm, "sums_pay", lambda _: True)
        found = model(image)
    assert torch.equal(found.indices, wanted.indices)
    assert torch.allclose(found.image, wanted.image, atol=1e-4)


@pytest.mark.parametrize("lower", [False, True])
def test_what_comes_out_has_the_precision_of_pytorchs_on_a_gpu(
    lower: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = GroupNorm(32, 64).bfloat16(), torch.rand(1, 64, 4, 4).bfloat16()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=lower):
        wanted = layer(x)
        monkeypatch.setattr(norm, "sums_pay", lambda _: True)
        found = layer(x)
    assert found.dtype == (torch.float32 if lower else torch.bfloat16)
    assert (found.float() - wanted.float()).abs().max() < 0.05


def test_training_keeps_to_pytorchs_own() -> None:
    x = torch.rand(1, 32, 4, 4, requires_grad=True)
    assert norm.learns(x)
    assert norm.learns(2 * x)
    assert not norm.learns(x.detach())
    with torch.no_grad():
        assert not norm.learns(x)
