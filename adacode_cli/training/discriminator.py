"""The other side of the adversarial loss: networks that say place by place what looks real.

For the published preset a U-Net (Schönfeld et al., 2020, section 3.1) with spectral norms (Miyato
et al., 2018); for the lite one patches (Isola et al., 2017, section 3.2.2), at a fifth of a
step's time on a CPU, without norms: with them it learned nothing in the minutes that there are.
Unless a run asks for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from adacode_cli.errors import UsageError
from adacode_cli.evaluation.metrics import blur
from adacode_cli.training import losses
from adacode_cli.training.settings import Settings

LEVELS = 3  # each halves the size
SHIFT = 2**LEVELS  # pixels
DETAIL = 8.0  # how much louder fine detail is, for a discriminator of patches


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


class PatchDiscriminator(nn.Module):
    """(B, 3, H, W) → (B, 1, H/4, W/4): positive where some 40 pixels around look real.

    It sees the picture and, louder, its fine detail: that is where restorations differ.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        layers = (
            nn.Conv2d(6, width, 4, stride=2, padding=1),
            nn.Conv2d(width, wide, 4, stride=2, padding=1),
            nn.Conv2d(wide, wide, 3, padding=1),
            nn.Conv2d(wide, wide, 3, padding=1),
        )
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, 0.2)
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(wide, 1, 3, padding=1)
        nn.init.normal_(self.last.weight, std=0.01)  # at first all look alike

    def forward(self, image: Tensor) -> Tensor:
        coarse = blur(image, torch.full((5,), 0.2))
        x = torch.cat([2 * image - 1, DETAIL * (image - coarse)], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.last(x)


def shifted(image: Tensor) -> Tensor:
    """A part of (B, C, H, W), ``SHIFT`` pixels less a side, at random.

    A discriminator with strides answers differently at each alignment; at always the same one, a
    network learns to draw that as a pattern.
    """
    top, left = torch.randint(SHIFT + 1, (2,)).tolist()
    height, width = (n - SHIFT for n in image.shape[-2:])
    return image[..., top : top + height, left : left + width]


KINDS: dict[str, Callable[[int], nn.Module]] = {
    "unet": UNetDiscriminator,
    "patches": PatchDiscriminator,
}
OF_PRESET = {"official": "unet", "lite": "patches"}


class Adversary:
    """A discriminator with its own optimiser, across processes."""

    def __init__(self, accelerator: Accelerator, settings: Settings) -> None:
        self.accelerator, self.rate = accelerator, settings.discriminator_rate
        kind = settings.discriminator or OF_PRESET[settings.preset]
        self.bare = KINDS[kind](settings.discriminator_width)
        optimiser = torch.optim.Adam(self.bare.parameters(), lr=self.rate, betas=(0.9, 0.99))
        self.model, self.optimiser = accelerator.prepare(self.bare, optimiser)

    def judge(self, image: Tensor) -> Tensor:
        """The generator's loss: what keeps ``image`` from looking real."""
        self.bare.requires_grad_(False)
        loss = losses.generator(self.bare(shifted(image)))
        self.bare.requires_grad_(True)
        return loss

    def learn(self, image: Tensor, clean: Tensor, share: float) -> Tensor:
        """One step on what is clean and what only looks so; ``share`` of the rate.

        To be called within the accelerator's ``accumulate``.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        with self.accelerator.autocast():
            real, fake = self.model(shifted(torch.cat([clean, image.detach()]))).chunk(2)
            loss = losses.discriminator(real, fake)
        self.accelerator.backward(loss)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"model": self.bare.state_dict(), "optimiser": self.optimiser.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """The inverse of ``state``. Raises ``UsageError`` for that of another network."""
        try:
            self.bare.load_state_dict(state["model"])
        except RuntimeError as error:
            raise UsageError(
                "the run there has another discriminator; give another folder with -o"
            ) from error
        self.optimiser.load_state_dict(state["optimiser"])
