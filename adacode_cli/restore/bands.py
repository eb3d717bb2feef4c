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
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.model.blocks import nearest_conv, nearest_conv_between
from adacode_cli.model.codebook import lookup, nearest
from adacode_cli.model.fill import holes_of
from adacode_cli.model.swin import WINDOW, SwinBlock, swin_block
from adacode_cli.restore.statistics import known_moments
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
            store = Store(self.shape, self.device)
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
        if function not in NOTED:
            raise TypeError(f"{getattr(function, '__name__', function)} can't be done in bands")
        return NOTED[function](function, *args, **(kwargs or {}))

    def float(self) -> Banded:
        """In float32."""
        return note_pixels(Tensor.float, self)

    def __getitem__(self, key: Any) -> Banded:
        return note_pixels(Tensor.__getitem__, self, key)

    def __add__(self, other: Any) -> Banded:
        return note_pixels(torch.add, self, other)

    def __sub__(self, other: Any) -> Banded:
        return note_pixels(torch.sub, self, other)

    def __mul__(self, other: Any) -> Banded:
        return note_pixels(torch.mul, self, other)

    __radd__, __rmul__ = __add__, __mul__


class Run:
    """One way from top to bottom through everything that some maps are computed from."""

    def __init__(self, wanted: Sequence[Any]) -> None:
        self.wanted: Sequence[Banded] = wanted
        self.order: list[Banded] = []  # sources first
        self.readers: dict[Banded, list[Banded]] = {}
        for banded in wanted:
            self.follow(banded)
        self.kept = {banded for banded in self.order if self.pays(banded)}
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

    def band(self, top: int, bottom: int) -> list[Tensor]:
        """The next rows of the wanted maps; each map on the way goes as far as it must, once."""
        spans, firsts = self.plan(top, bottom)
        for banded in self.order:
            if banded in spans and not banded.free:
                self.advance(banded, *spans[banded], firsts[banded])
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

    def at_hand(self, banded: Banded, top: int, bottom: int) -> Tensor:
        """Rows that were computed already, as far as the map has them."""
        top, bottom = max(0, top), min(bottom, banded.height)
        if banded.free:
            return banded.compute(top, bottom, [])
        rows, start = self.rows[banded], self.start[banded]
        if banded not in self.kept and banded not in self.wanted:
            del self.rows[banded]  # its only reader has them
        return rows[..., top - start : bottom - start, :]


def bands(wanted: Sequence[Any], step: int, start: int = 0) -> Iterator[tuple[int, list[Tensor]]]:
    """The maps from row ``start`` on, in bands of ``step`` rows: (top, the rows of each).

    All of them have one height.
    """
    run, height = Run(wanted), wanted[0].height
    for top in range(start, height, step):
        yield top, run.band(top, min(top + step, height))


def stored(tensor: Tensor, device: torch.device | None = None) -> Any:
    """A map that is there already; its rows go to ``device`` when they are needed.

    It is a ``Banded`` that a network may take for a tensor; what comes out of that is one, too.
    """
    where = device or tensor.device

    def read(top: int, bottom: int, _: list[Tensor]) -> Tensor:
        rows = tensor[..., top:bottom, :].to(where)
        return rows.contiguous(memory_format=torch.channels_last) if rows.dim() == 4 else rows

    return Banded(tensor.shape, tensor.dtype, where, Step(same, read), free=True)


# How each function is noted


