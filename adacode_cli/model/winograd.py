"""Convolutions with fewer products, by Winograd's minimal filtering (Lavin and Gray, 2016).

A tile of m×m results of an r×r kernel takes (m + r - 1)² products for each pair of channels
instead of m²·r²: a quarter for F(4×4, 3×3). Tiles and kernels are transformed before, sums of
products after; with many channels that costs less than it saves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = {  # where the polynomials of F(m, r) are evaluated, besides infinity
    (4, 3): (0.0, 0.75, -0.75, 1.5, -1.5),
    (3, 2): (0.0, 1.0, -1.0),
}
RESULTS = {3: 4, 2: 3}  # kernel → m
TILES = 256  # at once: as much as a CPU's cache holds
CHANNELS = 192  # from so many on it pays
SMALLEST = 24  # rows and columns


class Transforms(NamedTuple):
    """For tiles of one kind, with n = m + r - 1: a 2-D transform is a matrix on flat tiles.

    of_tile: (n², n²). of_kernel: (n², r²). of_result: (m², n²).
    """

    of_tile: Tensor
    of_kernel: Tensor
    of_result: Tensor


@lru_cache
def transforms(m: int, r: int) -> Transforms:
    """F(m×m, r×r) after Toom and Cook: polynomials are multiplied where they are evaluated."""
    points = torch.tensor(POINTS[m, r], dtype=torch.float64)
    n = m + r - 1
    roots = [points[points != p] for p in points] + [points]
    of_tile = torch.zeros(n, n, dtype=torch.float64)
    for row, zeros in zip(of_tile, roots, strict=True):
        row[: len(zeros) + 1] = product(zeros)
    scale = torch.stack([(p - points[points != p]).prod() for p in points])
    of_kernel = torch.cat([powers(points, r) / scale[:, None], unit(r)])  # (n, r)
    of_result = torch.cat([powers(points, m), unit(m)]).T  # (m, n)
    both = (torch.kron(a.contiguous(), a.contiguous()) for a in (of_tile, of_kernel, of_result))
    return Transforms(*(matrix.float() for matrix in both))


def product(zeros: Tensor) -> Tensor:
    """The coefficients of Π (x - zero), that of x⁰ first."""
    coefficients = zeros.new_ones(1)
    for zero in zeros:
        shifted, scaled = F.pad(coefficients, (1, 0)), F.pad(coefficients, (0, 1))
        coefficients = shifted - zero * scaled
    return coefficients


def powers(points: Tensor, count: int) -> Tensor:
    """Every point's powers from 0 on: (points, count)."""
    return points[:, None] ** torch.arange(count)


def unit(length: int) -> Tensor:
    """What evaluating at infinity sees: the last coefficient, (1, length)."""
    return F.pad(torch.ones(1, 1, dtype=torch.float64), (length - 1, 0))


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of ``x`` is faster this way, and as good as exact."""
    few = min(*weight.shape[:2]) < CHANNELS or min(x.shape[2:]) < SMALLEST
    if few or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    learning = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return not learning and not torch.is_autocast_enabled("cpu")


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    groups: int,
) -> Tensor:
    """``torch.conv2d``, in the faster of two ways."""
    plain = (stride, dilation, groups) == (1, 1, 1) and weight.shape[2] == weight.shape[3]
    if plain and weight.shape[2] in RESULTS and pays(x, weight):
        return convolve(x, weight, bias, padding)
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """``torch.conv2d`` in float32: (B, C, H, W) and (O, C, r, r), r 2 or 3 → (B, O, H', W')."""
    out_channels, _, r, _ = weight.shape
    m, (above, left) = RESULTS[r], padding
    height, width = x.shape[2] + 2 * above - r + 1, x.shape[3] + 2 * left - r + 1
    down, across = -(-height // m), -(-width // m)  # tiles
    below, right = (m * n + r - 1 - s for n, s in ((down, x.shape[2]), (across, x.shape[3])))
    framed = F.pad(x, (left, right - left, above, below - above)).permute(0, 2, 3, 1).contiguous()
    kernels = transforms(m, r).of_kernel @ weight.permute(2, 3, 1, 0).flatten(2).flatten(0, 1)
    kernels = kernels.view(-1, *weight.shape[1::-1])  # (n², C, O)
    result = x.new_empty(len(x), m * down, m * across, out_channels)
    rows = max(1, TILES // across)  # of tiles
    for image, drawn in zip(framed, result, strict=True):
        for top in range(0, down, rows):
            count = min(rows, down - top)
            strip = tiles_of(image[m * top :], count, across, m, r)  # (n², tiles·C)
            part = drawn[m * top : m * (top + count)]
            fill(part.view(count, m, across, m, out_channels), strip, kernels, bias, (m, r))
    return result[:, :height, :width].permute(0, 3, 1, 2)


def tiles_of(image: Tensor, down: int, across: int, m: int, r: int) -> Tensor:
    """Overlapping tiles of (H, W, C), one pixel of all of them after another: (n², tiles·C)."""
    n, (line, pixel, _) = m + r - 1, image.stride()
    shape = (n, n, down, across, image.shape[2])
    strides = (line, pixel, m * line, m * pixel, 1)
    return image.as_strided(shape, strides, image.storage_offset()).reshape(n * n, -1)


def fill(
    part: Tensor, tiles: Tensor, kernels: Tensor, bias: Tensor | None, kind: tuple[int, int]
) -> None:
    """Write the results of tiles (n², tiles·C) into ``part``, (rows, m, columns, m, O)."""
    of_tile, _, of_result = transforms(*kind)
    seen = (of_tile @ tiles).view(len(tiles), -1, kernels.shape[1])  # (n², tiles, C)
    sums = torch.bmm(seen, kernels).flatten(1)  # (n², tiles·O)
    rows, m, columns, _, channels = part.shape
    drawn = (of_result @ sums).view(m, m, rows, columns, channels)
    if bias is not None:
        drawn += bias
    part.copy_(drawn.permute(2, 0, 3, 1, 4))
