"""SqueezeNet 1.1 as an eye: small enough to train with on a CPU.

Without LPIPS's learned weights, so its values must not be printed under that name.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from adacode_cli.training.perceptual import FeatureNetwork

# name, squeeze, expand of each fire module
FIRES = (
    ("fire2", 16, 64),
    ("fire3", 16, 64),
    ("fire4", 32, 128),
    ("fire5", 32, 128),
    ("fire6", 48, 192),
    ("fire7", 48, 192),
    ("fire8", 64, 256),
    ("fire9", 64, 256),
)
POOLED_AFTER = ("conv1", "fire3", "fire5")
COMPARED_AFTER = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
BGR_MEAN = (104.0, 117.0, 123.0)  # of 255


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1×1 and 3×3 side by side."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze1x1(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)


class SqueezeFeatures(FeatureNetwork):
    """RGB (B, 3, H, W) in [0, 1] → seven feature maps, from the file of its convolutions.

    Raises ``ValueError`` for a file that isn't one of SqueezeNet 1.1.
    """

    channels = 512

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        channels = 64
        for name, squeeze, expand in FIRES:
            self.add_module(name, Fire(channels, squeeze, expand))
            channels = 2 * expand
        self.load_state_dict(read_convolutions(path, self.state_dict()))
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> list[Tensor]:
        x = image.contiguous(memory_format=torch.channels_last)
        compared = []
        for name in ("conv1", *(fire[0] for fire in FIRES)):
            x = self.get_submodule(name)(x)
            x = F.relu(x) if name == "conv1" else x
            if name in COMPARED_AFTER:
                compared.append(x)
            if name in POOLED_AFTER:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        return compared


def read_convolutions(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's convolutions but the classifier's, for RGB in [0, 1]."""
    try:
        state = {k: v.float() for k, v in load_file(path).items() if "conv10" not in k}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    shapes, wanted = ({k: v.shape for k, v in s.items()} for s in (state, expected))
    if shapes != wanted:
        raise ValueError(f"{path}: its tensors are not those of SqueezeNet 1.1")
    return take_rgb(state)


def take_rgb(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first convolution, which expects BGR · 255 - mean, changed to expect RGB in [0, 1]."""
    weight, mean = state["conv1.weight"], torch.tensor(BGR_MEAN)
    bias = state["conv1.bias"] - torch.einsum("ocyx,c->o", weight, mean)
    return {**state, "conv1.weight": 255 * weight.flip(1), "conv1.bias": bias}
