"""Which codebook paints where: the weight map as a picture that a person can read."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from adacode_cli.evaluation.sheet import GAP, LABEL, new_sheet, stack
from adacode_cli.images.write import to_bytes
from adacode_cli.model.config import CODE_STRIDE

# Okabe and Ito's: told apart by every kind of eye.
COLOURS = ("#E69F00", "#0072B2", "#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#F0E442", "#555555")
PANEL = 640  # pixels of the longer side
SMOOTH = 1.5  # positions
Maps = NDArray[np.float32]


def weight_sheet(photo: Maps, weights: Maps, names: list[str]) -> Image.Image:
    """The photo, its map in one colour per class with a legend, and each class's own map.

    photo: (3, H, W) in [0, 1]. weights: (K, h, w) at stride 8, of a photo of this size.
    """
    height, width = photo.shape[1:]
    factor = PANEL / max(height, width)
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    seen = weights[:, : -(-height // CODE_STRIDE), : -(-width // CODE_STRIDE)]
    panels = {
        "photo": Image.fromarray(to_bytes(photo)).resize(size, Image.Resampling.LANCZOS),
        "which codebook paints where, smoothed": enlarged(coloured(smooth(seen)), size),
    }
    small = (max(1, size[0] // 2), max(1, size[1] // 2))
    singles = {
        f"{name}: {one.min():.2f} (black) to {one.max():.2f}": enlarged(stretched(one), small)
        for name, one in zip(names, seen, strict=True)
    }
    rows = [beside(part, PANEL // 2) for part in in_fours(singles)]
    return stack([beside(panels, PANEL), legend(seen, names), *rows])


def smooth(weights: Maps) -> Maps:
    """Neighbours mixed: weights change from code to code, regions are what a person looks for."""
    maps = [cv2.GaussianBlur(one, (0, 0), SMOOTH, borderType=cv2.BORDER_REFLECT) for one in weights]
    return np.stack(maps)


def coloured(weights: Maps) -> NDArray[np.uint8]:
    """(K, h, w) → (h, w, 3): the classes' colours, mixed by how far each is ahead."""
    lead = weights - weights.mean(axis=(1, 2), keepdims=True)
    lead = lead / max(float(lead.std()), 1e-6)
    share = np.exp(2 * lead)
    share /= share.sum(axis=0)
    mixed = np.einsum("khw,kc->hwc", share, palette(len(weights)))
    return np.rint(mixed).astype(np.uint8)


def palette(count: int) -> NDArray[np.float32]:
    """So many colours, (K, 3) of 255."""
    return np.array(
        [ImageColor.getrgb(COLOURS[k % len(COLOURS)]) for k in range(count)], np.float32
    )


def stretched(one: Maps) -> NDArray[np.uint8]:
    """(h, w) from black at its least to white at its most."""
    span = max(float(one.max() - one.min()), 1e-6)
    return np.rint((one - one.min()) / span * 255).astype(np.uint8)


def enlarged(pixels: NDArray[Any], size: tuple[int, int]) -> Image.Image:
    """A map at the photo's size."""
    return Image.fromarray(pixels).convert("RGB").resize(size, Image.Resampling.BICUBIC)


def beside(panels: dict[str, Image.Image], least: int = 0) -> Image.Image:
    """Pictures of one size in a row, each under its name, which has ``least`` pixels of room."""
    width, height = next(iter(panels.values())).size
    width = max(width, least)
    row, draw, font = new_sheet(len(panels) * (width + GAP) - GAP, height + LABEL)
    for number, (name, panel) in enumerate(panels.items()):
        draw.text((number * (width + GAP) + 4, 4), name, fill="black", font=font)
        row.paste(panel, (number * (width + GAP), LABEL))
    return row


def legend(weights: Maps, names: list[str]) -> Image.Image:
    """Each class's colour, name and mean weight."""
    row, draw, font = new_sheet(2 * PANEL + GAP, LABEL)
    x = 4
    for name, one, colour in zip(names, weights, palette(len(names)), strict=True):
        draw.rectangle((x, 6, x + 16, 22), fill=tuple(int(c) for c in colour))
        words = f"{name} ({one.mean():.2f})"
        draw.text((x + 22, 4), words, fill="black", font=font)
        x += 22 + round(draw.textlength(words, font=font)) + 20
    return row


def in_fours(panels: dict[str, Image.Image]) -> list[dict[str, Image.Image]]:
    """The panels of each row."""
    items = list(panels.items())
    return [dict(items[i : i + 4]) for i in range(0, len(items), 4)]
