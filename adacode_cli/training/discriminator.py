"""The other side of the adversarial loss: a U-Net that says pixel by pixel what looks real.

Schönfeld et al. (2020), section 3.1, with spectral norms (Miyato et al., 2018) for stability.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from adacode_cli.training import losses

LEVELS = 3  # each halves the size


class UNetDiscriminator(nn.Module):
    """(B, 3, H, W), sides multiples of 8 → (B, 1, H, W): positive where it looks real."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False))
            for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(b, a, 3, padding=1, bias=False))
            for b, a in pairwise(reversed(widths))
        )
        self.last = nn.Sequential(
            spectral_norm(nn.Conv2d(width, width, 3, padding=1, bias=False)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(image), 0.2)
        skips = []
        for down in self.down:
            skips.append(x)
            x = F.leaky_relu(down(x), 0.2)  # half the size
        for up in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = F.leaky_relu(up(x), 0.2) + skips.pop()
        return self.last(x)


class Adversary:
    """A discriminator with its own optimiser, across processes."""

    def __init__(self, accelerator: Accelerator, width: int, rate: float) -> None:
        self.accelerator, self.rate = accelerator, rate
        self.bare = UNetDiscriminator(width)
        optimiser = torch.optim.Adam(self.bare.parameters(), lr=rate, betas=(0.9, 0.99))
        self.model, self.optimiser = accelerator.prepare(self.bare, optimiser)

    def judge(self, image: Tensor) -> Tensor:
        """The generator's loss: what keeps ``image`` from looking real."""
        self.bare.requires_grad_(False)
        loss = losses.generator(self.bare(image))
        self.bare.requires_grad_(True)
        return loss

    def learn(self, image: Tensor, clean: Tensor, share: float) -> Tensor:
        """One step on what is clean and what only looks so; ``share`` of the rate.

        To be called within the accelerator's ``accumulate``.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        with self.accelerator.autocast():
            real, fake = self.model(torch.cat([clean, image.detach()])).chunk(2)
            loss = losses.discriminator(real, fake)
        self.accelerator.backward(loss)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"model": self.bare.state_dict(), "optimiser": self.optimiser.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """The inverse of ``state``."""
        self.bare.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
