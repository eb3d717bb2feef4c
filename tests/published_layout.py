"""The published networks' tensors: every name and shape, and the rule that fills them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from adacode_cli.model.config import AdaCodeConfig

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def layout(config: AdaCodeConfig) -> Shapes:
    """Name and shape of every weight in an official state dict."""
    at1, at2, at4, at8 = config.widths
    levels = config.widths[config.scale // 2 :]
    encoder = "multiscale_encoder"
    yield from convolution(f"{encoder}.in_conv", levels[0], config.in_channels, 4)
    for i, (before, after) in enumerate(pairwise(levels)):
        yield from level(f"{encoder}.blocks.{i}", 0, before, after)
    if config.task != "reconstruct":
        down = len(levels) - 1
        yield from swin(f"{encoder}.blocks.{down}", at8)
        yield from level(f"{encoder}.blocks.{down + 1}", 1, at8, at4)
        yield from level(f"{encoder}.blocks.{down + 2}", 1, at4, at2)
    for i, (before, after) in enumerate(((at8, at4), (at4, at2), (at2, at1))):
        yield from level(f"decoder_group.{i}.block", 1, before, after)
    yield from convolution("out_conv", 3, at1, 3)
    yield from swin("weight_predictor.blocks.0", at8)
    yield from convolution("weight_predictor.blocks.1", len(config.codebooks), at8, 1)
    for k, book in enumerate(config.codebooks):
        yield f"quantize_group.{k}.embedding.weight", (book.codes, book.dim)
        yield from convolution(f"before_quant_group.{k}", book.dim, at8, 1)
        yield from convolution(f"after_quant_group.{k}", at8, book.dim, 3)


def convolution(name: str, after: int, before: int, size: int) -> Shapes:
    yield f"{name}.weight", (after, before, size, size)
    yield f"{name}.bias", (after,)


def affine(name: str, channels: int) -> Shapes:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def level(name: str, first: int, before: int, after: int) -> Shapes:
    """A convolution and two residual blocks."""
    yield from convolution(f"{name}.{first}", after, before, 3)
    for i in (first + 1, first + 2):
        yield from affine(f"{name}.{i}.conv.0.norm", after)
        yield from convolution(f"{name}.{i}.conv.2", after, after, 3)
        yield from affine(f"{name}.{i}.conv.3.norm", after)
        yield from convolution(f"{name}.{i}.conv.5", after, after, 3)


def swin(name: str, c: int) -> Shapes:
    """Four groups of six blocks."""
    for g in range(4):
        group = f"{name}.swin_blks.{g}"
        for b in range(6):
            block = f"{group}.residual_group.blocks.{b}"
            yield from affine(f"{block}.norm1", c)
            yield f"{block}.attn.relative_position_bias_table", (225, 8)
            yield from linear(f"{block}.attn.qkv", 3 * c, c)
            yield from linear(f"{block}.attn.proj", c, c)
            yield from affine(f"{block}.norm2", c)
            yield from linear(f"{block}.mlp.fc1", 4 * c, c)
            yield from linear(f"{block}.mlp.fc2", c, 4 * c)
        yield from convolution(f"{group}.conv", c, c, 3)


def linear(name: str, after: int, before: int) -> Shapes:
    yield f"{name}.weight", (after, before)
    yield f"{name}.bias", (after,)


def fill(name: str, shape: tuple[int, ...]) -> Tensor:
    """Reproducible weights of a sane size, seeded by the tensor's name."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    values = rng.standard_normal(shape).astype(np.float32)
    if "embedding" in name or name.endswith("relative_position_bias_table"):
        values = 0.5 * values
    elif len(shape) == 1:
        values = 1 + 0.1 * values if name.endswith("weight") else 0.05 * values
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def filled_state(config: AdaCodeConfig) -> dict[str, Tensor]:
    """A whole official state dict."""
    return {name: fill(name, shape) for name, shape in layout(config)}
