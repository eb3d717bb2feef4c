"""VGG19 as an eye (Simonyan and Zisserman, 2014): what the paper's losses look through."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from adacode_cli.training.perceptual import FeatureNetwork

HUB_REPO, HUB_FILE = "timm/vgg19.tv_in1k", "model.safetensors"
# Convolutions of each level and their channels; a level ends in a pooling by two.
LEVELS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VggFeatures(FeatureNetwork):
    """RGB (B, 3, H, W) in [0, 1] → the last features of each of five levels.

    Raises ``ValueError`` for a file that isn't one of VGG19.
    """

    channels = 512
    mean: Tensor
    std: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        at, before = 0, 3
        for count, channels in LEVELS:
            for _ in range(count):
                self.features[str(at)] = nn.Conv2d(before, channels, 3, padding=1)
                at, before = at + 2, channels  # a ReLU in between
            at += 1  # the pooling
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.load_state_dict(read_features(path, self.state_dict()))
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def knows(path: Path) -> bool:
        """Whether the file names its tensors as VGG19's are named."""
        try:
            with safe_open(path, framework="pt") as file:
                return "features.0.weight" in file.keys()  # noqa: SIM118
        except (SafetensorError, OSError):
            return False

    def forward(self, image: Tensor) -> list[Tensor]:
        x = ((image - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        convolutions, seen = iter(self.features.values()), []
        for level, (count, _) in enumerate(LEVELS):
            x = F.max_pool2d(x, 2) if level else x
            for _ in range(count):
                x = F.relu(next(convolutions)(x))
            seen.append(x)
        return seen


def read_features(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's convolutions; the classifier stays where it is."""
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        if missing := sorted(expected.keys() - names):
            raise ValueError(f"{path}: not VGG19: it has no tensor {missing[0]!r}")
        state = {name: file.get_tensor(name).float() for name in expected}
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{path}: not VGG19: {name!r} has shape {tuple(tensor.shape)}")
    return state


def fetch_vgg19() -> Path:
    """The file, from the Hub or its cache. Raises ``OSError``, saying what else would do."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(HUB_REPO, HUB_FILE))
    # ImportError: a SOCKS proxy is set, and what it takes isn't installed
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise OSError(
            f"VGG19 can't be had from {HUB_REPO} ({reason}); "
            "give a local file with --perceptual, or leave it out"
        ) from error
