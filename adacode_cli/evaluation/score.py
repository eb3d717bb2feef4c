"""Scores of restorations against the truth, with what any program could do beside them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from adacode_cli.errors import UsageError
from adacode_cli.evaluation import metrics
from adacode_cli.evaluation.pairs import pairs
from adacode_cli.evaluation.protocol import Case, Protocol, TooSmallError
from adacode_cli.restore.inpainting.choice import DEFAULT, Texture
from adacode_cli.restore.inpainting.inpaint import Filling, inpaint
from adacode_cli.restore.reconstruction.bits import WHOLE, bits_per_pixel, round_weights
from adacode_cli.restore.reconstruction.codes import Codes
from adacode_cli.restore.reconstruction.reconstruct import decode, encode
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.damage import to_tensor
from adacode_cli.training.dataset import load_photo, look_into
from adacode_cli.training.degradations import Image
from adacode_cli.training.perceptual import FeatureNetwork, squeeze_distance

Scores = dict[str, float]
Method = Callable[[Case], Tensor]  # → (3, H, W) in [0, 1]
OURS, ALONE = "adacode", "network alone"  # without texture from around the holes
TELEA_RADIUS = 5  # pixels, for OpenCV's two methods


@dataclass(frozen=True)
class Scored:
    """One photo's scores by method, and the pictures behind them, (3, H, W) in [0, 1]."""

    photo: Path
    methods: dict[str, Scores]
    pictures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Judges:
    """Networks that compare pictures, where their weights could be had."""

    squeeze: FeatureNetwork | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Reconstruction:
    """To codes and back, with weights of so many bits; a method."""

    restorer: Restorer
    bits: int
    seen: list[Codes] = field(default_factory=list)  # of the last photo

    def __call__(self, case: Case) -> Tensor:
        codes = encode(self.restorer, to_tensor(case.damaged))
        if self.bits < WHOLE:
            codes = replace(codes, weights=round_weights(codes.weights, self.bits))
        self.seen[:] = [codes]
        return decode(self.restorer, codes)

    @property
    def bits_per_pixel(self) -> float:
        """Of the last photo's codes and weights together."""
        books = self.restorer.model.config.codebooks
        return sum(bits_per_pixel(self.seen[0], books, self.bits).values())


def score_folder(
    folder: Path,
    restorer: Restorer,
    protocol: Protocol,
    judges: Judges,
    every: int = 1,
    weight_bits: Sequence[int] = (),
    others: Mapping[str, Method] | None = None,
    texture: Texture = DEFAULT,
) -> Iterator[Scored | OSError | TooSmallError]:
    """Each ``every``-th photo of ``folder`` as it is scored, or why it can't be.

    weight_bits: for reconstruction, numbers of bits to round the weights to, besides.
    others: what else to compare, by name.
    texture: for inpainting, how much of a hole may be pieces of its photo.
    Raises ``FileNotFoundError`` if there is none.
    """
    methods = {**(others or {}), **methods_for(protocol, restorer, weight_bits, texture)}
    photos, closed = find_all(folder)
    yield from closed
    for number, path in enumerate(photos[::every]):
        try:
            case = protocol.prepare_file(path, number)
            check_size(path, case.clean, margin(protocol))
        except (OSError, TooSmallError) as error:
            yield error
            continue
        yield score_photo(path, case, methods, protocol, judges)


def score_photo(
    path: Path, case: Case, methods: Mapping[str, Method], protocol: Protocol, judges: Judges
) -> Scored:
    """One photo's scores by every method."""
    clean, scores, pictures = to_tensor(case.clean), {}, {}
    for name, method in methods.items():
        began = time.perf_counter()
        # What is measured is what would be saved: 8 bits.
        restored = (method(case).clamp(0, 1) * 255).round() / 255
        seconds = time.perf_counter() - began
        pictures[name] = restored
        scores[name] = measure(restored, clean, margin(protocol), judges, case.hole)
        if isinstance(method, Reconstruction):
            scores[name]["bits/px"] = method.bits_per_pixel
        scores[name]["s/MP"] = seconds / (clean.shape[1] * clean.shape[2] / 1e6)
    return Scored(path, scores, {**pictures, "original": clean})


def margin(protocol: Protocol) -> int:
    """Pixels at the border that aren't compared: as many as the scale, as the field does it."""
    return protocol.scale if protocol.task == "sr" else 0


def check_size(path: Path, clean: Image, border: int) -> None:
    """Raise ``TooSmallError`` for a photo of which there is less than the metrics look at."""
    height, width = clean.shape[:2]
    if min(height, width) < metrics.LEAST or min(height, width) - 2 * border < metrics.WINDOW:
        raise TooSmallError(f"{path}: {width}×{height} pixels are too few to be compared")


def score_pairs(
    pictures: Path, reference: Path, border: int, judges: Judges
) -> Iterator[Scored | OSError | ValueError]:
    """Each picture beside the reference of its name, or why it can't be compared.

    A result is found by its photo's name, with or without what the program adds to it.
    """
    photos, closed = find_all(reference)
    results, closed_too = find_all(pictures)
    yield from {str(error): error for error in (*closed, *closed_too)}.values()
    for path, found in pairs(pictures, results, reference, photos):
        if isinstance(found, ValueError):
            yield found
            continue
        try:
            scores = compare(found, path, border, judges)
        except (OSError, ValueError) as error:
            yield error
            continue
        yield Scored(path, {pictures.name: scores})


