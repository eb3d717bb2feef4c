"""LPIPS proper (Zhang et al., 2018), from the package of that name and with its weights."""

from __future__ import annotations

import contextlib
import io
import warnings

import torch
from torch import Tensor, nn

from adacode_cli.training.perceptual import content


class Lpips(nn.Module):
    """The distance with learned weights, on VGG16. Raises ``OSError`` where it can't be had."""

    channels = 512

    def __init__(self, backbone: str = "vgg") -> None:
        super().__init__()
        try:
            # The package prints and warns while it loads; its first use fetches the backbone.
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                import lpips

                self.metric = lpips.LPIPS(net=backbone)
        except Exception as error:  # a package, its dependencies and a download may each fail
            raise OSError(
                f"LPIPS can't be had ({error}); pip install lpips torchvision, with a network "
                "for its first use"
            ) from error
        self.requires_grad_(False).eval()

    def loss(self, image: Tensor, clean: Tensor) -> Tensor:
        """LPIPS of (B, 3, H, W) in [0, 1]: (B,)."""
        return self.metric(image, clean, normalize=True).flatten()

    def content(self, image: Tensor, clean: Tensor) -> Tensor:
        """The distance of the backbone's features, as they are: ()."""
        return content(self.features, image, clean)

    @torch.no_grad()
    def meaning(self, clean: Tensor) -> Tensor:
        """The backbone's deepest features, (B, 512, h, w)."""
        return self.features(clean)[-1]

    def features(self, image: Tensor) -> list[Tensor]:
        """The backbone's, from shallow to deep, of (B, 3, H, W) in [0, 1]."""
        return list(self.metric.net(self.metric.scaling_layer(2 * image - 1)))
