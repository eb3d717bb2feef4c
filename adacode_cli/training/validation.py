"""Photos kept aside: how good the averaged weights are on them, in numbers and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor

from adacode_cli.evaluation.metrics import psnr_y
from adacode_cli.model.adacode import Restoration
from adacode_cli.training import losses
from adacode_cli.training.damage import Damage, to_tensor
from adacode_cli.training.dataset import Patch, load_photo, tell_skipped
from adacode_cli.training.degradations import Image
from adacode_cli.training.distillation import Distillation
from adacode_cli.training.perceptual import PerceptualNetwork

SIDE = 192  # pixels of the clean square; a multiple of what every network asks for
SHOWN = 8  # rows of the sheet
GAP = 4
# One colour a codebook, apart in hue and lightness.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (240, 228, 66))
Restore = Callable[[Tensor], Restoration]
# What perceptual losses are blind to, where it is trained on.
FINEST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "fine": losses.fine,
    "comb": lambda image, _clean: losses.comb(image),
}


class Sample(NamedTuple):
    """A clean square and what the network is shown of it, with a batch dimension."""

    clean: Tensor
    damaged: Tensor


@dataclass
class Validation:
    """The photos kept aside, damaged the same way every time; broken ones are told and skipped."""

    photos: list[Path]
    damage: Damage
    perceptual: PerceptualNetwork | None = None
    distillation: Distillation | None = None  # what is to be drawn, if not the photo

    def __post_init__(self) -> None:
        self.samples: list[Sample] = []
        self.drawn: list[Tensor] = []
        for number, path in enumerate(self.photos):
            try:
                self.samples.append(self.sample(load_photo(path), number))
            except OSError as error:
                tell_skipped(error)

    def sample(self, photo: Image, number: int) -> Sample:
        """The middle of a photo, mirrored where it is too small."""
        missing = [max(0, SIDE - n) for n in photo.shape[:2]]
        photo = np.pad(photo, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
        top, left = ((n - SIDE) // 2 for n in photo.shape[:2])
        clean = np.ascontiguousarray(photo[top : top + SIDE, left : left + SIDE])
        damaged = self.damage(clean, np.random.default_rng((0, number)))
        return Sample(to_tensor(clean)[None], damaged[None])

    @property
    def targets(self) -> list[Tensor]:
        """What each network is to draw, as in training: the clean square, or another's picture."""
        if self.distillation is None:
            return [sample.clean for sample in self.samples]
        if not self.drawn:
            place = self.distillation.device
            moved = [Patch(*(tensor.to(place) for tensor in sample)) for sample in self.samples]
            self.drawn = [self.distillation(patch).clean.cpu() for patch in moved]
        return self.drawn

    @torch.no_grad()
    def score(self, restore: Restore, weights: dict[str, float]) -> dict[str, float]:
        """``valid/psnr`` in dB, distances where there is a network, and their weighed loss.

        PSNR is to the photo; the others are to what is to be drawn.
        """
        psnr, distance, content, l1, finest = [], [0.0], [0.0], [], []
        weighed = [(weights[name], loss) for name, loss in FINEST.items() if name in weights]
        for (clean, damaged), target in zip(self.samples, self.targets, strict=True):
            restored = restore(damaged).image
            image = show(restored, clean, damaged)
            psnr.append(psnr_y(image[0], clean[0]))
            l1.append((image - target).abs().mean().item())
            finest.append(sum(w * loss(image, target).item() for w, loss in weighed))
            if self.perceptual is not None:
                pair = [picture.to(restored.device) for picture in (image, target)]
                distance.append(self.perceptual.loss(*pair).item())
                if "content" in weights:
                    content.append(self.perceptual.content(*pair).item())
        far, other, off = (float(np.sum(each)) / len(l1) for each in (distance, content, l1))
        told = {"valid/psnr": float(np.mean(psnr))}
        if self.perceptual is not None:
            told["valid/perceptual"] = far
        if len(content) > 1:
            told["valid/content"] = other
        # L1 judges where nothing else does.
        by_l1 = weights.get("reconstruction", 0.0 if "psnr" in weights else 1.0)
        loss = by_l1 * off + weights.get("perceptual", 0.0) * far
        loss += weights.get("content", 0.0) * other
        loss -= weights.get("psnr", 0.0) * told["valid/psnr"]
        loss += float(np.mean(finest))
        return {**told, "valid/loss": loss}

    @torch.no_grad()
    def draw_sheet(self, restore: Restore, path: Path) -> None:
        """A row a photo: what the network saw, its result, the truth, which codebook where."""
        rows = []
        for clean, damaged in self.samples[:SHOWN]:
            restored = restore(damaged)
            seen = F.interpolate(damaged[:, :3], clean.shape[-2:], mode="nearest")
            columns = [seen, show(restored.image, clean, damaged), clean]
            columns.append(paint(restored.weight_map, clean.shape[-1]))
            rows.append(F.pad(torch.cat(columns, dim=3), (0, 0, 0, GAP), value=1.0)[0])
        pixels = (255 * torch.cat(rows, dim=1)).round().byte().permute(1, 2, 0).numpy()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        PillowImage.fromarray(pixels).save(unfinished, format="PNG")
        unfinished.replace(path)


def show(image: Tensor, clean: Tensor, damaged: Tensor) -> Tensor:
    """What a user would get, on the host: in range, known pixels kept where there are holes."""
    image = image.float().cpu().clamp(0, 1)
    return torch.where(damaged[:, 3:] > 0, image, clean) if damaged.shape[1] == 4 else image


def paint(weight_map: Tensor, side: int) -> Tensor:
    """Each codebook's colour by the size of its weight: (1, K, h, w) → (1, 3, side, side)."""
    share = weight_map.float().cpu().abs()
    share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
    colours = torch.tensor([COLOURS[k % len(COLOURS)] for k in range(share.shape[1])]) / 255
    picture = torch.einsum("bkhw,kc->bchw", share, colours)
    return F.interpolate(picture, (side, side), mode="nearest")