def compare(result: Path, reference: Path, border: int, judges: Judges) -> Scores:
    """A picture's scores. Raises ``OSError`` for a broken one, ``ValueError`` for a wrong size."""
    photo = load_photo(reference)
    clean, restored = to_tensor(photo), to_tensor(load_photo(result))
    if clean.shape != restored.shape:
        sizes = " and ".join(f"{x.shape[2]}×{x.shape[1]}" for x in (restored, clean))
        raise ValueError(f"{result}: it and its reference have different sizes: {sizes}")
    check_size(reference, photo, 0)
    if min(photo.shape[:2]) - 2 * border < metrics.WINDOW:
        size = f"{photo.shape[1]}×{photo.shape[0]}"
        raise UsageError(f"{result}: --border {border} leaves too little of {size} to compare")
    return measure(restored, clean, border, judges)


def find_all(folder: Path) -> tuple[list[Path], list[OSError]]:
    """The photos of a folder, or the one file; and why folders in it can't be read.

    Raises ``FileNotFoundError`` if there is no photo, ``OSError`` if it may be for that reason.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such file or folder")
    if folder.is_file():
        return [folder], []
    inside = look_into(folder)
    closed = [OSError(line) for line in inside.told_closed()]
    if not inside.photos:
        raise closed[0] if closed else FileNotFoundError(f"{folder}: no photo in it")
    return sorted(inside.photos), closed


def methods_for(
    protocol: Protocol, restorer: Restorer, weight_bits: Sequence[int], texture: Texture
) -> dict[str, Method]:
    """Ours, after what is compared with it."""
    if protocol.task == "sr":
        return {
            "bicubic": lambda case: bicubic(case.damaged, protocol.scale),
            OURS: lambda case: restorer(to_tensor(case.damaged)),
        }
    if protocol.task == "inpaint":
        ours: dict[str, Method] = {OURS: lambda case: fill(case, restorer, texture)}
        if texture is not Texture.none:
            ours = {ALONE: lambda case: fill(case, restorer, Texture.none), **ours}
        return {
            "Telea": lambda case: opencv_fill(case, cv2.INPAINT_TELEA),
            "Navier-Stokes": lambda case: opencv_fill(case, cv2.INPAINT_NS),
            **ours,
        }
    rounded = {f"{bits}-bit weights": Reconstruction(restorer, bits) for bits in weight_bits}
    return {OURS: Reconstruction(restorer, WHOLE), **rounded}


def bicubic(degraded: Image, scale: int) -> Tensor:
    """What any viewer does: (h, w, 3) → (3, s·h, s·w) in [0, 1]."""
    h, w = degraded.shape[:2]
    size, by = (scale * w, scale * h), PillowImage.Resampling.BICUBIC
    return to_tensor(np.asarray(PillowImage.fromarray(degraded).resize(size, by)))


def opencv_fill(case: Case, method: int) -> Tensor:
    """One of OpenCV's two ways to fill holes."""
    assert case.hole is not None
    return to_tensor(np.asarray(cv2.inpaint(case.damaged, case.hole, TELEA_RADIUS, method)))


def fill(case: Case, restorer: Restorer, texture: Texture) -> Tensor:
    """What ``adacode inpaint`` makes of the holes, and the photo around them."""
    assert case.hole is not None
    return inpaint(restorer, to_tensor(case.damaged), case.hole > 0, Filling(texture=texture))


def measure(
    restored: Tensor, clean: Tensor, border: int, judges: Judges, hole: Image | None = None
) -> Scores:
    """Every metric by name; the networks' distances where they are given."""
    scores = {
        "PSNR-Y": metrics.psnr_y(restored, clean, border),
        "SSIM": metrics.ssim_y(restored, clean, border),
        "gradients": metrics.gradient_similarity(restored, clean),
    }
    if hole is not None:
        scores["PSNR hole"] = psnr_within(restored, clean, hole)
    with torch.inference_mode():
        if judges.squeeze is not None:
            distance = squeeze_distance(judges.squeeze, restored[None], clean[None])
            scores["squeeze"] = distance.item()
        if judges.lpips is not None:
            scores["LPIPS"] = judges.lpips(restored[None], clean[None]).item()
    scores["grid"] = metrics.grid(restored)
    return scores


def psnr_within(restored: Tensor, clean: Tensor, hole: Image) -> float:
    """PSNR in dB over the holes' pixels alone, RGB."""
    inside = torch.from_numpy(hole > 0)
    error = (restored - clean)[:, inside].double().square().mean().item()
    return 10 * math.log10(1 / error) if error else math.inf


def mean_scores(scored: list[Scored]) -> dict[str, Scores]:
    """The mean of every metric over photos, by method."""
    return {
        method: {
            metric: float(np.mean([s.methods[method][metric] for s in scored]))
            for metric in scored[0].methods[method]
        }
        for method in scored[0].methods
    }
