"""Between the host and a GPU: copies of pinned memory, which go on while it computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on ``device``. For a GPU it is only on its way: nobody waits for it."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    with suppress(RuntimeError):  # no more memory may be pinned
        # Not by pin_memory, which would take all that lies between the rows of a slice, too.
        tensor = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
    return tensor.to(device, non_blocking=tensor.is_pinned())


def fetched(tensors: Iterator[Tensor]) -> Iterator[Tensor]:
    """The same on the host, in order; while a GPU's is copied, the next is computed.

    What ``tensors`` raises is raised after all that came before it.
    """
    copying: Copy | None = None
    while True:
        try:
            tensor = next(tensors, None)
            begun = None if tensor is None else Copy(tensor)
        except Exception:
            if copying is not None:
                yield copying.finished()
            raise
        if copying is not None:
            yield copying.finished()
        if begun is None:
            return
        if begun.event is None:
            yield begun.host
            begun = None
        copying = begun


def on_host(tensor: Tensor) -> Tensor:
    """A copy on the host, as soon as it is computed."""
    return Copy(tensor).finished()


class Copy:
    """A tensor that is on its way to the host, beside what the device does meanwhile."""

    def __init__(self, tensor: Tensor) -> None:
        self.event: torch.cuda.Event | None = None
        if tensor.device.type != "cuda":
            self.host = tensor.cpu()
            return
        tensor = tensor.contiguous()
        try:
            self.host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        except RuntimeError:  # no more memory may be pinned
            self.host = tensor.cpu()
            return
        beside = stream(tensor.device)
        beside.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(beside):
            self.host.copy_(tensor, non_blocking=True)
            tensor.record_stream(beside)
            self.event = beside.record_event()

    def finished(self) -> Tensor:
        """It, when it is there."""
        if self.event is not None:
            self.event.synchronize()
        return self.host


@cache
def stream(device: torch.device) -> torch.cuda.Stream:
    """The one that copies of a GPU are made in."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
