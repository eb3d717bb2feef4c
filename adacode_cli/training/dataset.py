"""Photos in folders become training patches, each decided by a seed and a number alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from adacode_cli.images.folders import Inside
from adacode_cli.images.naming import is_photo
from adacode_cli.images.picture import PictureError
from adacode_cli.images.read import MAX_PIXELS, read, read_size
from adacode_cli.images.unlimited import open_unlimited
from adacode_cli.training.damage import Damage, to_tensor
from adacode_cli.training.degradations import Image
from adacode_cli.training.target import Target
from adacode_cli.visible import visible


class Patch(NamedTuple):
    """clean: the target, (3, P, P). degraded: the input, (C, P/s, P/s). Both in [0, 1]."""

    clean: Tensor
    degraded: Tensor


def find_classes(folder: Path, purpose: str = "train on") -> dict[str, list[Path]]:
    """Class name → its photos, sorted: one class per subfolder, or the folder as one class.

    Raises ``OSError`` when there is no such folder, or no photo in it for the ``purpose``.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; give a folder of photos to {purpose}")
    classes = classes_in(folder) or {folder.name: find_photos(folder)}
    if not any(classes.values()):
        raise FileNotFoundError(f"{folder}: no photo in it to {purpose}")
    return classes


def classes_in(folder: Path) -> dict[str, list[Path]]:
    """Class name → its photos, sorted, for every subfolder that holds some."""
    classes = {p.name: find_photos(p) for p in sorted(folder.iterdir()) if p.is_dir()}
    return {name: photos for name, photos in classes.items() if photos}


def left_out(folder: Path) -> int:
    """How many photos lie beside the classes of a folder, and belong to none."""
    beside = sum(map(is_photo, folder.iterdir())) if folder.is_dir() else 0
    return beside if beside and classes_in(folder) else 0


def find_photos(folder: Path) -> list[Path]:
    """Every photo below ``folder`` that one may look at, sorted."""
    return sorted(look_into(folder).photos)


def look_into(folder: Path) -> Inside:
    """What is in a folder and in those below it."""
    inside = Inside(deep=True)
    inside.look(folder)
    return inside


def closed_in(folder: Path) -> list[str]:
    """A line for each folder that can't be read, of those below and of linked classes."""
    inside = look_into(folder)
    for link in inside.linked_folders.copy():
        if link.parent == folder:
            inside.look(link)
    return inside.told_closed()


def load_photo(path: Path) -> Image:
    """(H, W, 3) uint8 RGB, upright, as the program's commands see it.

    Raises ``OSError``, naming it, if it isn't readable, or larger than any photo.
    """
    try:
        width, height = read_size(path)
        picture = read(path) if width * height <= MAX_PIXELS else None
    except PictureError as error:
        raise OSError(str(error)) from error
    if picture is None:
        most = MAX_PIXELS // 10**6
        raise OSError(f"{path}: {width}×{height} pixels are more than {most} million")
    colour = picture.samples[..., : 1 if picture.gray else 3]
    if picture.depth == 16:
        colour = np.rint(colour / np.float32(257)).astype(np.uint8)
    return np.repeat(colour, 3, axis=2) if picture.gray else np.ascontiguousarray(colour)


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


def usable(photos: list[Path], smallest: int) -> tuple[list[Path], dict[Path, str]]:
    """Photos of at least ``smallest`` pixels a side, and why each of the others isn't used.

    Only headers are read: damage further in is met, and skipped, when the photo is decoded.
    """
    kept, skipped = [], {}
    for path in photos:
        try:
            width, height = size_of(path)
        except (OSError, ValueError) as error:
            skipped[path] = f"unreadable ({error})"
            continue
        if min(width, height) < smallest:
            skipped[path] = f"{width}×{height} is smaller than a patch of {smallest}"
        else:
            kept.append(path)
    return kept, skipped


def size_of(path: Path) -> tuple[int, int]:
    """A photo's sides, by its header where Pillow knows it; of a TIFF of floats, by all of it.

    Raises ``OSError``, or ``ValueError`` as decoders do.
    """
    try:
        with open_unlimited(path) as photo:
            return photo.size
    except UnidentifiedImageError:
        return read_size(path)


class PatchDataset(Dataset[Patch]):
    """Random patches of ``patch`` pixels, every class as often as every other.

    Patch number i of a seed is always the same, whoever asks for it and when: a run that
    is resumed, or divided over processes, sees what an uninterrupted one sees. A photo that
    can't be decoded is told once, and the next one of its class stands in.
    """

    def __init__(
        self,
        classes: dict[str, list[Path]],
        patch: int,
        damage: Damage,
        seed: int,
        length: int,
        target: Target | None = None,
    ) -> None:
        self.classes: Sequence[list[Path]] = list(classes.values())
        self.patch, self.damage, self.seed, self.length = patch, damage, seed, length
        self.target = target or Target()
        self.cache = PhotoCache(limit=2 << 30)
        self.broken: set[Path] = set()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Patch:
        rng = np.random.default_rng((self.seed, index))
        photos = self.classes[int(rng.integers(len(self.classes)))]
        photo = self.readable(photos, int(rng.integers(len(photos))))
        clean = random_orientation(random_crop(photo, self.patch, rng), rng)
        return Patch(to_tensor(self.target(clean)), self.damage(clean, rng))

    def readable(self, photos: list[Path], first: int) -> Image:
        """The photo at ``first``, or the next one that can be decoded."""
        for path in (*photos[first:], *photos[:first]):
            if path in self.broken:
                continue
            try:
                return self.cache.get(path)
            except OSError as error:
                self.broken.add(path)
                tell_skipped(error)
        raise FileNotFoundError(f"{photos[0].parent}: none of its photos can be decoded")


def tell_skipped(error: OSError) -> None:
    """One line on stderr for a photo that can't be decoded."""
    print(visible(f"adacode: {error}; skipped"), file=sys.stderr, flush=True)


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
