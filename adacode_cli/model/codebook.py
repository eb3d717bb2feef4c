"""A basis codebook: features snapped to the codes of one class (paper, equations 2 and 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.model.blocks import conv3, he_
from adacode_cli.model.config import CodebookConfig
from adacode_cli.model.overridable import overridable

GROUP = 32  # codes that are compared at once
AT_ONCE = 2048  # positions that look for their codes at once


class Quantised(NamedTuple):
    """before: what was asked for, (B, D, h, w). codes: what was found, the same shape.

    after: the basis' part of the representation, (B, C, h, w). indices: (B, h, w).
    """

    before: Tensor
    codes: Tensor
    after: Tensor
    indices: Tensor


class UnitLength(nn.Module):
    """Divide by the length over channels: nearest then means best aligned."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.float(), dim=1)


@overridable
def nearest(before: Tensor, codes: Tensor) -> Tensor:
    """The index of the closest of ``codes`` (N, D) at each position: (B, D, h, w) → (B, h, w)."""
    flat = before.float().permute(0, 2, 3, 1).flatten(0, 2)  # (B·h·w, D)
    codes = codes.float()
    # ‖b - e‖² = ‖b‖² + ‖e‖² - 2 b·e, and ‖b‖² is the same for every code
    offset = -0.5 * codes.square().sum(1)
    with torch.autocast(before.device.type, enabled=False):
        # As many positions at once as a CPU's cache can hold with their closeness to all codes.
        parts = torch.split(flat, AT_ONCE if flat.device.type == "cpu" else max(1, len(flat)))
        found = [first_largest(F.linear(part, codes, offset)) for part in parts]
    return torch.cat(found).view(len(before), *before.shape[2:])


def first_largest(closeness: Tensor) -> Tensor:
    """``argmax`` over the last dimension: (n, N) → (n,).

    On a CPU the largest value is found ten times as fast as its place: so first the
    largest of every group, then the place in the best of them.
    """
    groups = closeness.shape[1] // GROUP
    if closeness.shape[1] % GROUP or groups < 2:
        return closeness.argmax(dim=1)
    best = closeness.view(-1, groups, GROUP).amax(dim=2).argmax(dim=1)  # (n,)
    rows = best + groups * torch.arange(len(best), device=best.device)
    within = closeness.view(-1, GROUP).index_select(0, rows).argmax(dim=1)
    return GROUP * best + within


@overridable
def lookup(indices: Tensor, codes: Tensor) -> Tensor:
    """Indices to ``codes`` (N, D): (B, h, w) → (B, D, h, w)."""
    return F.embedding(indices, codes).permute(0, 3, 1, 2)


class BasisCodebook(nn.Module):
    """``before`` (1×1), nearest code, ``after`` (3×3).

    ``unit`` codebooks hold unit-length codes, and compare directions.
    The codes are frozen unless training moves them, by averages or by gradient.
    """

    def __init__(self, channels: int, config: CodebookConfig, *, unit: bool) -> None:
        super().__init__()
        self.name, self.unit = config.name, unit
        projection = nn.Conv2d(channels, config.dim, 1)
        self.before = nn.Sequential(projection, *([UnitLength()] if unit else []))
        codes = torch.randn(config.codes, config.dim)
        self.codes = nn.Parameter(F.normalize(codes) if unit else codes, requires_grad=False)
        # A unit-length code has 1/dim of the variance that He's rule reckons with.
        self.after = he_(conv3(config.dim, channels), gain=config.dim**0.5 if unit else 1.0)

    def forward(self, z: Tensor) -> Quantised:
        before = self.before(z)  # (B, D, h, w)
        indices = nearest(before, self.codes)  # (B, h, w)
        codes = lookup(indices, self.codes)  # (B, D, h, w)
        # Straight through: training sees the codes' values and the features' gradient.
        passed = before + (codes - before).detach() if self.training else codes
        return Quantised(before, codes, self.after(passed), indices)
