"""How fast this machine convolves at its best: what the network can be held against."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from adacode_cli.benchmark.stages import wait_for

# Channels and the side in pixels; large enough to keep all units busy, small enough for caches.
ON_CPU = ((64, 96), (128, 96), (256, 64))
ON_GPU = ((64, 768), (128, 768), (256, 512))
LEAST_SECONDS = 0.25  # for each
LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Ceiling:
    """The fastest 3×3 convolution: operations a second, its channels and its side in pixels."""

    flop_per_second: float
    channels: int
    side: int

    def __str__(self) -> str:
        return f"a 3×3 convolution of {self.channels} channels, {self.side}×{self.side}"


def measure_ceiling(device: torch.device, dtype: torch.dtype) -> Ceiling:
    """The best round of a few convolutions, channels last, in the precision of the network."""
    shapes = ON_CPU if device.type == "cpu" else ON_GPU
    rates = [Ceiling(rate(c, side, device, dtype), c, side) for c, side in shapes]
    return max(rates, key=lambda found: found.flop_per_second)


@torch.inference_mode()
def rate(channels: int, side: int, device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the best round; a round's calls are queued together on a GPU."""
    x = torch.rand(1, channels, side, side, device=device, dtype=dtype)
    kernel = torch.rand(channels, channels, 3, 3, device=device, dtype=dtype)
    x, kernel = (t.contiguous(memory_format=torch.channels_last) for t in (x, kernel))
    calls = 1 if device.type == "cpu" else 20
    best, rounds, began = float("inf"), -1, time.perf_counter()
    while rounds < LEAST_ROUNDS or time.perf_counter() - began < LEAST_SECONDS:
        wait_for(device)
        start = time.perf_counter()
        for _ in range(calls):
            F.conv2d(x, kernel, padding=1)
        wait_for(device)
        if rounds >= 0:  # the first one warms up
            best = min(best, time.perf_counter() - start)
        rounds += 1
    return calls * 2 * 9 * channels**2 * side**2 / best
