"""Restorer: a picture in, a restored picture out, of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from adacode_cli.device import free_bytes, resolve_device, resolve_precision
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import CODE_STRIDE
from adacode_cli.restore.bands.banded import stored
from adacode_cli.restore.bands.foresight import with_foresight
from adacode_cli.restore.bands.run import bands
from adacode_cli.restore.bands.statistics import known, sample_moments
from adacode_cli.restore.kinds import ImageT, keep_outside, size_of, to_tensor
from adacode_cli.restore.mirror import pad
from adacode_cli.restore.replay import Draw, Replayer
from adacode_cli.restore.tiling import FEWEST, OnTile, Tiling, room_for
from adacode_cli.restore.transfer import fetched, on_host, sent
from adacode_cli.restore.way import NoRoomError, Way, lacks_memory, persevere
from adacode_cli.weights.catalogue import load_model

if TYPE_CHECKING:
    from adacode_cli.restore.reconstruction.codes import Codes

HIGH = 256  # rows of a picture that is only tried


class Restorer:
    """A model on a device, ready for images.

    Calling it takes a PIL image without transparency, an array (H, W, 3) of uint8, uint16 or
    floats, or a tensor (3, H, W) of floats, and returns the same kind in RGB, s times larger; of
    PIL's, 8 bits. Floats lie in [0, 1]: what overshoots by up to 0.5, as resampling does, is
    clipped. ``weight_map`` and ``indices`` tell how the last one came about.
    """

    def __init__(
        self,
        model: AdaCode,
        device: torch.device,
        precision: torch.dtype,
        tiling: Tiling | None = None,
        *,
        fixed: bool = False,
        replays: bool = False,
    ) -> None:
        self.model = placed(model.eval().requires_grad_(False), device)
        self.device, self.precision = device, precision
        self.tiling, self.fixed = tiling or Tiling(), fixed
        self.last: Tensor | None = None  # as the network took it
        self.notes: list[str] = []  # what went otherwise than planned
        # How holes are filled depends on them.
        self.replays = replays and model.config.task != "inpaint"
        self.replayer = Replayer()

    @classmethod
    def load(
        cls,
        weights: str | Path = "lite-x4",
        device: str | torch.device = "auto",
        precision: str = "auto",
        tiling: Tiling | None = None,
    ) -> Restorer:
        """By a name that ``--weights`` takes, or a file; fetched if it isn't here.

        Raises ``FileNotFoundError`` where there is neither, ``CheckpointError`` for a file that
        can't be read, ``WeightsError`` for one that can't be fetched, ``DeviceError`` for a device
        that isn't there or lacks the precision, and ``UsageError`` for a word that means none, or
        a fidelity, as of 'lite-x4@2', beyond 1.
        """
        if not isinstance(weights, str | PathLike):
            raise TypeError(f"weights are a name or a file's path, not {weights!r}")
        where = resolve_device(device)
        dtype = resolve_precision(precision, where)
        return cls(load_model(weights), where, dtype, tiling, fixed=device != "auto")

    @property
    def scale(self) -> int:
        """The magnification: 1, 2 or 4."""
        return self.model.config.scale

    def __call__(self, image: ImageT) -> ImageT:
        """Restore one image of any kind, in tiles if it is large.

        Raises ``TypeError`` or ``ValueError`` for what is no image, holds numbers that aren't
        finite or lie on another scale, and ``FloatingPointError`` rather than return a picture
        with holes in it.
        """
        if self.model.config.task == "inpaint":
            raise ValueError("these weights are for inpaint; call .inpaint(image, mask)")
        tensor, back = to_tensor(image)
        self.last = tensor
        return back(self.restore(tensor))

    def inpaint(
        self, image: ImageT, mask: Any, *, texture: Literal["none", "some", "all"] = "all"
    ) -> ImageT:
        """Fill the holes: where ``mask``, of any kind and the image's size, isn't 0.

        mask: a PIL image, an array or a tensor, with or without channels. What is transparent in
        it is no hole, nor what is nearly black in a PIL image opened from a lossy file.
        texture: how much of a hole may be pieces of what is around it, where the drawing is dull.
        Every other pixel comes out as it went in, of a PIL image in RGB of 8 bits; what lies in
        the holes may be anything, NaN included. Raises as a call does, and for what is no mask or
        has another size.
        """
        from adacode_cli.restore.inpainting.inpaint import Filling, inpaint
        from adacode_cli.restore.inpainting.mask import to_mask

        if self.model.config.task != "inpaint":
            raise ValueError(f"these weights are for {self.model.config.task}, not for inpaint")
        filling = Filling(texture=texture)  # type: ignore[arg-type]  # a name will do
        holes = to_mask(mask, size_of(image))
        tensor, back = to_tensor(image, holes)
        self.last = torch.cat([tensor, torch.from_numpy(holes).to(tensor)[None]])
        self.last = self.last[: self.model.config.in_channels]
        filled = back(inpaint(self, tensor, holes, filling))
        keep_outside(filled, image, holes)
        return filled

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
        from adacode_cli.restore.reconstruction.reconstruct import encode

        if self.last is None:
            raise ValueError("no image was restored yet")
        found = encode(self, self.last)
        width, height = found.size
        seen = (slice(None), slice(-(-height // CODE_STRIDE)), slice(-(-width // CODE_STRIDE)))
        return replace(found, indices=found.indices[seen], weights=found.weights[seen])

    def restore(self, image: Tensor, on_tile: OnTile | None = None) -> Tensor:
        """(C, H, W) as the network takes it → (3, s·H, s·W), both in [0, 1].

        Raises ``FloatingPointError`` rather than return a picture with holes in it.
        """
        return self.restore_any(image, on_tile).clamp_(0, 1)

    def restore_any(self, image: Tensor, on_tile: OnTile | None = None) -> Tensor:
        """(C, H, W) as the network takes it → (3, s·H, s·W), unclamped but finite."""
        restored = torch.empty(3, *(self.scale * n for n in image.shape[1:]))
        top = 0
        for rows in self.bands(image, on_tile):
            restored[:, top : top + rows.shape[1]] = rows
            top += rows.shape[1]
        return restored

    def bands(self, image: Tensor, on_tile: OnTile | None = None) -> Iterator[Tensor]:
        """The same from top to bottom, (3, n, s·W) at a time.

        ``on_tile`` hears how many bands are done, of how many. Raises ``FloatingPointError``
        or ``MemoryError`` where nothing helps; ``notes`` tells what did.
        """
        height, width = (self.scale * n for n in image.shape[1:])
        compute = partial(self.rows_from, image)
        way = self.way(height, width)
        try:
            yield from persevere(way, height, compute, self.notes.append, on_tile)
        except NoRoomError as error:
            message, last, cause = str(error), error.way, error.__cause__
        else:
            return
        if cause is not None:  # nor may its frames keep what has to go before the next try
            cause = cause.with_traceback(None)
        raise NoRoomError(message + self.what_fits(image, last), last) from cause

    def what_fits(self, image: Tensor, way: Way) -> str:
        """For the end of a message: how wide a picture this way has memory for, found by trying.

        Empty where trying fails in another manner.
        """
        width = image.shape[2] // 2
        while width:
            try:
                next(self.rows_from(image[:, :HIGH, :width], replace(way, rows=FEWEST), 0))
            except Exception as error:  # noqa: BLE001 whatever it is, the message is another's
                if not lacks_memory(error):
                    return ""
                width //= 2
            else:
                return f"; there is room for one {width} pixels wide"
        return "; there is room for none"

    def way(self, height: int, width: int) -> Way:
        """How an output of this size is computed, if all goes well."""
        free = free_bytes(self.device)
        rows, on_cpu = (
            self.tiling.rows_for(self.model.config.family, height, width, room)
            for room in (free, 0)
        )
        return Way(self.device, self.precision, rows, self.tiling.statistics, self.fixed, on_cpu)

    def rows_from(self, image: Tensor, way: Way, top: int) -> Iterator[Tensor]:
        """Bands of the output from row ``top`` on, unclamped, on the host."""
        height, width = (self.scale * n for n in image.shape[1:])
        if top == 0 and way.rows >= height:
            yield self.restore_whole(image, way)
            return
        self.move_to(way.device)
        noted = self.noted(image, way, lambda model, batch: [model(batch).image])
        computed = bands(noted, way.rows, top, height)
        yield from fetched(rows[0, :, :, :width].float() for _, (rows,) in computed)

    def noted(
        self, image: Tensor, way: Way, note: Callable[[AdaCode, Any], Sequence[Tensor]]
    ) -> Sequence[Any]:
        """What ``note`` wants of the network for (C, h, w), as what is to be computed."""
        batch, moments = self.batch_of(image), None
        with way.computing():
            if way.statistics == "sampled":
                moments = sample_moments(self.model, batch, way.device)
            with known(moments):
                return self.foreseen(lambda: note(self.model, stored(batch, way.device)))

    def foreseen(self, note: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        """What ``note`` wants; a network with statistics knows beforehand what it will read.

        Every pass in bands begins here, and takes the memory that a recording held.
        """
        self.replayer.forget()
        normalised = any(isinstance(module, nn.GroupNorm) for module in self.model.modules())
        return with_foresight(note) if normalised else note()

    def restore_whole(self, image: Tensor, way: Way | None = None) -> Tensor:
        """One pass of the network: (C, h, w) → (3, s·h, s·w), unclamped, on the host."""
        way = way or self.way(*image.shape[1:])
        _, h, w = image.shape
        self.move_to(way.device)
        with way.computing():
            batch = sent(self.batch_of(image), way.device)
            restored = self.drawn(batch, way.precision)[0]
        return on_host(restored[:, : self.scale * h, : self.scale * w].float())

    def drawn(self, batch: Tensor, precision: torch.dtype) -> Tensor:
        """The network's picture of a batch, (B, C, h, w) → (B, 3, s·h, s·w), to be read at once."""
        if not self.replays:
            return self.model(batch).image
        height, width = (self.scale * n for n in batch.shape[2:])
        room = room_for(self.model.config.family, height, width)
        has_room = 2 * room <= free_bytes(batch.device)  # for it, and for a picture in bands
        draw: Draw = lambda seen: self.model(seen).image  # noqa: E731
        return self.replayer(draw, batch, precision, has_room=has_room)

    def move_to(self, device: torch.device) -> None:
        """The network to where it is to compute: for want of room it may have been elsewhere."""
        if next(self.model.parameters()).device.type != device.type:
            self.replayer.forget()
        self.model.to(device)

    def batch_of(self, image: Tensor) -> Tensor:
        """(C, h, w) as the network takes it: a batch of one, padded, on the host."""
        config = self.model.config
        always = config.family == "official" and self.tiling.as_published
        batch = pad(image[None], config.multiple, always=always)
        return batch.contiguous(memory_format=torch.channels_last)

    def finished(self, restored: Tensor) -> Tensor:
        """A picture fit to be seen: in [0, 1]. Raises ``FloatingPointError``."""
        if not torch.isfinite(restored).all():
            raise FloatingPointError(
                f"the network's output is not finite in {self.precision}; try --precision fp32"
            )
        return restored.clamp_(0, 1)


def placed(model: AdaCode, device: torch.device) -> AdaCode:
    """``model`` on ``device``; without room there, on the host: each picture tries again."""
    try:
        return model.to(device)
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
    return model.to("cpu")
