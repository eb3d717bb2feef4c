"""A bundled crop, restored: does this machine compute what it should?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adacode_cli.images.picture import Plane
from adacode_cli.images.read import read
from adacode_cli.restore.restorer import Restorer
from adacode_cli.weights.catalogue import FOLDERS

MODEL = "lite-x4"
# `python -m adacode_cli.self_test` prints it; it changes with the model's file.
EXPECTED = "5a67938a5a65d5ca5f648df5654662e83b3c6a80253f302e3148471852433618"
TOLERANCE = 3  # of 255; bf16 stays below it
BLOCKS = 4  # a side
LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]


@dataclass(frozen=True)
class Outcome:
    """The largest difference from what was expected, of 255, and the crop's own fingerprint."""

    difference: int
    fingerprint: str

    @property
    def passed(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.difference <= TOLERANCE


def run(device: str = "auto", precision: str = "auto") -> Outcome:
    """Restore the crop and compare. Raises what restoring raises."""
    restorer = Restorer.load(MODEL, device, precision)
    crop = torch.from_numpy(read(crop_file()).rgb)
    found = fingerprint(restorer(crop).numpy())
    wanted = np.frombuffer(bytes.fromhex(EXPECTED), np.uint8)
    return Outcome(int(np.abs(found.astype(int) - wanted).max(initial=0)), found.tobytes().hex())


def crop_file() -> Path:
    """Where the crop lies. Raises ``FileNotFoundError`` if the installation lost it."""
    for folder in FOLDERS:
        if (path := folder / "self-test.png").is_file():
            return path
    raise FileNotFoundError("self-test.png is missing from this installation")


def fingerprint(rgb: Plane) -> NDArray[np.uint8]:
    """(3, H, W) in [0, 1] → how bright and how detailed each of 4 × 4 blocks is, 32 bytes."""
    luma = (rgb * LUMA).sum(0)
    down, across = np.gradient(luma)
    detail = np.minimum(1, 8 * block_means(np.hypot(down, across)))
    return np.rint(255 * np.concatenate([block_means(luma), detail])).astype(np.uint8)


def block_means(plane: Plane) -> Plane:
    """(H, W) → the means of its blocks, (16,)."""
    size = plane.shape[0] // BLOCKS
    blocks = plane[: size * BLOCKS, : size * BLOCKS].reshape(BLOCKS, size, BLOCKS, size)
    return np.asarray(blocks.mean((1, 3)).ravel(), np.float32)


if __name__ == "__main__":
    print(run(precision="fp32").fingerprint)
