"""Drawing as another network draws (Hinton et al., 2015, with pictures for targets).

What is lost can't be known. A network that learns from photos alone learns the mean of all that
may have been there, which is soft, or needs a discriminator that has learned for long. Another
network that had one has decided already, and its decisions are a function of the input, which L1
can teach. Tones, which such networks don't always keep, are the photo's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.errors import UsageError
from adacode_cli.evaluation.metrics import blur, gaussian
from adacode_cli.model.adacode import AdaCode
from adacode_cli.training.dataset import Patch

PROGRAM = ".pt2"  # what torch.export writes
AROUND = 6  # pixels of the input that are repeated around a patch
REACH = 3  # standard deviations: how far a blur looks


class Program(nn.Module):
    """A program of ``torch.export``: (B, 3, h, w) → (B, 3, s·h, s·w), both in [0, 1].

    It is shown pixels repeated around each patch, so that borders are drawn like the middle.
    """

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, image: Tensor) -> Tensor:
        drawn: Tensor = self.program(F.pad(image, (AROUND,) * 4, mode="replicate"))
        cut = drawn.shape[-1] * AROUND // (image.shape[-1] + 2 * AROUND)
        return drawn[..., cut:-cut, cut:-cut]


class Pictures(nn.Module):
    """What an AdaCode network draws, and nothing else of it."""

    def __init__(self, model: AdaCode) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        picture: Tensor = self.model(image).image
        return picture


@dataclass(frozen=True)
class Distillation:
    """Another network's pictures for targets, on the photos' own tones.

    network: (B, 3, h, w) → (B, 3, s·h, s·w), both in [0, 1]. clean: the share of the photo,
    reduced and nothing else, in what it is shown: the less damage it sees the better it draws,
    and the more there is to guess. tones: pixels; what a blur of this standard deviation
    keeps is the photo's.
    """

    network: nn.Module
    clean: float = 0.0
    tones: float = 4.0

    @torch.no_grad()
    def __call__(self, patch: Patch) -> Patch:
        """(B, 3, P, P) and (B, 3, P/s, P/s) → the same inputs with other targets."""
        drawn = self.network(self.shown(patch)).float()
        radius = min(patch.clean.shape[-1] - 1, round(REACH * self.tones))
        tones = blur(patch.clean - drawn, gaussian(self.tones, radius))
        return Patch((drawn + tones).clamp(0, 1), patch.degraded)

    def shown(self, patch: Patch) -> Tensor:
        """What the other network is shown, (B, 3, P/s, P/s)."""
        if not self.clean:
            return patch.degraded
        size = patch.degraded.shape[-2:]
        reduced = F.interpolate(patch.clean, size, mode="bicubic", antialias=True).clamp(0, 1)
        return torch.lerp(patch.degraded, reduced, self.clean)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters(), torch.zeros(())).device

    def to(self, device: torch.device) -> Distillation:
        """Move the network there, in place."""
        self.network.to(device)
        return self


def load_example(path: Path, scale: int, patch: int, batch: int = 1) -> nn.Module:
    """The network to draw after: AdaCode's weights, or a program of ``torch.export`` (.pt2).

    patch: pixels a side of what it is to draw, ``batch`` at once. Raises ``CheckpointError`` or
    ``UsageError`` for a file that can't be read, or holds a network that doesn't enlarge such
    patches ``scale`` times.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    network = load_program(path) if path.suffix == PROGRAM else Pictures(AdaCode.from_file(path))
    image = torch.zeros(batch, 3, patch // scale, patch // scale)
    try:
        with torch.no_grad():
            drawn = tuple(network(image).shape)
    except Exception as error:  # a program may hold anything
        raise UsageError(
            f"{path}: can't draw {batch} patches of {patch} pixels; a program must be exported "
            f"for any batch and size ({error})"
        ) from error
    if drawn != (batch, 3, patch, patch):
        raise UsageError(f"{path}: doesn't enlarge {scale} times: {tuple(image.shape)} → {drawn}")
    return network.requires_grad_(False)


def load_program(path: Path) -> Program:
    """What ``torch.export.save`` wrote. Raises ``UsageError``."""
    try:
        return Program(torch.export.load(path).module())
    except Exception as error:  # whatever a broken archive leads to
        raise UsageError(f"{path}: not a program of torch.export ({error})") from error
