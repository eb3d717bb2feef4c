"""Photos in folders become training patches, each decided by a seed and a number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.utils.data import Dataset

from adacode_cli.images.naming import is_photo
from adacode_cli.training.degradations import Image, degrade


class Patch(NamedTuple):
    """clean: (3, P, P). degraded: (3, P/s, P/s). Both in [0, 1]."""

    clean: Tensor
    degraded: Tensor


def find_classes(folder: Path) -> dict[str, list[Path]]:
    """Class name → its photos, sorted: one class per subfolder, or the folder as one class.

    Raises ``FileNotFoundError`` when no photo is there.
    """
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    classes = {p.name: find_photos(p) for p in subfolders}
    classes = {name: photos for name, photos in classes.items() if photos}
    if not classes:
        classes = {folder.name: find_photos(folder)}
    if not any(classes.values()):
        raise FileNotFoundError(f"{folder}: no photo in it to train on")
    return classes


def find_photos(folder: Path) -> list[Path]:
    """Every photo below ``folder``, sorted."""
    return sorted(filter(is_photo, folder.rglob("*")))


def load_photo(path: Path) -> Image:
    """(H, W, 3) uint8 RGB. Raises ``OSError``, naming it, if it isn't readable."""
    try:
        with PillowImage.open(path) as photo:
            return np.array(photo.convert("RGB"))
    except OSError as error:
        raise OSError(f"{path}: broken photo ({error})") from error


@dataclass
class PhotoCache:
    """Decoded photos, kept up to ``limit`` bytes in all; the rest is decoded again."""

    limit: int
    used: int = 0

    def __post_init__(self) -> None:
        self.photos: dict[Path, Image] = {}

    def get(self, path: Path) -> Image:
        """The decoded photo, from memory where it is there."""
        if path in self.photos:
            return self.photos[path]
        photo = load_photo(path)
        if self.used + photo.nbytes <= self.limit:
            self.photos[path] = photo
            self.used += photo.nbytes
        return photo


class PatchDataset(Dataset[Patch]):
    """Random patches of ``patch`` pixels, every class as often as every other.

    Patch number i of a seed is always the same, whoever asks for it and when: a run that
    is resumed, or divided over processes, sees what an uninterrupted one sees.
    """

    def __init__(
        self, classes: dict[str, list[Path]], patch: int, scale: int, seed: int, length: int
    ) -> None:
        self.classes: Sequence[list[Path]] = list(classes.values())
        self.patch, self.scale, self.seed, self.length = patch, scale, seed, length
        self.cache = PhotoCache(limit=2 << 30)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Patch:
        rng = np.random.default_rng((self.seed, index))
        photos = self.classes[int(rng.integers(len(self.classes)))]
        photo = self.cache.get(photos[int(rng.integers(len(photos)))])
        clean = random_orientation(random_crop(photo, self.patch, rng), rng)
        # Stages I and II (scale 1) learn from clean photos.
        degraded = degrade(clean, self.scale, rng) if self.scale > 1 else clean
        return Patch(to_tensor(clean), to_tensor(degraded))


def random_crop(photo: Image, patch: int, rng: np.random.Generator) -> Image:
    """A square of ``patch`` pixels, of the photo at a random reduction (1 to 0.5)."""
    smallest = patch / min(photo.shape[:2])
    factor = max(smallest, rng.uniform(0.5, 1.0)) if rng.random() < 0.5 else max(1.0, smallest)
    side = min(round(patch / factor), *photo.shape[:2])
    top = rng.integers(photo.shape[0] - side, endpoint=True)
    left = rng.integers(photo.shape[1] - side, endpoint=True)
    square = photo[top : top + side, left : left + side]
    if side == patch:
        return square
    interpolation = cv2.INTER_AREA if side > patch else cv2.INTER_CUBIC
    return cv2.resize(square, (patch, patch), interpolation=interpolation)  # type: ignore[return-value]


def random_orientation(square: Image, rng: np.random.Generator) -> Image:
    """One of the eight flips and quarter turns."""
    turned = np.rot90(square, int(rng.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)


def to_tensor(image: Image) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float in [0, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
