"""A network computed in bands of rows: exactly, in memory that doesn't grow with the height.

``Banded`` stands for a feature map. The network's own ``forward`` runs on it, through PyTorch's
override protocol, and notes what is to be done. ``bands`` then does it from top to bottom. Every
step asks the steps before it for the rows that it reaches, and keeps the few that the next
band reaches again, so nothing is computed twice and nothing is seen through a tile's edge.

Statistics over the whole image (GroupNorm) need a pass of their own: what they are taken of
is computed, and kept in a store, when the network asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adacode_cli.restore.store import Store

Rows = tuple[int, int]  # from, up to


class Step(NamedTuple):
    """How rows come about.

    reach: which rows of every source a span of rows needs; it may point beyond the borders.
    compute: the span, and those rows of each source that exist → the span's rows.
    """

    reach: Callable[[int, int], Rows]
    compute: Callable[[int, int, list[Tensor]], Tensor]


def same(top: int, bottom: int) -> Rows:
    """Each row needs its own."""
    return top, bottom


class Banded:
    """A map (B, C, h, w), or (B, h, w) of indices, by the way its rows are computed.

    local: whether a row needs others than its own. free: whether rows cost nothing to get again.
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
    ) -> None:
        self.shape, self.dtype, self.device = torch.Size(shape), dtype, device
        self.step, self.sources = step, tuple(sources)
        self.local, self.free = local, free
        kind = device.type
        self.autocast = (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        self.store: Store | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[-2]

    def compute(self, top: int, bottom: int, rows: list[Tensor]) -> Tensor:
        """Rows from those of the sources, in the precision of the time it was noted."""
        enabled, dtype = self.autocast
        with torch.autocast(self.device.type, dtype, enabled=enabled):
            return self.step.compute(top, bottom, rows)

    def settle(self) -> Store:
        """Compute all rows now, into a store that is read from here on."""
        if self.store is None:
            store = Store(self.shape, self.device, self.dtype)
            for top, (rows,) in bands([self], store.band):
                store.write(top, rows)
            self.store, self.sources, self.local, self.free = store, (), False, True
            self.step = Step(same, lambda top, bottom, _: store.read(top, bottom))
        return self.store

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        from adacode_cli.restore.noted import NOTED

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
    from adacode_cli.restore.noted import note_pixels

    return note_pixels(function, *args)


class Run:
    """One way from top to bottom through everything that some maps are computed from."""

    def __init__(self, wanted: Sequence[Any]) -> None:
        self.wanted: Sequence[Banded] = wanted
        self.order: list[Banded] = []  # sources first
        self.readers: dict[Banded, list[Banded]] = {}
        for banded in wanted:
            self.follow(banded)
        self.kept = {banded for banded in self.order if self.pays(banded)}
        self.last_reads = self.reads_that_end()
        self.rows: dict[Banded, Tensor] = {}  # those at hand
        self.start: dict[Banded, int] = {}  # where they begin
        self.end: dict[Banded, int] = {}  # how far each map has been computed

    def follow(self, banded: Banded) -> None:
        """Put ``banded`` in order, after all that it is computed from."""
        if banded in self.readers:
            return
        self.readers[banded] = []
        for source in dict.fromkeys(banded.sources):
            self.follow(source)
            self.readers[source].append(banded)
        self.order.append(banded)

    def pays(self, banded: Banded) -> bool:
        """Whether rows will be asked for again, and cost something to compute."""
        readers = self.readers[banded]
        again = len(readers) + self.wanted.count(banded) > 1 or any(r.local for r in readers)
        return again and not banded.free

    def reads_that_end(self) -> dict[Banded, list[Banded]]:
        """After whom nobody else reads a kept map in the same band: reader → maps."""
        place = {banded: number for number, banded in enumerate(self.order)}
        ends: dict[Banded, list[Banded]] = {}
        for banded in self.kept.difference(self.wanted):
            ends.setdefault(max(self.readers[banded], key=place.__getitem__), []).append(banded)
        return ends

    @torch.no_grad()
    def band(self, top: int, bottom: int) -> list[Tensor]:
        """The next rows of the wanted maps; each map on the way goes as far as it must, once."""
        spans, firsts = self.plan(top, bottom)
        for banded in self.order:
            if banded in spans and not banded.free:
                self.advance(banded, *spans[banded], firsts[banded])
            for source in self.last_reads.get(banded, ()):
                self.trim(source)
        return [self.at_hand(banded, top, bottom) for banded in self.wanted]

    def plan(self, top: int, bottom: int) -> tuple[dict[Banded, Rows], dict[Banded, int]]:
        """Which rows of each map have to be computed, and the first that is still needed."""
        spans: dict[Banded, Rows] = {}
        firsts: dict[Banded, int] = {}
        for banded in reversed(self.order):
            asked = [(top, bottom)] * (banded in self.wanted)
            for reader in self.readers[banded]:
                end = self.end.get(reader, 0)
                asked.append(reader.step.reach(*spans.get(reader, (end, end))))
            firsts[banded] = first = max(0, min(a for a, _ in asked))
            last = min(banded.height, max(b for _, b in asked))
            if banded in self.kept:
                first = max(first, self.end.get(banded, 0))
            if first < last:
                spans[banded] = (first, last)
        return spans, firsts

    def advance(self, banded: Banded, top: int, bottom: int, first: int) -> None:
        """Compute rows, and keep those from ``first`` on."""
        reach = banded.step.reach(top, bottom)
        fresh = banded.compute(top, bottom, [self.at_hand(s, *reach) for s in banded.sources])
        start, self.end[banded] = top, bottom
        if banded in self.kept and banded in self.rows and first < top:
            old = self.rows[banded][..., max(0, first - self.start[banded]) :, :]
            start = top - old.shape[-2]
            fresh = torch.cat([old, fresh], dim=-2)
        self.rows[banded], self.start[banded] = fresh, start

    def trim(self, banded: Banded) -> None:
        """Let go of the rows that the next band doesn't reach."""
        if banded not in self.rows:
            return
        ends = [(reader, self.end.get(reader, 0)) for reader in self.readers[banded]]
        first = max(0, min(reader.step.reach(end, end)[0] for reader, end in ends))
        rows, start = self.rows[banded], self.start[banded]
        if first > start:
            # A copy: a view would keep them all.
            self.rows[banded] = rows[..., first - start :, :].clone()
            self.start[banded] = start + min(first - start, rows.shape[-2])

    def at_hand(self, banded: Banded, top: int, bottom: int) -> Tensor:
        """Rows that were computed already, as far as the map has them."""
        top, bottom = max(0, top), min(bottom, banded.height)
        if banded.free:
            return banded.compute(top, bottom, [])
        rows, start = self.rows[banded], self.start[banded]
        if banded not in self.kept and banded not in self.wanted:
            del self.rows[banded]  # its only reader has them
        return rows[..., top - start : bottom - start, :]


def bands(
    wanted: Sequence[Any], step: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, list[Tensor]]]:
    """The maps from row ``start`` up to ``stop``, ``step`` rows at a time: (top, rows of each).

    All of them have one height; without ``stop`` it is the end.
    """
    run, end = Run(wanted), wanted[0].shape[-2] if stop is None else stop
    for top in range(start, end, step):
        yield top, run.band(top, min(top + step, end))


def stored(tensor: Tensor, device: torch.device | None = None) -> Any:
    """A map that is there already; its rows go to ``device`` when they are needed.

    It is a ``Banded`` that a network may take for a tensor; what comes out of that is one, too.
    """
    where = device or tensor.device

    def read(top: int, bottom: int, _: list[Tensor]) -> Tensor:
        rows = tensor[..., top:bottom, :].to(where)
        return rows.contiguous(memory_format=torch.channels_last) if rows.dim() == 4 else rows

    return Banded(tensor.shape, tensor.dtype, where, Step(same, read), free=True)
