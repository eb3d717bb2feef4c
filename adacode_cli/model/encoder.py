"""E: an image becomes features at stride 8 (paper, equation 1), and what goes around the codes."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.model.blocks import (
    conv3,
    conv_upsample,
    he_,
    norm_level_down,
    norm_level_up,
    res_blocks,
)
from adacode_cli.model.config import AdaCodeConfig
from adacode_cli.model.fill import holes_of
from adacode_cli.model.swin import SwinGroups


class Features(NamedTuple):
    """What the encoder hands on.

    z: (B, C, h, w), to be quantised. skips: what the decoder adds at strides 4 and 2,
    or None. base: the picture as far as it is known already, (B, 3, ·, ·) in [0, 1] at the
    input's size, or None.
    """

    z: Tensor
    skips: tuple[Tensor | None, Tensor | None] = (None, None)
    base: Tensor | None = None


class CleanEncoder(nn.Module):
    """The published encoder of clean images (stages I and II): (B, 3, H, W) → stride 8."""

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__()
        widths = config.widths[config.scale // 2 :]
        # 4×4 with padding 1: one pixel smaller. The released weights require it.
        self.first = nn.Conv2d(config.in_channels, widths[0], 4, padding=1)
        self.down = nn.Sequential(*(norm_level_down(a, b) for a, b in pairwise(widths)))

    def forward(self, image: Tensor) -> Features:
        return Features(z=self.down(self.first(image)))


class RestorationEncoder(CleanEncoder):
    """The published encoder of degraded images (stage III), with Swin groups and skips."""

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__(config)
        _, at2, at4, at8 = config.widths
        self.swin = SwinGroups(at8)
        self.up = nn.ModuleList([norm_level_up(at8, at4), norm_level_up(at4, at2)])

    def forward(self, image: Tensor) -> Features:
        z = self.swin(super().forward(image).z)  # (B, C, h, w)
        skip4 = self.up[0](z)  # (B, C₄, 2h, 2w)
        skip2 = self.up[1](skip4)  # (B, C₂, 4h, 4w)
        return Features(z, (skip4, skip2))


class LiteCleanEncoder(nn.Module):
    """Pixels folded to stride 4, then convolutions at strides 4 and 8."""

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__()
        _, _, at4, at8 = config.widths
        depth4, depth8 = config.encoder_depths
        self.fold = 4 // config.scale
        self.first = he_(conv3(config.in_channels * self.fold**2, at4))
        self.blocks4 = res_blocks(at4, depth4)
        self.down = he_(conv3(at4, at8, stride=2))
        self.blocks8 = res_blocks(at8, depth8)

    def at_stride4(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, C₄, s·H/4, s·W/4)."""
        centred = F.pixel_unshuffle(4 * (image - 0.5), self.fold)  # about unit variance
        return self.blocks4(self.first(centred))

    def forward(self, image: Tensor) -> Features:
        return Features(z=self.blocks8(self.down(self.at_stride4(image))))


class LiteRestorationEncoder(LiteCleanEncoder):
    """The same for a degraded image, which itself is the base of the result."""

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__(config)
        _, _, at4, at8 = config.widths
        self.skip4 = he_(nn.Conv2d(at4, at4, 1), gain=0.1)  # the codes speak first
        # As in the published encoder, what is decoded at stride 4 knows of z before it was
        # quantised; stride 8 is where far sight is cheap.
        self.skip8 = conv_upsample(at8, at4, gain=0.1) if config.deep_skip else None
        self.skip2 = FineSkip(config) if config.fine_skip else None
        self.far = FarSight(at8, config.far_depths) if config.far_depths else None

    def forward(self, image: Tensor) -> Features:
        x = self.at_stride4(image)  # (B, C₄, 2h, 2w)
        z = self.at_stride8(self.down(x))  # (B, C, h, w)
        skip4 = self.skip4(x) if self.skip8 is None else self.skip4(x) + self.skip8(z)
        skip2 = None if self.skip2 is None else self.skip2(image)
        return Features(z, (skip4, skip2), base=image)

    def at_stride8(self, x: Tensor) -> Tensor:
        """The blocks at stride 8, with what is seen from farther off between their halves."""
        if self.far is None:
            return self.blocks8(x)
        half = len(self.blocks8) // 2
        return self.blocks8[half:](self.far(self.blocks8[:half](x)))


class FarSight(nn.Module):
    """The lower half of a U-Net: (B, C, h, w) → the same, and ``x`` itself at first.

    Each level has half the size, so a block sees twice as far for a quarter of the work.
    depths: residual blocks of each level, from the finest on.
    """

    def __init__(self, channels: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        depth, *farther = depths
        self.down = he_(conv3(channels, channels, stride=2))
        self.blocks = res_blocks(channels, depth)
        self.farther = FarSight(channels, tuple(farther)) if farther else None
        self.up = conv_upsample(channels, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.down(x))  # (B, C, h/2, w/2)
        if self.farther is not None:
            y = self.farther(y)
        return x + self.up(y)


class FineSkip(nn.Module):
    """What the decoder adds at stride 2, where what comes from stride 4 is smooth.

    Without it no noise of single pixels could be taken away: a decoder that enlarges by
    interpolation can't draw its like.
    """

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__()
        at2 = config.widths[1]
        self.fold = 2 // config.scale
        self.conv1 = he_(conv3(config.in_channels * self.fold**2, at2))
        self.conv2 = he_(conv3(at2, at2), gain=0.1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, C₂, s·H/2, s·W/2)."""
        centred = F.pixel_unshuffle(4 * (image - 0.5), self.fold)
        return self.conv2(F.leaky_relu(self.conv1(centred), 0.2, inplace=True))


class LiteInpaintingEncoder(LiteRestorationEncoder):
    """The same for a picture with holes: RGB and a mask, (B, 4, H, W), 1 where nothing is known.

    What lies in the holes is ignored. A smooth filling is the base; the network draws on it.
    """

    def forward(self, image: Tensor) -> Features:
        filled, mask = holes_of(image)
        seen = super().forward(torch.cat([filled, mask], dim=1))
        return seen._replace(base=filled)
