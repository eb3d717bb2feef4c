"""The convolutional pieces that encoders and decoders are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.model.norm import GroupNorm
from adacode_cli.model.overridable import overridable
from adacode_cli.model.winograd import convolution


class Conv3(nn.Conv2d):
    """A 3×3 convolution that keeps the size, computed in the faster way."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return conv3x3(x, self.weight, self.bias)


@overridable
def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same of a whole map: (B, C, h, w) → (B, O, h, w)."""
    return convolution(x, weight, bias, 1, (1, 1), 1, 1)


def conv3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size (or divides it by ``stride``)."""
    if stride == 1:
        return Conv3(in_channels, out_channels)
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)


def he_(conv: nn.Conv2d, gain: float = 1.0) -> nn.Conv2d:
    """He's initialisation, times ``gain``, in place.

    Without normalisation, PyTorch's own lets the signal fade from layer to layer, and blocks
    that begin near the identity stay there for long.
    """
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    with torch.no_grad():
        conv.weight.mul_(gain)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def add_skip(x: Tensor, skip: Tensor | None) -> Tensor:
    """``x + skip`` where the encoder passed something around the codes, else ``x``."""
    return x if skip is None else x + skip


class NormResBlock(nn.Module):
    """Pre-activation residual block with GroupNorm: (B, C, h, w) → (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(32, channels, eps=1e-6)
        self.conv1 = conv3(channels, channels)
        self.norm2 = GroupNorm(32, channels, eps=1e-6)
        self.conv2 = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(silu(self.norm1(x)))
        y = self.conv2(silu(self.norm2(y)))
        return x + y


def silu(x: Tensor) -> Tensor:
    """SiLU, in the memory of ``x`` unless a gradient needs that."""
    return F.silu(x, inplace=not x.requires_grad)


class NearestConv(nn.Conv2d):
    """Twice the size by repeating pixels, then a 3×3 convolution, in 4/9 of the work.

    (B, C, h, w) → (B, O, 2h, 2w). Of the nine pixels that the kernel sees, some are the
    same: each of the four parts of a pixel is a 2×2 convolution of the small map.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nearest_conv(x, self.weight, self.bias)


@overridable
def nearest_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same of a whole map."""
    return nearest_conv_between(F.pad(x, (0, 0, 1, 1)), weight, bias)


def nearest_conv_between(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same without the first and last row: (B, C, h + 2, w) → (B, O, 2h, 2w)."""
    channels, (h, w) = len(weight), (x.shape[2] - 2, x.shape[3])
    kernels = torch.cat([halved(halved(weight, row, 2), column, 3) for row, column in PARTS])
    biases = None if bias is None else bias.repeat(4)
    drawn = convolution(x, kernels, biases, 1, (0, 1), 1, 1)  # (B, 4·O, h + 1, w + 1)
    larger = torch.empty(
        (len(x), channels, 2 * h, 2 * w),
        dtype=drawn.dtype,
        device=drawn.device,
        memory_format=torch.channels_last,
    )
    for (row, column), part in zip(PARTS, drawn.chunk(4, dim=1), strict=True):
        seen = part[:, :, row : row + h, column : column + w]
        larger[:, :, row::2, column::2] = seen
    return larger


PARTS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of a pixel, row by row


def halved(kernel: Tensor, part: int, dim: int) -> Tensor:
    """Three taps as the two that one half of a pixel sees."""
    first, middle, last = kernel.unbind(dim)
    taps = (first, middle + last) if part == 0 else (first + middle, last)
    return torch.stack(taps, dim)


class ResBlock(nn.Module):
    """Residual block without normalisation, so that no pixel depends on the image's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = he_(conv3(channels, channels))
        self.conv2 = he_(conv3(channels, channels), gain=0.4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(x), 0.2, inplace=True))


def norm_level_down(in_channels: int, out_channels: int) -> nn.Sequential:
    """The published encoder's level: half the size, then two blocks."""
    return nn.Sequential(
        conv3(in_channels, out_channels, stride=2),
        NormResBlock(out_channels),
        NormResBlock(out_channels),
    )


def norm_level_up(in_channels: int, out_channels: int) -> nn.Sequential:
    """The published decoder's level: twice the size, then two blocks."""
    return nn.Sequential(
        nn.Identity(),  # keeps the published numbers of what follows
        NearestConv(in_channels, out_channels),
        NormResBlock(out_channels),
        NormResBlock(out_channels),
    )


def res_blocks(channels: int, depth: int) -> nn.Sequential:
    """``depth`` residual blocks without normalisation."""
    return nn.Sequential(*(ResBlock(channels) for _ in range(depth)))


def conv_upsample(in_channels: int, out_channels: int, gain: float = 1.0) -> nn.Sequential:
    """A convolution, then twice the size by bilinear interpolation.

    A pixel shuffle, or nearest-neighbour and a convolution, may treat odd and even pixels
    differently, and learns to: a grid appears. Interpolated features have the same mix,
    mirrored, at every pixel; the convolution comes first because there it costs a quarter.
    """
    return nn.Sequential(
        he_(conv3(in_channels, out_channels), gain), nn.Upsample(scale_factor=2, mode="bilinear")
    )


class Subpixel(nn.Module):
    """A pixel shuffle: (B, C, h, w) → (B, O, 2h, 2w), 0 at first.

    To be added to what interpolation gives, which has little to say above an eighth of a cycle
    per pixel of the result, where texture is.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = he_(nn.Conv2d(in_channels, 4 * out_channels, 1), gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class MirroredUpsample(nn.Module):
    """One 3×3 kernel and its three mirror images draw the four parts of each pixel.

    (B, C, h, w) → (B, O, 2h, 2w): a pixel shuffle that can't draw a grid, since where the
    features are flat all four parts are the same, and elsewhere they differ by a reflection.
    All of its work is done at the small size.

    ``free`` adds a kernel of its own to each part: 0 at first, and free to draw a grid.
    """

    def __init__(
        self, in_channels: int, out_channels: int, gain: float = 1.0, *, free: bool = False
    ) -> None:
        super().__init__()
        self.conv = he_(conv3(in_channels, out_channels), gain)
        zeros = torch.zeros(4 * out_channels, in_channels, 3, 3)
        self.free = nn.Parameter(zeros) if free else None

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.conv.weight, self.conv.bias  # (O, C, 3, 3), (O,)
        parts = [kernel, kernel.flip(3), kernel.flip(2), kernel.flip(2, 3)]  # row by row
        stacked = torch.stack(parts, dim=1).flatten(0, 1)  # (O·4, C, 3, 3)
        if self.free is not None:
            stacked = stacked + self.free
        repeated = None if bias is None else bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, stacked, repeated, padding=1), 2)