def note_pixels(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Banded:
    """A function under which every pixel depends on itself alone."""
    kwargs.pop("inplace", None)  # other readers want to see the rows as they were
    sources: list[Banded] = []
    collect(args, sources)

    def compute(_top: int, _bottom: int, rows: list[Tensor]) -> Tensor:
        return function(*replaced(args, iter(rows)), **kwargs)

    first = sources[0]
    pixels = [torch.zeros(*s.shape[:-2], 1, 1, dtype=s.dtype, device=s.device) for s in sources]
    example = compute(0, 1, pixels)
    shape = (*example.shape[:-2], *first.shape[-2:])
    return Banded(shape, example.dtype, first.device, Step(same, compute), sources)


def collect(args: Any, found: list[Banded]) -> None:
    """Every ``Banded`` among arguments and lists of them, in order."""
    for arg in args:
        if isinstance(arg, Banded):
            found.append(arg)
        elif isinstance(arg, list | tuple):
            collect(arg, found)


def replaced(args: Any, rows: Iterator[Tensor]) -> list[Any]:
    """The arguments with rows in the place of every ``Banded``."""
    return [
        next(rows)
        if isinstance(arg, Banded)
        else type(arg)(replaced(arg, rows))
        if isinstance(arg, list | tuple)
        else arg
        for arg in args
    ]


def note_local(
    source: Banded,
    shape: Sequence[int],
    reach: Callable[[int, int], Rows],
    compute: Callable[[int, int, Tensor], Tensor],
) -> Banded:
    """A function of a pixel's surroundings."""
    step = Step(reach, lambda top, bottom, rows: compute(top, bottom, rows[0]))
    enabled = torch.is_autocast_enabled(source.device.type)
    reduced = enabled and source.dtype.is_floating_point
    dtype = torch.get_autocast_dtype(source.device.type) if reduced else source.dtype
    return Banded(shape, dtype, source.device, step, [source], local=True)


def note_conv(
    function: Callable[..., Tensor],
    source: Banded,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Banded:
    """A convolution with zeros around the image, and nothing around a band."""
    (step, across), (pad, sides) = pair(stride), pair(padding)
    if pair(dilation) != (1, 1):
        raise TypeError("a dilated convolution can't be done in bands")
    batch, _, height, width = source.shape
    kernel, kernel_width = weight.shape[-2:]
    shape = (
        batch,
        weight.shape[0],
        (height + 2 * pad - kernel) // step + 1,
        (width + 2 * sides - kernel_width) // across + 1,
    )

    def reach(top: int, bottom: int) -> Rows:
        return step * top - pad, step * (bottom - 1) - pad + kernel

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        first, last = reach(top, bottom)
        above, below = max(0, -first), max(0, last - height)
        if above != below:
            rows, above = F.pad(rows, (0, 0, above, below)), 0
        return function(rows, weight, bias, stride, (above, sides), 1, groups)

    return note_local(source, shape, reach, compute)


def pair(number: Any) -> tuple[int, int]:
    """Of rows and of columns."""
    return (number, number) if isinstance(number, int) else (number[0], number[1])


def note_pad(
    function: Callable[..., Tensor],
    source: Banded,
    pad: Sequence[int],
    mode: str,
    value: Any = None,
) -> Banded:
    """A frame around the image."""
    left, right, above, below = (*pad, 0, 0)[:4]
    *others, height, width = source.shape

    def reach(top: int, bottom: int) -> Rows:
        # A band of nothing but frame still needs the row that the frame repeats.
        return min(top - above, height - 1), max(bottom - above, 1)

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        first, last = top - above, bottom - above
        lacking = (left, right, max(0, -first), max(0, last - height))
        padded = function(rows, lacking, mode, value)
        skipped = max(0, first - max(0, min(first, height - 1)))
        return padded[..., skipped : skipped + bottom - top, :]

    shape = (*others, height + above + below, width + left + right)
    noted = note_local(source, shape, reach, compute)
    noted.dtype = source.dtype
    return noted


def note_enlarging(function: Callable[..., Tensor], source: Banded, **options: Any) -> Banded:
    """Interpolation to twice the size."""
    if options.get("size") is not None or options.get("scale_factor") not in (2, (2.0, 2.0)):
        raise TypeError("only an enlargement by 2 can be done in bands")
    batch, channels, height, width = source.shape

    def reach(top: int, bottom: int) -> Rows:
        return top // 2 - 1, (bottom + 1) // 2 + 1

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        skipped = top - 2 * max(0, reach(top, bottom)[0])
        return function(rows, **options)[..., skipped : skipped + bottom - top, :]

    noted = note_local(source, (batch, channels, 2 * height, 2 * width), reach, compute)
    noted.dtype = source.dtype
    return noted


def note_nearest_conv(
    _function: Callable[..., Tensor], source: Banded, weight: Tensor, bias: Tensor | None
) -> Banded:
    """Enlargement by 2 and a convolution in one."""
    batch, _, height, width = source.shape

    def reach(top: int, bottom: int) -> Rows:
        return top // 2 - 1, (bottom + 1) // 2 + 1

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        first, last = reach(top, bottom)
        rows = F.pad(rows, (0, 0, max(0, -first), max(0, last - height)))
        drawn = nearest_conv_between(rows, weight, bias)
        return drawn[..., top % 2 : top % 2 + bottom - top, :]

    return note_local(source, (batch, len(weight), 2 * height, 2 * width), reach, compute)


def note_shuffle(function: Callable[..., Tensor], source: Banded, factor: int) -> Banded:
    """Channels to pixels."""
    batch, channels, height, width = source.shape

    def reach(top: int, bottom: int) -> Rows:
        return top // factor, -(-bottom // factor)

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        skipped = top % factor
        return function(rows, factor)[..., skipped : skipped + bottom - top, :]

    shape = (batch, channels // factor**2, factor * height, factor * width)
    noted = note_local(source, shape, reach, compute)
    noted.dtype = source.dtype
    return noted


def note_unshuffle(function: Callable[..., Tensor], source: Banded, factor: int) -> Banded:
    """Pixels to channels."""
    batch, channels, height, width = source.shape
    shape = (batch, channels * factor**2, height // factor, width // factor)
    noted = note_local(
        source,
        shape,
        lambda top, bottom: (factor * top, factor * bottom),
        lambda _top, _bottom, rows: function(rows, factor),
    )
    noted.dtype = source.dtype
    return noted


def note_group_norm(
    _function: Callable[..., Tensor],
    source: Banded,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Banded:
    """Normalisation by the statistics of the whole image; unless they are known, taken now."""
    mean, variance = known_moments(weight) or source.settle().statistics(num_groups)
    each = source.shape[1] // num_groups
    gain = weight.float() * (variance + eps).rsqrt().repeat_interleave(each).to(weight.device)
    offset = bias.float() - mean.repeat_interleave(each).to(weight.device) * gain
    gain, offset = gain[:, None, None], offset[:, None, None]
    return note_pixels(lambda x: torch.addcmul(offset, x.float(), gain), source)


def note_swin_block(_function: Callable[..., Tensor], source: Banded, block: SwinBlock) -> Banded:
    """Attention in windows, which end where they end in the whole image."""
    shift, height = block.shift, source.height

    def reach(top: int, bottom: int) -> Rows:
        return (
            (top - shift) // WINDOW * WINDOW + shift,
            -(-(bottom - shift) // WINDOW) * WINDOW + shift,
        )

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        first, last = reach(top, bottom)
        done = block.band(rows, above=max(0, -first), below=max(0, last - height))
        return done[..., top - max(0, first) : bottom - max(0, first), :]

    noted = note_local(source, source.shape, reach, compute)
    noted.dtype = torch.promote_types(source.dtype, noted.dtype)
    return noted


def note_whole(function: Callable[..., Any], source: Banded) -> tuple[Banded, ...]:
    """A function of the whole image, which is computed now."""
    whole = torch.cat([rows for _, (rows,) in bands([source], source.height)], dim=-2)
    return tuple(stored(result, source.device) for result in function(whole))


NOTED: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(
        (
            F.leaky_relu,
            F.silu,
            F.normalize,
            torch.add,
            torch.sub,
            torch.mul,
            torch.cat,
            torch.stack,
            torch.ones_like,
            Tensor.add,
            Tensor.mul,
            Tensor.__mul__,
            Tensor.__add__,
            nearest,
            lookup,
        ),
        note_pixels,
    ),
    torch.conv2d: note_conv,
    F.pad: note_pad,
    F.interpolate: note_enlarging,
    nearest_conv: note_nearest_conv,
    F.pixel_shuffle: note_shuffle,
    F.pixel_unshuffle: note_unshuffle,
    F.group_norm: note_group_norm,
    swin_block: note_swin_block,
    holes_of: note_whole,
}
