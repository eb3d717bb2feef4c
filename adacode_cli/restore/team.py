"""One folder, many processes: a launcher started several of us, and each does its part."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST = timedelta(days=14)  # that one process waits for the others


class Team:
    """All processes that ``accelerate launch`` or torchrun started, or just this one.

    number: which of them this is, from 0. size: how many there are.
    """

    def __init__(self, device: str = "auto") -> None:
        self.state: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            import torch
            from accelerate import PartialState

            # Without a GPU, accelerate makes a team only of those who ask for the CPU.
            on_cpu = device == "cpu" or not torch.accelerator.is_available()
            self.state = PartialState(cpu=on_cpu, timeout=LONGEST)

    @property
    def number(self) -> int:
        """Which process this is."""
        return int(self.state.process_index) if self.state else 0

    @property
    def size(self) -> int:
        """How many processes there are."""
        return int(self.state.num_processes) if self.state else 1

    @property
    def leads(self) -> bool:
        """Whether this one plans, and speaks for all."""
        return self.number == 0

    def device(self, asked: str) -> str:
        """The device of this process: its own GPU, unless another one was asked for."""
        if self.state is None or asked not in {"auto", "cuda"}:
            return asked
        mine = self.state.device
        return str(mine) if mine.type == "cuda" else str(mine.type)

    def agree(self, decide: Callable[[], T]) -> T:
        """What the first process decides, for all of them; an error of its, too."""
        if self.state is None:
            return decide()
        from accelerate.utils import broadcast_object_list

        decided: list[Any] = [None, None]
        if self.leads:
            try:
                decided[0] = decide()
            except (ValueError, OSError) as error:
                decided[1] = error
        broadcast_object_list(decided, from_process=0)
        if decided[1] is not None:
            self.part_ways()
            raise decided[1] if self.leads else SystemExit(0)
        return decided[0]

    def part(self, jobs: list[T]) -> list[T]:
        """This process's share: every job is in exactly one."""
        return jobs[self.number :: self.size]

    def gather(self, value: T) -> list[T]:
        """Everyone's ``value``, in order; waits for all."""
        if self.state is None:
            return [value]
        from accelerate.utils import gather_object

        return list(gather_object([value]))

    def part_ways(self) -> None:
        """End the connection, so that the processes may end at different times."""
        if self.state is not None:
            self.state.destroy_process_group()
