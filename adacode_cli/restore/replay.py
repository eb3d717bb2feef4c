"""On a GPU, a network as one recording: every kernel at once, without being told of each.

To tell a GPU of some two thousand kernels takes longer than they do for a megapixel. What a network
does depends on a picture's size alone, so the third picture of a size is recorded (a CUDA graph),
and all that follow are replays of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

Draw = Callable[[Tensor], Tensor]
BEFORE = 2  # pictures of a size that are computed as usual; libraries choose their kernels then


class Kind(NamedTuple):
    """What has to be the same for one recording to do: the input, and how precise, and where."""

    shape: torch.Size
    precision: torch.dtype
    device: torch.device


class Recording:
    """What ``draw`` does to a picture like this one, which stays in memory with all on the way."""

    def __init__(self, draw: Draw, picture: Tensor) -> None:
        self.picture = picture.clone()
        self.graph = torch.cuda.CUDAGraph()
        # What other threads do meanwhile is their own affair.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.drawn = draw(self.picture)

    def replayed(self, picture: Tensor) -> Tensor:
        """The same of another one. The next replay overwrites it."""
        self.picture.copy_(picture)
        self.graph.replay()
        return self.drawn


class Replayer:
    """A network's pass that is recorded where it is worth it; one recording is kept."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let go of the recording: for its memory, or because the network is elsewhere now."""
        self.kind: Kind | None = None
        self.count = 0
        self.recording: Recording | None = None

    def __call__(self, draw: Draw, picture: Tensor, precision: torch.dtype) -> Tensor:
        """``draw(picture)``. What is returned is to be read before the next call."""
        if not picture.is_cuda:
            return draw(picture)
        kind = Kind(picture.shape, precision, picture.device)
        if kind != self.kind:
            self.forget()
            self.kind = kind
        self.count += 1
        if self.count == BEFORE + 1:
            # For want of memory, or for a network that asks its pictures what to do.
            with suppress(RuntimeError):
                self.recording = Recording(draw, picture)
        return draw(picture) if self.recording is None else self.recording.replayed(picture)
