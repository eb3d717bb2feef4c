"""How different two pictures look to a network that was trained to name things.

LPIPS's form (Zhang et al., 2018, equation 1). Only the package of that name has its learned
weights, so only its values may be printed under that name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

# Strided networks see one alignment at a time; a picture is judged at four.
OFFSETS = ((0, 0), (1, 2), (3, 1), (2, 3))
SMALLEST = 32  # pixels a side, so that the deepest layer has positions left


class PerceptualNetwork(Protocol):
    """What a perceptual loss needs of a network; every image is (B, 3, H, W) in [0, 1]."""

    channels: int  # of the deepest features

    def loss(self, image: Tensor, clean: Tensor) -> Tensor:
        """How different they look, (B,); gradients flow to ``image`` alone."""
        ...

    def content(self, image: Tensor, clean: Tensor) -> Tensor:
        """How much of what is seen in ``clean`` is another in ``image``, (); likewise."""
        ...

    def meaning(self, clean: Tensor) -> Tensor:
        """The deepest features, (B, channels, h, w)."""
        ...

    def to(self, device: torch.device) -> object:
        """Move there, in place."""
        ...


class FeatureNetwork(nn.Module):
    """A frozen network whose ``forward`` lists features from shallow to deep."""

    channels: int

    def loss(self, image: Tensor, clean: Tensor) -> Tensor:
        """Their distance without the first layer: it is the costliest, and L1 sees the same."""
        with torch.no_grad():
            target = self(clean)[1:]
        return feature_distance(self(image)[1:], target)

    def content(self, image: Tensor, clean: Tensor) -> Tensor:
        """How far their features are apart, as they are."""
        return content(self, image, clean)

    @torch.no_grad()
    def meaning(self, clean: Tensor) -> Tensor:
        """The deepest features."""
        return self(clean)[-1]


def load_network(name: str) -> PerceptualNetwork:
    """``lpips``, ``vgg19`` (fetched from the Hub), or a safetensors file of SqueezeNet or VGG19.

    Raises ``ValueError`` for a file of another network, ``OSError`` when it can't be had.
    """
    from adacode_cli.training.lpips import Lpips
    from adacode_cli.training.squeezenet import SqueezeFeatures
    from adacode_cli.training.vgg import VggFeatures, fetch_vgg19

    if name == "lpips":
        return Lpips()
    if name == "vgg19":
        return VggFeatures(fetch_vgg19())
    path = Path(name)
    return VggFeatures(path) if VggFeatures.knows(path) else SqueezeFeatures(path)


def feature_distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Σ over layers, mean over positions, of the squared distance of unit features: (B,)."""
    layers = [unit_distance(x.float(), y.float()) for x, y in zip(a, b, strict=True)]
    return torch.stack([layer.mean(dim=(1, 2)) for layer in layers]).sum(0)


def content(features: Callable[[Tensor], list[Tensor]], image: Tensor, clean: Tensor) -> Tensor:
    """``content_distance`` of (B, 3, H, W) twice; gradients flow to ``image`` alone."""
    with torch.no_grad():
        target = features(clean)
    return content_distance(features(image), target)


def content_distance(image: list[Tensor], clean: list[Tensor]) -> Tensor:
    """Σ over layers, from shallow to deep, of 2⁻ˡ · mean |x - y| / mean |y|, over all images: ().

    L1 of features, as in ESRGAN (Wang et al., 2018, section 3.3), but after the activations, of
    several layers, and each in its own measure. Unit features ask for as much of a surface's
    grain as of an edge; these are as loud as what they see. A layer's gradient grows with its
    depth, about as fast as its weight here falls.
    """
    layers = [
        (x.float() - y.float()).abs().mean() / y.float().abs().mean().clamp(min=1e-8)
        for x, y in zip(image, clean, strict=True)
    ]
    return torch.stack([0.5**depth * layer for depth, layer in enumerate(layers)]).sum()


def unit_distance(x: Tensor, y: Tensor) -> Tensor:
    """‖x/‖x‖ - y/‖y‖‖² over channels: (B, C, h, w) → (B, h, w).

    As 2 - 2 cos: that reads the features once, where unit vectors would be written first.
    """
    lengths = [torch.linalg.vector_norm(features, dim=1) for features in (x, y)]
    squares = sum((length > 0).to(length.dtype) for length in lengths)
    cosine = (x * y).sum(1) / (lengths[0] * lengths[1]).clamp(min=1e-12)
    return squares - 2 * cosine


def squeeze_distance(features: FeatureNetwork, image: Tensor, reference: Tensor) -> Tensor:
    """The mean distance at four offsets of two (B, 3, H, W) in [0, 1]: (B,), 0 is identical.

    Raises ``ValueError`` for pictures too small for the network.
    """
    if min(image.shape[-2:]) < SMALLEST + max(map(max, OFFSETS)):
        raise ValueError(f"{tuple(image.shape[-2:])} is too small: {SMALLEST} pixels are needed")
    distances = [
        feature_distance(features(image[..., y:, x:]), features(reference[..., y:, x:]))
        for y, x in OFFSETS
    ]
    return torch.stack(distances).mean(0)
