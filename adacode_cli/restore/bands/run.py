"""A network computed in bands of rows: exactly, in memory that doesn't grow with the height.

``Banded`` stands for a feature map. The network's own ``forward`` runs on it, through PyTorch's
override protocol, and notes what is to be done. ``bands`` then does it from top to bottom. Every
step asks the steps before it for the rows that it reaches, and keeps the few that the next
band reaches again, so a pass computes nothing twice and sees nothing through a tile's edge.

Statistics over the whole image (GroupNorm) need a pass of their own: what they are taken of
is computed, and kept in a store, when the network asks for them, and so is what would be dear
to compute once more in the next pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from adacode_cli.restore.bands.banded import Banded, Rows
from adacode_cli.restore.bands.store import Store, check_room


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
        self.stores: dict[Banded, Store] = {}  # maps written on the way to the wanted ones
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

    def read_for_the_last_time(self) -> dict[Banded, Store]:
        """Sources that nothing will be computed from once the wanted maps are there."""
        awaited = dict.fromkeys(self.wanted, False)
        stores = {banded: banded.store for banded in self.order if banded.store is not None}
        return {b: store for b, store in stores.items() if not is_awaited(b, awaited)}

    def dear_to_lose(self) -> list[Banded]:
        """Maps beside the wanted ones that will be read again and are dear to compute again."""
        kept: list[Banded] = []
        dear: set[Banded] = set()
        for banded in self.order:
            if banded.dear or dear.intersection(banded.sources):
                dear.add(banded)
            if banded in dear and banded.unread and len(banded.shape) == 4:
                kept.append(banded)
                dear.discard(banded)
        return [banded for banded in kept if banded not in self.wanted]

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
                last = min(banded.height, banded.step.complete(last))
            if first < last:
                spans[banded] = (first, last)
        return spans, firsts

    def advance(self, banded: Banded, top: int, bottom: int, first: int) -> None:
        """Compute rows, and keep those from ``first`` on."""
        reach = banded.step.reach(top, bottom)
        seen = {source: self.at_hand(source, *reach) for source in set(banded.sources)}
        fresh = banded.compute(top, bottom, [seen[source] for source in banded.sources])
        if banded in self.stores:
            self.stores[banded].write(top, fresh)
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
        first = self.first_needed(banded)
        rows, start = self.rows[banded], self.start[banded]
        if first > start:
            # A copy: a view would keep them all.
            self.rows[banded] = rows[..., first - start :, :].clone()
            self.start[banded] = start + min(first - start, rows.shape[-2])

    def first_needed(self, banded: Banded) -> int:
        """The first row that the next band reaches."""
        ends = [(reader, self.end.get(reader, 0)) for reader in self.readers[banded]]
        return max(0, min(reader.step.reach(end, end)[0] for reader, end in ends))

    def at_hand(self, banded: Banded, top: int, bottom: int) -> Tensor:
        """Rows that were computed already, as far as the map has them."""
        top, bottom = max(0, top), min(bottom, banded.height)
        if banded.free:
            return banded.compute(top, bottom, [])
        rows, start = self.rows[banded], self.start[banded]
        if banded not in self.kept and banded not in self.wanted:
            del self.rows[banded]  # its only reader has them
        return rows[..., top - start : bottom - start, :]


def is_awaited(banded: Banded, known: dict[Banded, bool]) -> bool:
    """Whether a map, or one that is computed from it, has yet to be read; some are known."""
    if banded not in known:
        readers = (is_awaited(reader, known) for reader in banded.readers)
        known[banded] = banded.unread != 0 or any(readers)
    return known[banded]


def settle(banded: Banded) -> Store:
    """Compute all rows now, into a store that is read from here on.

    What nothing else will be computed from makes room on the disk as this map needs it.
    """
    if banded.store is not None:
        return banded.store
    run = Run([banded])
    going = run.read_for_the_last_time()
    store = Store(banded.shape, banded.device, banded.dtype)
    run.stores = {each: Store(each.shape, each.device, each.dtype) for each in run.dear_to_lose()}
    coming = sum(each.on_disk for each in (store, *run.stores.values()))
    check_room(coming, sum(each.on_disk for each in going.values()))
    for top in range(0, banded.height, store.band):
        (rows,) = run.band(top, min(top + store.band, banded.height))
        store.write(top, rows)
        for source, read in going.items():
            read.let_go(run.first_needed(source))
    for each, written in run.stores.items():
        if run.end.get(each) == each.height:
            each.read_from(written)
    banded.read_from(store)
    return store


def bands(
    wanted: Sequence[Any], step: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, list[Tensor]]]:
    """The maps from row ``start`` up to ``stop``, ``step`` rows at a time: (top, rows of each).

    All of them have one height; without ``stop`` it is the end.
    """
    run, end = Run(wanted), wanted[0].shape[-2] if stop is None else stop
    for top in range(start, end, step):
        yield top, run.band(top, min(top + step, end))
