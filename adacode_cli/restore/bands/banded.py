"""What stands for a feature map while a network's ``forward`` notes what is to be done."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adacode_cli.restore.bands.foresight import FORESIGHT
from adacode_cli.restore.bands.store import Store
from adacode_cli.restore.transfer import sent

Rows = tuple[int, int]  # from, up to


class Step(NamedTuple):
    """How rows come about.

    reach: which rows of every source a span of rows needs; it may point beyond the borders.
    compute: the span, and those rows of each source that exist → the span's rows.
    complete: where a span that is to end at some row may end at no further cost.
    """

    reach: Callable[[int, int], Rows]
    compute: Callable[[int, int, list[Tensor]], Tensor]
    complete: Callable[[int], int] = lambda bottom: bottom


def same(top: int, bottom: int) -> Rows:
    """Each row needs its own."""
    return top, bottom


class Banded:
    """A map (B, C, h, w), or (B, h, w) of indices, by the way its rows are computed.

    local: whether a row needs others than its own. free: whether rows cost nothing to get again.
    dear: whether they cost so much that what will be read again is kept whole.
    readers: those that are computed from it, as long as they live.
    """

    requires_grad = False

    def __init__(
        self,
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        step: Step,
        sources: Sequence[Banded] = (),
        *,
        local: bool = False,
        free: bool = False,
        dear: bool = False,
    ) -> None:
        self.shape, self.dtype, self.device = torch.Size(shape), dtype, device
        self.step, self.sources = step, tuple(sources)
        self.local, self.free, self.dear = local, free, dear
        self.readers: weakref.WeakSet[Banded] = weakref.WeakSet()
        self.foresight = FORESIGHT.get()
        self.number = self.foresight.number() if self.foresight else 0
        for source in set(self.sources):
            source.readers.add(self)
            if self.foresight and self.foresight.reads and self.number in self.foresight.reads:
                self.foresight.reads[source.number] -= 1
        kind = device.type
        self.autocast = (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        self.store: Store | None = None

    @property
    def unread(self) -> int | None:
        """How often it will yet be read, where that was foreseen."""
        if self.foresight is None or self.foresight.reads is None:
            return None
        return self.foresight.reads[self.number]

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[-2]

    def compute(self, top: int, bottom: int, rows: list[Tensor]) -> Tensor:
        """Rows from those of the sources, in the precision of the time it was noted."""
        enabled, dtype = self.autocast
        with torch.autocast(self.device.type, dtype, enabled=enabled):
            return self.step.compute(top, bottom, rows)

    def read_from(self, store: Store) -> None:
        """From here on its rows are those of ``store``; what it came from isn't needed."""
        for source in self.sources:
            source.readers.discard(self)
        self.store, self.sources = store, ()
        self.local, self.free, self.dear = False, True, False
        self.step = Step(same, lambda top, bottom, _: store.read(top, bottom))

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        from adacode_cli.restore.bands.noted import NOTED

        if function not in NOTED:
            raise TypeError(f"{getattr(function, '__name__', function)} can't be done in bands")
        return NOTED[function](function, *args, **(kwargs or {}))

    def float(self) -> Banded:
        """In float32."""
        return noted_pixels(Tensor.float, self)

    def __getitem__(self, key: Any) -> Banded:
        return noted_pixels(Tensor.__getitem__, self, key)

    def __add__(self, other: Any) -> Banded:
        return noted_pixels(torch.add, self, other)

    def __sub__(self, other: Any) -> Banded:
        return noted_pixels(torch.sub, self, other)

    def __mul__(self, other: Any) -> Banded:
        return noted_pixels(torch.mul, self, other)

    __radd__, __rmul__ = __add__, __mul__


def noted_pixels(function: Callable[..., Tensor], *args: Any) -> Banded:
    """What an operator notes."""
    from adacode_cli.restore.bands.noted import note_pixels

    return note_pixels(function, *args)


def stored(tensor: Tensor, device: torch.device | None = None) -> Any:
    """A map that is there already; its rows go to ``device`` when they are needed.

    It is a ``Banded`` that a network may take for a tensor; what comes out of that is one, too.
    """
    where = device or tensor.device

    def read(top: int, bottom: int, _: list[Tensor]) -> Tensor:
        rows = sent(tensor[..., top:bottom, :], where)
        return rows.contiguous(memory_format=torch.channels_last) if rows.dim() == 4 else rows

    return Banded(tensor.shape, tensor.dtype, where, Step(same, read), free=True)
