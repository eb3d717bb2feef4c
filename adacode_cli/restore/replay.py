"""On a GPU, a network as one recording: every kernel at once, without being told of each.

To tell a GPU of thousands of kernels takes longer than they do for a megapixel. What a network
does depends on a picture's size alone, so the third picture of a size is recorded, too (a CUDA
graph), and if a replay draws the same, all that follow are replays.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from adacode_cli.model.constants import noted

Draw = Callable[[Tensor], Tensor]
BEFORE = 2  # pictures of a size that aren't recorded; libraries choose their kernels then
ALIKE = 1 / 255
RECORDING = Lock()  # PyTorch records one at a time, whatever the device


class Kind(NamedTuple):
    """What has to be the same for one recording to do: the input, and how precise, and where."""

    shape: torch.Size
    precision: torch.dtype
    device: torch.device


class Recording:
    """What ``draw`` does to a picture like this one, which stays in memory with all on the way."""

    def __init__(self, draw: Draw, like: Tensor) -> None:
        self.picture = torch.zeros_like(like)  # while it is recorded, nothing is computed
        self.graph = torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream(like.device)
        aside = torch.cuda.Stream(like.device)  # type: ignore[no-untyped-call]  # by itself PyTorch records on another device's
        # Whatever happens, the work after it is on the stream before it. What other threads do
        # meanwhile is their own affair.
        with RECORDING, torch.cuda.device(like.device), torch.cuda.stream(here), noted() as read:
            with torch.cuda.graph(self.graph, stream=aside, capture_error_mode="thread_local"):
                self.drawn = draw(self.picture)
            self.constants = read  # as long as it may be replayed

    def replayed(self, picture: Tensor) -> Tensor:
        """The same of another one. The next replay overwrites it."""
        with torch.cuda.device(picture.device):
            self.picture.copy_(picture)
            self.graph.replay()
        return self.drawn


def alike(image: Tensor, other: Tensor) -> bool:
    """Whether both are finite, and 1/255 apart at most, or 1/255 of a range that is larger."""
    span = max(1.0, other.abs().max().item())
    return bool((image - other).abs().max() <= ALIKE * span)


class Replayer:
    """A network's pass that is recorded where it is worth it; one recording is kept."""

    def __init__(self) -> None:
        self.refused = False
        self.forget()

    def forget(self) -> None:
        """Let go of the recording: for its memory, or because the network is elsewhere now."""
        self.kind: Kind | None = None
        self.count = 0
        self.recording: Recording | None = None

    def __call__(
        self, draw: Draw, picture: Tensor, precision: torch.dtype, *, has_room: bool
    ) -> Tensor:
        """``draw(picture)``. What is returned is to be read before the next call.

        has_room: whether there is memory for what a recording keeps.
        """
        if not picture.is_cuda or self.refused:
            return draw(picture)
        kind = Kind(picture.shape, precision, picture.device)
        if kind != self.kind:
            self.forget()
            self.kind = kind
        if self.recording is not None:
            return self.recording.replayed(picture)
        self.count += 1
        drawn = draw(picture)
        if self.count > BEFORE and has_room and torch.isfinite(drawn).all():
            self.recording = self.record(draw, picture, drawn)
        return drawn

    def record(self, draw: Draw, picture: Tensor, drawn: Tensor) -> Recording | None:
        """A recording that draws what was drawn. Where there is none, none is tried again."""
        # For want of memory, or for a network that asks its pictures what to do.
        with suppress(RuntimeError):
            recording = Recording(draw, picture)
            if alike(recording.replayed(picture), drawn):
                return recording
        self.refused = True
        return None
