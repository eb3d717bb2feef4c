"""A picture of the difference: bicubic, restored and truth, side by side and labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from adacode_cli.images.unfinished import named, unfinished
from adacode_cli.images.write import to_bytes

DETAIL = 320  # pixels a side, shown as they are
GAP = 8
LABEL = 28  # pixels of height


def most_different(a: Tensor, b: Tensor, side: int) -> tuple[int, int]:
    """Top and left of the square in which two (3, H, W) differ most."""
    difference = (a - b).abs().mean(0)[None, None]
    window = [min(side, n) for n in difference.shape[-2:]]
    sums = F.avg_pool2d(difference, window, stride=8)[0, 0]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return 8 * int(top), 8 * int(left)


def detail_row(columns: dict[str, Tensor]) -> Image.Image:
    """The same detail of every picture, where the first two differ most, under its name."""
    first, second = list(columns.values())[:2]
    top, left = most_different(first, second, DETAIL)
    row, draw, font = new_sheet(len(columns) * (DETAIL + GAP) - GAP, DETAIL + LABEL)
    for number, (name, picture) in enumerate(columns.items()):
        x = number * (DETAIL + GAP)
        detail = picture[:, top : top + DETAIL, left : left + DETAIL]
        row.paste(Image.fromarray(to_bytes(detail.numpy())), (x, LABEL))
        draw.text((x + 4, 4), name, fill="black", font=font)
    return row


def new_sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw, Any]:
    """White paper, a pen and a font."""
    sheet = Image.new("RGB", (width, height), "white")
    return sheet, ImageDraw.Draw(sheet), ImageFont.load_default(size=16)


def stack(rows: list[Image.Image]) -> Image.Image:
    """Rows below each other."""
    height = sum(row.height + GAP for row in rows) - GAP
    sheet, _, _ = new_sheet(max(row.width for row in rows), height)
    y = 0
    for row in rows:
        sheet.paste(row, (0, y))
        y += row.height + GAP
    return sheet


def save_sheet(rows: list[Image.Image], path: Path, *, replace: bool = True) -> None:
    """Rows below each other, as a PNG, whole or not at all. Raises as ``unfinished`` does.

    An ``OSError`` names ``path``.
    """
    with named(path), unfinished(path, replace=replace) as (file, finish):
        stack(rows).save(file, format="PNG")
        finish()
