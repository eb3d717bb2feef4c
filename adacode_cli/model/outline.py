"""A network without memory or values for its tensors: their names and shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What would give a tensor its first values.
VALUES = {Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_, Tensor.mul_, F.normalize}


@contextmanager
def outlined() -> Iterator[None]:
    """Within, tensors are made on no device, and nothing is drawn or computed for them.

    For tensors that aren't there PyTorch would do that by way of its compiler, whose import
    takes as long as its own.
    """
    with torch.device("meta"), Unfilled():
        yield


class Unfilled(TorchFunctionMode):
    """Leaves tensors as they are, where they would get values."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch.randn:
            return torch.empty(*args, **(kwargs or {}))
        if function in VALUES or getattr(function, "__module__", "") == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return function(*args, **(kwargs or {}))
