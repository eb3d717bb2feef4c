"""Functions that what stands for a tensor may compute in a way of its own.

PyTorch's functions are so already; these of ours join them, by the same protocol
(``__torch_function__``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

P = ParamSpec("P")
R = TypeVar("R")
OnTensor = Callable[Concatenate[Tensor, P], R]


def overridable(function: OnTensor[P, R]) -> OnTensor[P, R]:
    """``function``, unless its first argument knows better."""

    @wraps(function)
    def either(x: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if has_torch_function_unary(x):
            answer: Any = handle_torch_function(either, (x,), x, *args, **kwargs)
            return answer
        return function(x, *args, **kwargs)

    return either
