"""Residual Swin groups: the long-range part of the published networks.

Liang et al., SwinIR (2021), section 3.2; Liu et al., Swin Transformer (2021), section 3.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.model.overridable import overridable

WINDOW = 8  # feature pixels
HEADS = 8
MLP_RATIO = 4
BLOCKS_PER_GROUP = 6
GROUPS = 4


def partition(x: Tensor) -> Tensor:
    """Features to windows: (B, h, w, C) → (B·windows, 64, C)."""
    b, h, w, c = x.shape
    x = x.view(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c)
    return x.transpose(2, 3).reshape(-1, WINDOW * WINDOW, c)


def unpartition(windows: Tensor, h: int, w: int) -> Tensor:
    """Windows to features: (B·windows, 64, C) → (B, h, w, C)."""
    c = windows.shape[-1]
    x = windows.view(-1, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c)
    return x.transpose(2, 3).reshape(-1, h, w, c)


def relative_positions() -> Tensor:
    """For each pair of positions in a window, its row in the bias table: (64, 64)."""
    span = torch.arange(WINDOW)
    y, x = (grid.flatten() for grid in torch.meshgrid(span, span, indexing="ij"))
    dy = y[:, None] - y[None, :] + WINDOW - 1
    dx = x[:, None] - x[None, :] + WINDOW - 1
    return dy * (2 * WINDOW - 1) + dx


def apart(rows: Tensor, columns: Tensor) -> Tensor:
    """0 between positions of a window with one label, -100 elsewhere: (windows, 64, 64).

    rows, columns: a label for each, (h,) and (w,). After a cyclic shift the last windows
    hold pieces of opposite borders, which have different labels.
    """
    label = partition((2 * rows[:, None] + columns).float()[None, :, :, None]).squeeze(-1)
    differ = label[:, :, None] != label[:, None, :]
    return torch.zeros(differ.shape, device=label.device).masked_fill(differ, -100.0)


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
        qkv = self.qkv(windows).view(n, length, 3, HEADS, c // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B·windows, heads, 64, C/heads)
        bias = self.bias_table[self.positions].permute(2, 0, 1)[None]  # (1, heads, 64, 64)
        if mask is not None:
            repeats = n // mask.shape[0]
            bias = (bias + mask[:, None]).repeat(repeats, 1, 1, 1)  # (B·windows, heads, 64, 64)
        # Of four dimensions, PyTorch has a fused attention for it.
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).reshape(n, length, c))


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
        y, shift = self.norm1(x), self.shift
        if shift:
            rows = from_the_other_side(x.shape[1], shift, x.device)
            y = y.roll((-shift, -shift), dims=(1, 2))
            y = self.attend(y, rows).roll((shift, shift), dims=(1, 2))
        else:
            y = self.attend(y, None)
        return self.after_attention(x, y)

    def band(self, x: Tensor, above: int, below: int) -> Tensor:
        """A band of rows of the image, between borders of windows.

        above, below: rows that its first and last windows have beyond the image's border.
        """
        x = x.permute(0, 2, 3, 1)  # (B, h, w, C)
        y, shift = self.norm1(x), self.shift
        rows = None
        if shift:
            y = F.pad(y.roll(-shift, dims=2), (0, 0, 0, 0, above, below))
            rows = torch.zeros(y.shape[1], dtype=torch.long, device=x.device)
            rows[:above], rows[len(rows) - below :] = 1, 1
        y = self.attend(y, rows)[:, above : above + x.shape[1]]
        return self.after_attention(x, y.roll(shift, dims=2) if shift else y)

    def attend(self, y: Tensor, rows: Tensor | None) -> Tensor:
        """(B, h, w, C) → the same; ``rows``: labels where windows are shifted."""
        _, h, w, _ = y.shape
        mask = None
        if rows is not None:
            mask = apart(rows, from_the_other_side(w, self.shift, y.device))
        return unpartition(self.attention(partition(y), mask), h, w)

    def after_attention(self, x: Tensor, y: Tensor) -> Tensor:
        """Both residuals; (B, h, w, C) twice → (B, C, h, w)."""
        x = x + y
        x = x + self.mlp(self.norm2(x))
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
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

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
