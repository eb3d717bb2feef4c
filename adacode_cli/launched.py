"""Which of a launcher's processes this is, if one started it."""

from __future__ import annotations

import os

# As Accelerate reads them: torchrun's and its own, then MPI's.
NAMES = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def rank() -> int:
    """This process's number, from 0; 0 where no launcher gave one that is a number."""
    told = (os.environ.get(name, "").strip() for name in NAMES)
    return next((int(number) for number in told if number.isdecimal()), 0)


def is_follower() -> bool:
    """Whether another process of a launcher's has the same words, and speaks about them."""
    return rank() > 0
