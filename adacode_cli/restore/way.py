"""The way a picture is computed, and what is tried when it doesn't work out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adacode_cli.device import PRECISION_NAMES
from adacode_cli.restore.tiling import FEWEST, OnTile, Statistics

MORE_PRECISE = {torch.float16: torch.bfloat16, torch.bfloat16: torch.float32}
# What PyTorch, and the libraries that compute its convolutions and products, say: on a CPU …
ALLOCATION = ("allocate memory", "out of memory", "create a primitive", "execute a primitive")
# … and on a GPU; no engine is found where none gets room to work in (or none fits at all: then
# the CPU does it).
GPU_ALLOCATION = ("ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine")


@dataclass(frozen=True)
class Way:
    """Where, how precisely, and how many rows of the output at once.

    fixed: whether the user named the device. on_cpu: the rows, should it come to the CPU;
    None: as many as were tried last.
    """

    device: torch.device
    precision: torch.dtype
    rows: int
    statistics: Statistics = "exact"
    fixed: bool = False
    on_cpu: int | None = None

    def more_precise(self) -> Way | None:
        """With numbers that overflow later, if there are any."""
        dtype = MORE_PRECISE.get(self.precision)
        return replace(self, precision=dtype) if dtype else None

    def smaller(self) -> Way | None:
        """With less memory, or in another one, if that may be."""
        if self.rows > FEWEST:
            return replace(self, rows=max(FEWEST, self.rows // 2 // FEWEST * FEWEST))
        if self.device.type == "cpu" or self.fixed:
            return None
        rows = self.on_cpu or self.rows
        return replace(self, device=torch.device("cpu"), precision=torch.float32, rows=rows)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Without gradients, in the precision."""
        lower = self.precision != torch.float32
        with torch.no_grad(), torch.autocast(self.device.type, self.precision, enabled=lower):
            yield


class NoRoomError(MemoryError):
    """No memory, in any way that may be; ``way``: the last that was tried."""

    def __init__(self, message: str, way: Way) -> None:
        super().__init__(message)
        self.way = way


def persevere(
    way: Way,
    height: int,
    compute: Callable[[Way, int], Iterator[Tensor]],
    say: Callable[[str], None],
    on_tile: OnTile | None = None,
    stride: int = 1,
) -> Iterator[Tensor]:
    """Bands (C, n, w) of a picture of ``height`` rows, finite, from top to bottom.

    ``compute`` gives them, in some way, from some row on; each of their rows stands for
    ``stride`` rows of the picture. What is not finite is computed
    again with more precise numbers; what finds no memory, in smaller bands, then elsewhere;
    ``say`` hears of each. Raises ``FloatingPointError`` or ``NoRoomError`` at the end of it.
    """
    top = 0
    while top < height:
        try:
            for rows in compute(way, top):
                if not torch.isfinite(rows.sum()):
                    raise FloatingPointError  # noqa: TRY301 it is met here, and told below
                top += rows.shape[1] * stride
                if on_tile and way.rows < height:
                    on_tile(-(-top // way.rows), -(-height // way.rows))
                yield rows
        except FloatingPointError:
            way = said_more_precise(way, top, say)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            way = said_smaller(way, error, say)


def said_more_precise(way: Way, top: int, say: Callable[[str], None]) -> Way:
    """The next precision, announced. Raises ``FloatingPointError`` if there is none."""
    better = way.more_precise()
    if better is None:
        raise FloatingPointError(
            f"the network's output is not finite from row {top} on, even in fp32; "
            "are these weights whole? `adacode weights verify` knows"
        )
    say(
        f"not finite in {PRECISION_NAMES[way.precision]} from row {top} on: "
        f"computed in {PRECISION_NAMES[better.precision]}"
    )
    return better


def said_smaller(way: Way, error: Exception, say: Callable[[str], None]) -> Way:
    """A way with less memory, announced. Raises ``NoRoomError`` if there is none."""
    less = way.smaller()
    if less is None:
        elsewhere = "" if way.device.type == "cpu" else ", or --device cpu"
        raise NoRoomError(
            f"out of memory on {way.device}, even with bands of {way.rows} rows; "
            f"try a smaller picture{elsewhere}",
            way,
        ) from error
    if less.device != way.device:
        say(f"out of memory on {way.device}: computed on the {less.device}, which is slower")
    else:
        say(f"out of memory with bands of {way.rows} rows: computed in bands of {less.rows}")
    return less


def lacks_memory(error: Exception) -> bool:
    """Whether this is how memory runs out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in (*ALLOCATION, *GPU_ALLOCATION))
