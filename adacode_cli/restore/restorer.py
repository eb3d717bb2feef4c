"""Restorer: a picture in, a restored picture out, of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacode_cli.device import resolve_device, resolve_precision
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import CODE_STRIDE
from adacode_cli.restore.kinds import ImageT, to_mask, to_tensor
from adacode_cli.restore.tiling import restore_tiled
from adacode_cli.weights.catalogue import load_model

if TYPE_CHECKING:
    from adacode_cli.restore.codes import Codes

# Output pixels a side. An image is done whole up to the first, in tiles of the second.
WHOLE = 1536
TILE = 1024
OVERLAP = 128


class Restorer:
    """A model on a device, ready for images.

    Calling it takes a PIL image, an array (H, W, 3), or a tensor (3, H, W) in [0, 1], and
    returns the same kind, s times larger. ``weight_map`` and ``indices`` tell how the last
    one came about.
    """

    def __init__(self, model: AdaCode, device: torch.device, precision: torch.dtype) -> None:
        self.model = model.eval().requires_grad_(False).to(device)
        self.device, self.precision = device, precision
        self.last: Tensor | None = None  # as the network took it

    @classmethod
    def load(
        cls, weights: str | Path = "lite-x4", device: str = "auto", precision: str = "auto"
    ) -> Restorer:
        """By a name that ``--weights`` takes, or a file; fetched if it isn't here.

        Raises ``CheckpointError``, ``WeightsError`` or ``DeviceError``.
        """
        where = resolve_device(device)
        return cls(load_model(weights), where, resolve_precision(precision, where))

    @property
    def scale(self) -> int:
        """The magnification: 1, 2 or 4."""
        return self.model.config.scale

    def __call__(self, image: ImageT) -> ImageT:
        """Restore one image of any kind, in tiles if it is large.

        Raises ``TypeError`` or ``ValueError`` for what is no image, and ``FloatingPointError``
        rather than return a picture with holes in it.
        """
        tensor, back = to_tensor(image, self.model.config.in_channels)
        self.last = tensor
        return back(self.restore(tensor))

    def inpaint(self, image: ImageT, mask: Any) -> ImageT:
        """Fill the holes: where ``mask``, of any kind and the image's size, isn't 0.

        Every other pixel comes out as it went in. Raises as a call does.
        """
        from adacode_cli.restore.inpaint import inpaint

        if self.model.config.task != "inpaint":
            raise ValueError(f"these weights are for {self.model.config.task}, not for inpaint")
        tensor, back = to_tensor(image, 3)
        holes = to_mask(mask, (tensor.shape[1], tensor.shape[2]))
        self.last = torch.cat([tensor, torch.from_numpy(holes).to(tensor)[None]])
        self.last = self.last[: self.model.config.in_channels]
        return back(inpaint(self, tensor, holes))

    @property
    def weight_map(self) -> Tensor:
        """How much of each codebook went where in the last image: (K, ⌈s·H/8⌉, ⌈s·W/8⌉)."""
        return self.codes.tensors[1][0]

    @property
    def indices(self) -> Tensor:
        """Which code of each codebook went where in the last image: the same shape."""
        return self.codes.tensors[0][0]

    @property
    def codes(self) -> Codes:
        """What the last image became between encoder and decoder; computed when asked for.

        Raises ``ValueError`` if there was none.
        """
        from adacode_cli.restore.reconstruct import encode

        if self.last is None:
            raise ValueError("no image was restored yet")
        found = encode(self, self.last)
        width, height = found.size
        seen = (slice(None), slice(-(-height // CODE_STRIDE)), slice(-(-width // CODE_STRIDE)))
        return replace(found, indices=found.indices[seen], weights=found.weights[seen])

    def restore(self, image: Tensor, on_tile: Callable[[int, int], None] | None = None) -> Tensor:
        """(C, H, W) as the network takes it → (3, s·H, s·W), both in [0, 1].

        Raises ``FloatingPointError`` rather than return a picture with holes in it.
        """
        return self.finished(self.restore_any(image, on_tile))

    def restore_any(
        self, image: Tensor, on_tile: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """(C, H, W) as the network takes it → (3, s·H, s·W), unclamped; in tiles if large."""
        if self.scale * max(image.shape[-2:]) <= WHOLE:
            return self.restore_whole(image)
        tile, overlap = TILE // self.scale, OVERLAP // self.scale
        multiple = self.model.config.multiple
        return restore_tiled(
            image, self.restore_whole, self.scale, tile, overlap, multiple, on_tile
        )

    def finished(self, restored: Tensor) -> Tensor:
        """A picture fit to be seen: in [0, 1]. Raises ``FloatingPointError``."""
        if not torch.isfinite(restored).all():
            raise FloatingPointError(
                f"the network's output is not finite in {self.precision}; try --precision fp32"
            )
        return restored.clamp_(0, 1)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without gradients, in the precision that was asked for."""
        lower = self.precision != torch.float32
        with torch.no_grad(), torch.autocast(self.device.type, self.precision, enabled=lower):
            yield

    def batch_of(self, image: Tensor) -> Tensor:
        """(C, h, w) as the network takes it: a batch of one, padded, on the device."""
        config = self.model.config
        batch = pad(
            image[None].to(self.device), config.multiple, always=config.family == "official"
        )
        return batch.contiguous(memory_format=torch.channels_last)

    def restore_whole(self, image: Tensor) -> Tensor:
        """One pass of the network: (C, h, w) → (3, s·h, s·w), unclamped, on the host."""
        _, h, w = image.shape
        with self.computing():
            restored = self.model(self.batch_of(image)).image[0]
        return restored[:, : self.scale * h, : self.scale * w].float().cpu()

    def encode_whole(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Indices and weights of the padded (C, h, w), (K, ·, ·) each, on the host."""
        with self.computing():
            _, quantised, weight = self.model.encode(self.batch_of(image))
        indices = torch.cat([q.indices for q in quantised])
        return indices.cpu(), weight[0].float().cpu()


def pad(batch: Tensor, multiple: int, *, always: bool) -> Tensor:
    """Mirror (B, 3, H, W) at the bottom and right up to a multiple of ``multiple``.

    ``always``: by at least a pixel, as the published inference does.
    """
    h, w = batch.shape[-2:]
    extra = int(always)
    bottom, right = (-(n + extra) % multiple + extra for n in (h, w))
    return mirror(mirror(batch, bottom, 2), right, 3)


def mirror(batch: Tensor, count: int, dim: int) -> Tensor:
    """``count`` more rows or columns, mirrored with the edge, and again where it is small."""
    while count > 0:
        piece = min(count, batch.shape[dim])
        flipped = batch.flip(dim).narrow(dim, 0, piece)
        batch, count = torch.cat([batch, flipped], dim), count - piece
    return batch
