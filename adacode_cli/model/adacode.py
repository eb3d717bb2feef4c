"""AdaCode: encoder, basis codebooks, weight map, decoder (Liu et al., ICCV 2023, figure 2)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adacode_cli.model import checkpoint
from adacode_cli.model.checkpoint import Checkpoint, CheckpointError
from adacode_cli.model.codebook import BasisCodebook, Quantised, lookup
from adacode_cli.model.config import AdaCodeConfig, Task
from adacode_cli.model.decoder import Decoder, LiteDecoder
from adacode_cli.model.encoder import (
    CleanEncoder,
    Features,
    LiteCleanEncoder,
    LiteInpaintingEncoder,
    LiteRestorationEncoder,
    RestorationEncoder,
)
from adacode_cli.model.outline import outlined
from adacode_cli.model.weight_map import ConvWeightMap, SwinWeightMap, UnitWeightMap


class Restoration(NamedTuple):
    """A restored image and how it came about; every shape is at stride 8 but the image's.

    image: (B, 3, s·H, s·W), unclamped. weight_map: (B, K, h, w). indices: (B, K, h, w).
    features: the encoder's. quantised: one per basis codebook. merged: (B, C, h, w).
    """

    image: Tensor
    weight_map: Tensor
    indices: Tensor
    features: Features
    quantised: list[Quantised]
    merged: Tensor


class AdaCode(nn.Module):
    """An image-adaptive codebook network.

    ``forward`` takes RGB (B, 3, H, W) in [0, 1], H and W multiples of ``config.multiple``,
    and returns a ``Restoration``.
    """

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__()
        self.config = config
        channels, count = config.widths[3], len(config.codebooks)
        lite = config.family == "lite"
        self.encoder = build_encoder(config)
        self.codebooks = nn.ModuleList(
            BasisCodebook(channels, book, unit=lite) for book in config.codebooks
        )
        self.weight_map = build_weight_map(config, channels, count)
        self.decoder = LiteDecoder(config) if lite else Decoder(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def books(self) -> list[BasisCodebook]:
        """The basis codebooks, typed."""
        return [book for book in self.codebooks if isinstance(book, BasisCodebook)]

    def encode(self, image: Tensor) -> tuple[Features, list[Quantised], Tensor]:
        """Features, their codes per basis, and the weight map (B, K, h, w)."""
        features = self.encoder(image)
        quantised = [book(features.z) for book in self.codebooks]
        return features, quantised, self.weight_map(features.z)

    def forward(self, image: Tensor) -> Restoration:
        features, quantised, weight = self.encode(image)
        indices = indices_of(quantised)  # (B, K, h, w)
        merged = merge(quantised, weight)  # (B, C, h, w)
        restored = self.decoder(merged, features)  # (B, 3, s·H, s·W)
        return Restoration(restored, weight, indices, features, quantised, merged)

    def represent(self, indices: Tensor, weight: Tensor) -> Tensor:
        """What codes and weights mean (equations 3 and 4): (B, K, h, w) twice → (B, C, h, w)."""
        found = (book.after(lookup(indices[:, k], book.codes)) for k, book in enumerate(self.books))
        return weighted(found, weight)

    def decode(self, merged: Tensor) -> Tensor:
        """The picture of a representation alone (equation 5): (B, C, h, w) → (B, 3, 8h, 8w)."""
        return self.decoder(merged, Features(z=merged))

    @classmethod
    def from_file(cls, path: Path | str) -> AdaCode:
        """The model in a safetensors file of ours. Raises ``CheckpointError``."""
        return cls.from_checkpoint(checkpoint.load(Path(path)), Path(path))

    @classmethod
    def from_checkpoint(cls, stored: Checkpoint, path: Path) -> AdaCode:
        """The model that was read from ``path``. Raises ``CheckpointError``."""
        # A configuration may claim any size: hold it against the tensors before memory is taken.
        model = cls.outline(stored.config, path)
        checkpoint.fill(model, stored.state, path)
        return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @classmethod
    def outline(cls, config: AdaCodeConfig, path: Path) -> AdaCode:
        """The network without memory for its tensors. Raises ``CheckpointError``."""
        try:
            with outlined():
                return cls(config)
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: its numbers make no network ({error})") from error

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> AdaCode:
        """The model in a repository of the Hub, or in a folder; options of ``ModelHubMixin``.

        Raises ``CheckpointError``, and what the Hub's client raises.
        """
        from adacode_cli.model.pretrained import PretrainedAdaCode

        return PretrainedAdaCode.from_pretrained(name, **options)

    def save_pretrained(self, folder: str | Path, **options: Any) -> str | None:
        """Into a folder, as ``from_pretrained`` takes it, with a card; see ``ModelHubMixin``."""
        from adacode_cli.model.pretrained import pretrained

        return pretrained(self).save_pretrained(folder, **options)

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """To a repository of the Hub; returns the commit's address. See ``ModelHubMixin``."""
        from adacode_cli.model.pretrained import pretrained

        return pretrained(self).push_to_hub(repo, **options)


def indices_of(quantised: list[Quantised]) -> Tensor:
    """Which code of each basis codebook went where: K × (B, h, w) → (B, K, h, w)."""
    return torch.stack([q.indices for q in quantised], dim=1)


def merge(quantised: list[Quantised], weight: Tensor) -> Tensor:
    """Σₖ wₖ · qₖ (equation 4): K × (B, C, h, w) and (B, K, h, w) → (B, C, h, w)."""
    return weighted((q.after for q in quantised), weight)


def weighted(parts: Iterable[Tensor], weight: Tensor) -> Tensor:
    """The sum of K × (B, C, h, w), each times its channel of (B, K, h, w)."""
    return reduce(torch.add, (part * weight[:, k : k + 1] for k, part in enumerate(parts)))


def build_encoder(config: AdaCodeConfig) -> nn.Module:
    """The encoder for the family, of clean images or (stage III) of degraded ones."""
    encoders: dict[Task, type[nn.Module]] = (
        {
            "reconstruct": LiteCleanEncoder,
            "sr": LiteRestorationEncoder,
            "inpaint": LiteInpaintingEncoder,
        }
        if config.family == "lite"
        else {
            "reconstruct": CleanEncoder,
            "sr": RestorationEncoder,
            "inpaint": RestorationEncoder,
        }
    )
    return encoders[config.task](config)


def build_weight_map(config: AdaCodeConfig, channels: int, count: int) -> nn.Module:
    """The weight predictor for the family; a single codebook needs none."""
    if count == 1:
        return UnitWeightMap()
    return (SwinWeightMap if config.family == "official" else ConvWeightMap)(channels, count)
