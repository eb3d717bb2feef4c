"""What each stage of the network takes: seconds, and floating point operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from adacode_cli.model.adacode import AdaCode
from adacode_cli.restore.restorer import Restorer

STAGES = ("encoder", "codebooks", "weight map", "decoder")
REST = "rest"  # padding, mixing the codes, copies between devices
ByStage = dict[str, float]  # every stage's part, then the rest's


def seconds_by_stage(restorer: Restorer, picture: Tensor) -> ByStage:
    """The wall-clock seconds of one pass over (C, H, W)."""

    def now() -> float:
        wait_for(restorer.device)
        return time.perf_counter()

    return share_out(restorer, picture, now)


def flop_by_stage(restorer: Restorer, picture: Tensor) -> ByStage:
    """The operations of convolutions, products and attention in one pass over (C, H, W).

    A multiplication and an addition are two.
    """
    # The CPU's fused attention isn't counted; the same in single products is.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        return share_out(restorer, picture, counter.get_total_flops)


def share_out(restorer: Restorer, picture: Tensor, read: Callable[[], float]) -> ByStage:
    """How much ``read`` grows in one pass, by stage."""
    restorer.replayer.forget()  # a recording has no stages
    with watched(restorer.model, read) as parts:
        began = read()
        restorer.restore_whole(picture)
        total = read() - began
    return {**parts, REST: max(0.0, total - sum(parts.values()))}


@contextmanager
def watched(model: AdaCode, read: Callable[[], float]) -> Iterator[ByStage]:
    """While it lasts, how much ``read`` grew within each stage."""
    parts = dict.fromkeys(STAGES, 0.0)
    handles = []
    for name, module in modules_of(model):

        def enter(_module: nn.Module, _given: object, name: str = name) -> None:
            parts[name] -= read()

        def leave(_module: nn.Module, _given: object, _made: object, name: str = name) -> None:
            parts[name] += read()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield parts
    finally:
        for handle in handles:
            handle.remove()


def modules_of(model: AdaCode) -> Iterator[tuple[str, nn.Module]]:
    """The network's parts under their stages' names."""
    yield "encoder", model.encoder
    for book in model.codebooks:
        yield "codebooks", book
    yield "weight map", model.weight_map
    yield "decoder", model.decoder


def wait_for(device: torch.device) -> None:
    """Until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
