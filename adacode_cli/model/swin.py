"""Residual Swin groups: the long-range part of the published networks.

Liang et al., SwinIR (2021), section 3.2; Liu et al., Swin Transformer (2021), section 3.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.model.blocks import conv3
from adacode_cli.model.constants import kept
from adacode_cli.model.overridable import overridable

WINDOW = 8  # feature pixels
HEADS = 8
MLP_RATIO = 4
BLOCKS_PER_GROUP = 6
GROUPS = 4


@kept(32)
def order(h: int, w: int, down: int, across: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions window by window, shifted cyclically, and the way back: (h·w,) twice."""
    shifted = torch.arange(h * w).view(h, w).roll((-down, -across), dims=(0, 1))
    tiles = shifted.view(h // WINDOW, WINDOW, w // WINDOW, WINDOW)
    forth = tiles.transpose(1, 2).flatten()
    return forth.to(device), forth.argsort().to(device)


def dense(x: Tensor, layer: nn.Module) -> Tensor:
    """A linear ``layer``, (…, C) → (…, O); on a CPU a 1×1 convolution, which is faster there."""
    assert isinstance(layer, nn.Linear)
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return layer(x)
    rows = x.reshape(1, -1, *x.shape[-2:]).permute(0, 3, 1, 2)  # (1, C, ·, ·)
    product = F.conv2d(rows, layer.weight[:, :, None, None], layer.bias)
    return product.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def relative_positions() -> Tensor:
    """For each pair of positions in a window, its row in the bias table: (64, 64)."""
    span = torch.arange(WINDOW, device="cpu")
    y, x = (grid.flatten() for grid in torch.meshgrid(span, span, indexing="ij"))
    dy = y[:, None] - y[None, :] + WINDOW - 1
    dx = x[:, None] - x[None, :] + WINDOW - 1
    return dy * (2 * WINDOW - 1) + dx


def apart(rows: Tensor, columns: Tensor) -> Tensor:
    """0 between positions of a window with one label, -100 elsewhere: (windows, 64, 64).

    rows, columns: a label for each, (h,) and (w,). After a cyclic shift the last windows
    hold pieces of opposite borders, which have different labels.
    """
    label = 2 * rows[:, None] + columns
    forth, _ = order(*label.shape, 0, 0, device=label.device)
    label = label.flatten()[forth].view(-1, WINDOW**2)
    differ = label[:, :, None] != label[:, None, :]
    return torch.zeros(differ.shape, device=label.device).masked_fill(differ, -100.0)


@kept(2)
def apart_in_whole(h: int, w: int, shift: int, device: torch.device) -> Tensor:
    """``apart`` of a whole image, which every second block asks for: (windows, 64, 64)."""
    rows, columns = (from_the_other_side(n, shift, device) for n in (h, w))
    return apart(rows, columns)


def from_the_other_side(length: int, count: int, device: torch.device) -> Tensor:
    """Labels after a cyclic shift by ``count``: 1 for what came around, (length,)."""
    return (torch.arange(length, device=device) >= length - count).long()


class WindowAttention(nn.Module):
    """Attention among the 64 positions of a window, with a learned relative bias."""

    positions: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("positions", relative_positions(), persistent=False)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        n, length, c = windows.shape  # (B·windows, 64, C)
        qkv = dense(windows, self.qkv).view(n, length, 3, HEADS, c // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B·windows, heads, 64, C/heads)
        bias = self.bias_table.to(q.dtype)[self.positions]
        bias = bias.permute(2, 0, 1)[None]  # (1, heads, 64, 64)
        if mask is not None:
            bias = bias + mask.to(q.dtype)[:, None]  # (windows, heads, 64, 64)
        if mask is not None or q.is_cuda:  # where one for all windows would be no fused attention
            bias = bias.repeat(n // bias.shape[0], 1, 1, 1)  # (B·windows, heads, 64, 64)
        # Of four dimensions, PyTorch has a fused attention for it.
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return dense(out.transpose(1, 2).reshape(n, length, c), self.proj)


class SwinBlock(nn.Module):
    """Window attention and an MLP; every second block shifts its windows by half.

    (B, C, h, w) → (B, C, h, w); h and w are multiples of 8.
    """

    def __init__(self, channels: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, MLP_RATIO * channels),
            nn.GELU(),
            nn.Linear(MLP_RATIO * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return swin_block(x, self)

    def whole(self, x: Tensor) -> Tensor:
        """The whole image: shifted windows go around its borders, and don't look across."""
        x = x.permute(0, 2, 3, 1)  # (B, h, w, C)
        mask = None
        if self.shift:
            mask = apart_in_whole(*x.shape[1:3], self.shift, device=x.device)
        return self.after_attention(x, self.attend(self.norm1(x), mask, self.shift))

    def band(self, x: Tensor, above: int, below: int) -> Tensor:
        """A band of rows of the image, between borders of windows.

        above, below: rows that its first and last windows have beyond the image's border.
        """
        x = x.permute(0, 2, 3, 1)  # (B, h, w, C)
        y = F.pad(self.norm1(x), (0, 0, 0, 0, above, below))
        rows = torch.zeros(y.shape[1], dtype=torch.long, device=x.device)
        rows[:above], rows[len(rows) - below :] = 1, 1
        mask = None
        if self.shift:
            mask = apart(rows, from_the_other_side(x.shape[2], self.shift, x.device))
        y = self.attend(y, mask, 0)[:, above : above + x.shape[1]]
        return self.after_attention(x, y)

    def attend(self, y: Tensor, mask: Tensor | None, down: int) -> Tensor:
        """(B, h, w, C) → the same. mask: of the windows. down: how far they go around."""
        b, h, w, c = y.shape
        forth, back = order(h, w, down, self.shift, device=y.device)
        windows = y.reshape(b, h * w, c).index_select(1, forth).view(-1, WINDOW**2, c)
        seen = self.attention(windows, mask)
        return seen.view(b, h * w, c).index_select(1, back).view(b, h, w, c)

    def after_attention(self, x: Tensor, y: Tensor) -> Tensor:
        """Both residuals; (B, h, w, C) twice → (B, C, h, w)."""
        x = x + y
        inner, activation, outer = self.mlp.children()
        x = x + dense(activation(dense(self.norm2(x), inner)), outer)
        return x.permute(0, 3, 1, 2)


@overridable
def swin_block(x: Tensor, block: SwinBlock) -> Tensor:
    """``block`` on the whole image: (B, C, h, w) → (B, C, h, w)."""
    return block.whole(x)


class SwinGroup(nn.Module):
    """Six Swin blocks and a convolution, around a residual: (B, C, h, w) → (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shifts = [WINDOW // 2 * (i % 2) for i in range(BLOCKS_PER_GROUP)]
        self.blocks = nn.ModuleList(SwinBlock(channels, shift) for shift in shifts)
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self.blocks:
            y = block(y)
        return x + self.conv(y)


class SwinGroups(nn.Module):
    """Four residual Swin groups: (B, C, h, w) → the same; h and w are multiples of 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = nn.ModuleList(SwinGroup(channels) for _ in range(GROUPS))

    def forward(self, x: Tensor) -> Tensor:
        for group in self.groups:
            x = group(x)
        return x
