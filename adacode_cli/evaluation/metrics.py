"""What a restored picture is measured by. Every function takes (3, H, W) in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

GRID_PERIODS = (4, 8)  # pixels
WINDOW = 11  # pixels a side, of SSIM
LEAST = 12  # pixels a side that three levels of gradients need


def luma(image: Tensor) -> Tensor:
    """Y of ITU-R BT.601 in [16, 235], as the field reports PSNR on: (…, 3, H, W) → (…, H, W)."""
    weights = torch.tensor((65.481, 128.553, 24.966), dtype=image.dtype).view(3, 1, 1)
    return (image * beside(image, weights)).sum(-3) + 16


def psnr_y(image: Tensor, reference: Tensor, border: int = 0) -> float:
    """Peak signal-to-noise ratio of the luma in dB, ``border`` pixels left out."""
    error = crop(luma(image) - luma(reference), border).double().square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim_y(image: Tensor, reference: Tensor, border: int = 0) -> float:
    """Structural similarity of the luma, in [-1, 1] (Wang et al., 2004; 11×11 window)."""
    a, b = crop(luma(image), border), crop(luma(reference), border)
    x = torch.stack([a, b, a * a, b * b, a * b]).double().unsqueeze(1)  # (5, 1, H, W)
    window = gaussian(1.5, radius=WINDOW // 2).double()
    mean_a, mean_b, aa, bb, ab = blur(x, window, padding=False).squeeze(1)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = 2 * (ab - mean_a * mean_b) + c2
    variances = (aa - mean_a**2) + (bb - mean_b**2) + c2
    means = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (means * covariance / variances).mean().item()


def gradient_similarity(image: Tensor, reference: Tensor, levels: int = 3) -> float:
    """Similarity of gradient magnitudes, in [0, 1], mean over pyramid levels.

    GMSD's similarity (Xue et al., 2014, equation 4), averaged: it knows edges, and was
    trained on by nobody here.
    """
    a, b = (luma(x)[None, None] for x in (image, reference))
    scores = []
    for _ in range(levels):
        ga, gb = gradient_magnitude(a), gradient_magnitude(b)
        scores.append(((2 * ga * gb + 170) / (ga**2 + gb**2 + 170)).mean().item())
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return sum(scores) / levels


def gradient_magnitude(x: Tensor) -> Tensor:
    """Prewitt gradient of (1, 1, H, W)."""
    prewitt = x.new_tensor([[1.0, 0, -1]] * 3).view(1, 1, 3, 3) / 3
    dx, dy = F.conv2d(x, prewitt), F.conv2d(x, prewitt.transpose(2, 3))
    return (dx**2 + dy**2).sqrt()


def grid(image: Tensor) -> float:
    """How much of the fine detail repeats every 4 or 8 pixels.

    Photos have about 0.12; above 0.2 a pattern may be visible, above 0.4 it is.
    """
    found = fine_detail(image[None])[0]
    return max(periodicity(found, period) for period in GRID_PERIODS)


def fine_detail(images: Tensor) -> Tensor:
    """What a small blur takes from the luma: (B, 3, H, W) → (B, H, W)."""
    return detail(luma(images)[:, None])[:, 0]


def detail(x: Tensor) -> Tensor:
    """What a small blur takes from (N, C, H, W)."""
    return x - blur(x, gaussian(1.2, radius=5))


def periodicity(detail: Tensor, period: int) -> float:
    """The larger of two signs of a period: uneven means, and uneven power, by phase."""
    h, w = (n // period * period for n in detail.shape)
    phases = detail[:h, :w].reshape(h // period, period, w // period, period)
    mean = phases.mean(dim=(0, 2))  # (period, period)
    power = phases.square().mean(dim=(0, 2))
    if power.mean() == 0:
        return 0.0
    uneven_mean = mean.std(correction=0) / detail.std(correction=0)
    uneven_power = power.std(correction=0) / power.mean()
    return max(uneven_mean.item(), uneven_power.item())


def crop(x: Tensor, border: int) -> Tensor:
    """(…, H, W) without its outermost ``border`` pixels."""
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def gaussian(sigma: float, radius: int) -> Tensor:
    """A normalised one-dimensional kernel of 2·radius + 1 taps."""
    taps = torch.arange(-radius, radius + 1).float()
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def blur(x: Tensor, kernel: Tensor, *, padding: bool = True) -> Tensor:
    """Separable blur of (N, C, H, W), borders reflected or left out.

    On a CPU shifted pictures are added up: it convolves single channels several times as slowly.
    """
    radius, kernel = len(kernel) // 2, beside(x, kernel)
    if padding:
        x = F.pad(x, (radius,) * 4, mode="reflect")
    if x.is_cuda:
        return convolved(x, kernel)
    for side in (-2, -1):
        size = x.shape[side] - 2 * radius
        x = sum_of(tap * x.narrow(side, at, size) for at, tap in enumerate(kernel))
    return x


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of (N, C, H, W) by the kernel (k,), down and across: k - 1 pixels less a side.

    Two passes over the picture, where shifted ones take a GPU two dozen.
    """
    taps, channels, dtype = kernel.view(1, 1, 1, -1), x.shape[1], x.dtype
    x = x.float()
    exactly = torch.backends.cudnn.flags(allow_tf32=False)
    with exactly, torch.autocast(x.device.type, enabled=False):  # neither rounds the kernel
        for each in (taps.transpose(2, 3), taps):
            x = F.conv2d(x, each.expand(channels, -1, -1, -1), groups=channels)
    return x.to(dtype)


def beside(x: Tensor, constant: Tensor) -> Tensor:
    """A constant where ``x`` is; CUDA, which copies it aside first, isn't waited for."""
    return constant.to(x.device, non_blocking=x.is_cuda)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Their sum, without a list of them."""
    return reduce(torch.add, terms)
