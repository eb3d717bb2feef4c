"""How a large picture is cut up: into bands of rows, as wide as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from adacode_cli.errors import UsageError

Statistics = Literal["exact", "sampled"]
OnTile = Callable[[int, int], None]  # how many bands are done, of how many

# Output pixels: a picture of up to as many is done whole, and a band has about as many.
WHOLE = {"lite": 2 << 20, "official": 1 << 20}
BAND = {"lite": 1 << 20, "official": 1 << 18}
# With a GPU's memory, as many more as have room there: bytes for each (measured in float32: 480
# and 3726), and the most at once (beyond twice that, a map has more numbers than some kernels
# count).
ROOM = {"lite": 640, "official": 4096}
MOST = 1 << 24
FEWEST = 8  # rows of a band


@dataclass(frozen=True)
class Tiling:
    """Bands of ``rows`` rows of the output; None: as it suits; 0: the whole picture at once.

    statistics: of normalisation, over the whole picture (exact), or a sample of it.
    as_published: with a published network, pad by a whole window more than needed, as the
    authors' program does; the picture is theirs then, and takes longer.
    """

    rows: int | None = None
    statistics: Statistics = "exact"
    as_published: bool = False

    def rows_for(self, family: str, height: int, width: int, free: int = 0) -> int:
        """The height of a band of an output of this size; ``height`` for all of it.

        free: bytes of a GPU's memory.
        """
        if self.rows is not None:
            return min(self.rows or height, height)
        with_room = min(MOST, free // ROOM[family])
        if height * width <= max(WHOLE[family], with_room):
            return height
        return max(FEWEST, max(BAND[family], with_room // 8) // width // FEWEST * FEWEST)


def room_for(family: str, height: int, width: int) -> int:
    """About how many bytes of a GPU an output of this size takes, whole."""
    return height * width * ROOM[family]


def parse_tiling(tile: str, statistics: str) -> Tiling:
    """What ``--tile`` and ``--tile-stats`` say. Raises ``UsageError``."""
    if statistics not in get_args(Statistics):
        raise UsageError(f"--tile-stats {statistics}: it is exact or sampled")
    taken: Statistics = "sampled" if statistics == "sampled" else "exact"
    if tile in ("auto", "off"):
        return Tiling(None if tile == "auto" else 0, taken)
    if not tile.isdigit() or int(tile) < FEWEST:
        raise UsageError(f"--tile {tile}: it is auto, off, or a number of rows from {FEWEST} up")
    return Tiling(int(tile), taken)
