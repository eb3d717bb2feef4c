"""On a GPU, a network as one recording: every kernel at once, without being told of each.

To tell a GPU of some two thousand kernels takes longer than they do for a megapixel. What a network
does depends on a picture's size alone, so the third picture of a size is recorded, too (a CUDA
graph), and if a replay draws the same, all that follow are replays.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

Draw = Callable[[Tensor], Tensor]
BEFORE = 2  # pictures of a size that aren't recorded; libraries choose their kernels then
ALIKE = 1 / 255


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


def alike(image: Tensor, other: Tensor) -> bool:
    """Whether they are finite, and a level of 255 apart at most, or of their range."""
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
        if self.count > BEFORE and has_room:
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
