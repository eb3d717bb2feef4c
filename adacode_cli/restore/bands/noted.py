"""How each function of a network is done in bands: which rows it reaches, and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.model.blocks import conv3x3, nearest_conv, nearest_conv_between
from adacode_cli.model.codebook import lookup, nearest
from adacode_cli.model.fill import holes_of
from adacode_cli.model.norm import gain_and_offset
from adacode_cli.model.swin import WINDOW, SwinBlock, swin_block
from adacode_cli.model.winograd import convolution
from adacode_cli.restore.bands.banded import Banded, Rows, Step, same, stored
from adacode_cli.restore.bands.foresight import moments_of_no_use
from adacode_cli.restore.bands.run import bands, settle
from adacode_cli.restore.bands.statistics import known_moments


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
    dtype: torch.dtype | None = None,
) -> Banded:
    """A function of a pixel's surroundings; without ``dtype`` it keeps the source's."""
    step = Step(reach, lambda top, bottom, rows: compute(top, bottom, rows[0]))
    kept = source.dtype if dtype is None else dtype
    return Banded(shape, kept, source.device, step, [source], local=True)


def of_products(source: Banded) -> torch.dtype:
    """What products come out as: autocast's type where that is on."""
    kind = source.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else source.dtype


def around_half(top: int, bottom: int) -> Rows:
    """The rows of a map that an enlargement to twice its size reaches."""
    return top // 2 - 1, (bottom + 1) // 2 + 1


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

    return note_local(source, shape, reach, compute, of_products(source))


def note_conv3x3(
    _function: Callable[..., Tensor], source: Banded, weight: Tensor, bias: Tensor | None
) -> Banded:
    """A 3×3 convolution that keeps the size."""
    return note_conv(convolution, source, weight, bias, padding=1)


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
    return note_local(source, shape, reach, compute)


def note_enlarging(function: Callable[..., Tensor], source: Banded, **options: Any) -> Banded:
    """Interpolation to twice the size."""
    if options.get("size") is not None or options.get("scale_factor") not in (2, (2.0, 2.0)):
        raise TypeError("only an enlargement by 2 can be done in bands")
    batch, channels, height, width = source.shape

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        skipped = top - 2 * max(0, around_half(top, bottom)[0])
        return function(rows, **options)[..., skipped : skipped + bottom - top, :]

    return note_local(source, (batch, channels, 2 * height, 2 * width), around_half, compute)


def note_nearest_conv(
    _function: Callable[..., Tensor], source: Banded, weight: Tensor, bias: Tensor | None
) -> Banded:
    """Enlargement by 2 and a convolution in one."""
    batch, _, height, width = source.shape

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        first, last = around_half(top, bottom)
        rows = F.pad(rows, (0, 0, max(0, -first), max(0, last - height)))
        drawn = nearest_conv_between(rows, weight, bias)
        return drawn[..., top % 2 : top % 2 + bottom - top, :]

    shape = (batch, len(weight), 2 * height, 2 * width)
    return note_local(source, shape, around_half, compute, of_products(source))


def note_shuffle(function: Callable[..., Tensor], source: Banded, factor: int) -> Banded:
    """Channels to pixels."""
    batch, channels, height, width = source.shape

    def reach(top: int, bottom: int) -> Rows:
        return top // factor, -(-bottom // factor)

    def compute(top: int, bottom: int, rows: Tensor) -> Tensor:
        skipped = top % factor
        return function(rows, factor)[..., skipped : skipped + bottom - top, :]

    shape = (batch, channels // factor**2, factor * height, factor * width)
    return note_local(source, shape, reach, compute)


def note_unshuffle(function: Callable[..., Tensor], source: Banded, factor: int) -> Banded:
    """Pixels to channels."""
    batch, channels, height, width = source.shape
    shape = (batch, channels * factor**2, height // factor, width // factor)
    return note_local(
        source,
        shape,
        lambda top, bottom: (factor * top, factor * bottom),
        lambda _top, _bottom, rows: function(rows, factor),
    )


def note_group_norm(
    _function: Callable[..., Tensor],
    source: Banded,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Banded:
    """Normalisation by the statistics of the whole image; unless they are known, taken now."""
    mean, variance = (
        known_moments(weight)
        or moments_of_no_use(num_groups)
        or settle(source).statistics(num_groups)
    )
    mean, variance = (moment.to(weight.device) for moment in (mean, variance))
    gain, offset = gain_and_offset(mean, variance, weight, bias, eps)
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

    def compute(top: int, bottom: int, rows: list[Tensor]) -> Tensor:
        first, last = reach(top, bottom)
        done = block.band(rows[0], above=max(0, -first), below=max(0, last - height))
        return done[..., top - max(0, first) : bottom - max(0, first), :]

    def complete(bottom: int) -> int:
        return reach(bottom, bottom)[1]

    step, like = Step(reach, compute, complete), (source.shape, source.dtype, source.device)
    return Banded(*like, step, [source], local=True, dear=True)


def note_whole(function: Callable[..., Any], source: Banded) -> tuple[Banded, ...]:
    """A function of the whole image, which is computed now."""
    if source.foresight is not None:
        raise TypeError("what a function of the whole image reads can't be foreseen")
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
    conv3x3: note_conv3x3,
    F.pad: note_pad,
    F.interpolate: note_enlarging,
    nearest_conv: note_nearest_conv,
    F.pixel_shuffle: note_shuffle,
    F.pixel_unshuffle: note_unshuffle,
    F.group_norm: note_group_norm,
    swin_block: note_swin_block,
    holes_of: note_whole,
}
