"""Scores of a model on clean photos: degraded by seed, restored, compared; bicubic beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adacode_cli.errors import UsageError
from adacode_cli.evaluation import metrics
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.dataset import find_photos, load_photo, to_tensor
from adacode_cli.training.degradations import Image as Bytes
from adacode_cli.training.degradations import degrade
from adacode_cli.training.perceptual import SqueezeFeatures, squeeze_distance

Scores = dict[str, float]
DEGRADATIONS = ("blind", "bicubic")


@dataclass(frozen=True)
class Scored:
    """One photo's scores by method, and the pictures behind them, (3, H, W) in [0, 1]."""

    photo: Path
    methods: dict[str, Scores]
    pictures: dict[str, Tensor]


@dataclass(frozen=True)
class Protocol:
    """What is done to the clean photos before they are restored."""

    scale: int
    degradation: str = "blind"  # blur, noise and JPEG; or a plain bicubic reduction
    seed: int = 0

    def __post_init__(self) -> None:
        if self.degradation not in DEGRADATIONS:
            raise UsageError(f"no degradation is called {self.degradation!r}: {DEGRADATIONS}")

    def prepare(self, photo: Bytes, number: int) -> tuple[Bytes, Bytes]:
        """A clean photo, cut to a multiple of 8, and its degraded version."""
        h, w = (n // 8 * 8 for n in photo.shape[:2])
        clean = photo[:h, :w]
        if self.degradation == "bicubic":
            size = (w // self.scale, h // self.scale)
            return clean, np.asarray(Image.fromarray(clean).resize(size, Image.Resampling.BICUBIC))
        return clean, degrade(clean, self.scale, np.random.default_rng((self.seed, number)))


def score_folder(
    folder: Path, restorer: Restorer, protocol: Protocol, features: SqueezeFeatures | None
) -> Iterator[Scored]:
    """Each photo of ``folder`` as it is scored. Raises ``FileNotFoundError`` if there is none."""
    photos = find_photos(folder)
    if not photos:
        raise FileNotFoundError(f"{folder}: no photo in it")
    methods: dict[str, Callable[[Bytes], Tensor]] = {
        "bicubic": lambda degraded: bicubic(degraded, protocol.scale),
        "adacode": lambda degraded: restorer(to_tensor(degraded)),
    }
    for number, path in enumerate(photos):
        clean, degraded = protocol.prepare(load_photo(path), number)
        scores, pictures = {}, {}
        for name, method in methods.items():
            began = time.perf_counter()
            # What is measured is what would be saved: 8 bits.
            restored = (method(degraded) * 255).round() / 255
            seconds = time.perf_counter() - began
            pictures[name] = restored
            scores[name] = measure(restored, to_tensor(clean), protocol.scale, features)
            scores[name]["s/MP"] = seconds / (clean.shape[0] * clean.shape[1] / 1e6)
        yield Scored(path, scores, {**pictures, "original": to_tensor(clean)})


def bicubic(degraded: Bytes, scale: int) -> Tensor:
    """What any viewer does: (h, w, 3) → (3, s·h, s·w) in [0, 1]."""
    h, w = degraded.shape[:2]
    enlarged = Image.fromarray(degraded).resize((scale * w, scale * h), Image.Resampling.BICUBIC)
    return to_tensor(np.asarray(enlarged))


def measure(
    restored: Tensor, clean: Tensor, border: int, features: SqueezeFeatures | None
) -> Scores:
    """Every metric by name; squeeze distance where its network is given."""
    scores = {
        "PSNR-Y": metrics.psnr_y(restored, clean, border),
        "SSIM": metrics.ssim_y(restored, clean, border),
        "gradients": metrics.gradient_similarity(restored, clean),
    }
    if features is not None:
        with torch.inference_mode():
            scores["squeeze"] = squeeze_distance(features, restored[None], clean[None]).item()
    scores["grid"] = metrics.grid(restored)
    return scores


def mean_scores(scored: list[Scored]) -> dict[str, Scores]:
    """The mean of every metric over photos, by method."""
    return {
        method: {
            metric: float(np.mean([s.methods[method][metric] for s in scored]))
            for metric in scored[0].methods[method]
        }
        for method in scored[0].methods
    }
