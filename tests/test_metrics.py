"""The figures are the field's, and they see what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from adacode_cli.evaluation import metrics
from adacode_cli.training.damage import to_tensor
from adacode_cli.training.perceptual import squeeze_distance
from adacode_cli.training.squeezenet import SqueezeFeatures
from tests.conftest import make_photo, shared

# The distance of the damaged copy below, computed once by other code: channels reversed, times
# 255, minus the mean, then every convolution as it is stored.
FAR = 2.8833


def pair() -> tuple[Tensor, Tensor]:
    """A photo and a noisy copy."""
    clean = to_tensor(np.asarray(make_photo(120, 90)))
    noise = 0.03 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return (clean + noise).clamp(0, 1), clean


def scikit_luma(image: Tensor) -> np.ndarray:
    return rgb2ycbcr(image.permute(1, 2, 0).double().numpy())[..., 0]


@pytest.mark.parametrize("border", [0, 4])
def test_psnr_and_ssim_agree_with_scikit_image(border: int) -> None:
    noisy, clean = pair()
    inner = slice(border, -border or None)
    a, b = (scikit_luma(x)[inner, inner] for x in (noisy, clean))
    psnr = peak_signal_noise_ratio(b, a, data_range=255)  # type: ignore[no-untyped-call]
    ssim = structural_similarity(  # type: ignore[no-untyped-call]
        b, a, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.psnr_y(noisy, clean, border) == pytest.approx(psnr, abs=1e-3)
    assert metrics.ssim_y(noisy, clean, border) == pytest.approx(ssim, abs=1e-3)


def test_identical_pictures_are_perfect() -> None:
    _, clean = pair()
    assert metrics.psnr_y(clean, clean) == float("inf")
    assert metrics.ssim_y(clean, clean) == pytest.approx(1)
    assert metrics.gradient_similarity(clean, clean) == pytest.approx(1)


def test_the_grid_measure_sees_a_grid_and_only_a_grid() -> None:
    noise = 0.5 + 0.02 * torch.randn(3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert metrics.grid(noise) < 0.1
    pattern = noise.clone()
    pattern[:, ::4, ::4] += 0.05
    assert metrics.grid(pattern) > 0.3
    louder = noise.clone()
    louder[:, ::8] = 0.5 + 3 * (louder[:, ::8] - 0.5)
    assert metrics.grid(louder) > 0.3
    assert metrics.grid(torch.full((3, 64, 64), 0.5)) == 0


def test_the_squeeze_distance_grows_with_the_damage() -> None:
    features = SqueezeFeatures(shared("perceptual") / "squeezenet1_1.safetensors")
    noisy, clean = pair()
    worse = (clean + 3 * (noisy - clean)).clamp(0, 1)
    with torch.inference_mode():
        near, far = (squeeze_distance(features, x[None], clean[None]) for x in (noisy, worse))
        assert squeeze_distance(features, clean[None], clean[None]).item() == pytest.approx(
            0, abs=1e-5
        )
    assert 0 < near < far
    assert far.item() == pytest.approx(FAR, rel=1e-3)
    with pytest.raises(ValueError, match="too small"):
        squeeze_distance(features, clean[None, :, :20, :20], clean[None, :, :20, :20])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_blurs_as_a_cpu_does(dtype: torch.dtype) -> None:
    kernel = metrics.gaussian(1.2, radius=5)
    picture = torch.rand(2, 3, 40, 31, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = metrics.convolved(picture, kernel)
    wanted = metrics.blur(picture.float(), kernel, padding=False)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), wanted, atol=1e-6 if dtype == torch.float32 else 4e-3)
