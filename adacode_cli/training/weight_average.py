"""Moving averages of the weights: what is saved and used, steadier than the last step's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adacode_cli.model.adacode import AdaCode, Restoration


class WeightAverage:
    """``decay`` of what was, the rest of what is; faster at first. Codes are as they are."""

    def __init__(self, model: AdaCode, decay: float) -> None:
        self.model, self.decay = model, decay
        self.tensors = {n: t.detach().clone() for n, t in model.state_dict().items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the model after its step number ``step``."""
        keep = min(self.decay, (1 + step) / (10 + step))
        state: dict[str, Tensor] = self.model.state_dict()
        torch._foreach_lerp_(list(self.tensors.values()), list(state.values()), 1 - keep)
        for name, codes in self.model.named_parameters():
            if name.endswith(".codes"):
                self.tensors[name].copy_(codes)

    def is_finite(self) -> bool:
        """Whether every average is a number."""
        return bool(torch.stack([t.isfinite().all() for t in self.tensors.values()]).all())

    def restore(self, image: Tensor) -> Restoration:
        """The model's forward pass with the averaged weights."""
        self.model.eval()
        try:
            device = next(iter(self.tensors.values())).device
            return torch.func.functional_call(self.model, self.tensors, (image.to(device),))
        finally:
            self.model.train()

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Take over saved averages."""
        for name, average in self.tensors.items():
            average.copy_(tensors[name])


def parameters_of(module: nn.Module | None) -> list[nn.Parameter]:
    """The parameters of a part that may not be there."""
    return [] if module is None else list(module.parameters())
