"""What a run tells about itself: means over steps, and how its codes are used."""

from __future__ import annotations

import torch
from torch import Tensor

from adacode_cli.model.config import CodebookConfig
from adacode_cli.training.code_averages import perplexity, usage


class Figures:
    """Sums of what each step reports."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, terms: dict[str, float]) -> None:
        """One step's."""
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class CodeUses:
    """How often each code of each codebook was chosen since the last report."""

    def __init__(self, books: tuple[CodebookConfig, ...]) -> None:
        self.names = [book.name for book in books]
        self.counts = [torch.zeros(book.codes) for book in books]

    def add(self, indices: Tensor) -> None:
        """One step's, (B, K, h, w)."""
        for k, counts in enumerate(self.counts):
            chosen = indices[:, k].flatten().cpu()
            self.counts[k] = counts + torch.bincount(chosen, minlength=len(counts))

    def report(self) -> dict[str, float]:
        """Usage and perplexity by class, and begin again."""
        told = {}
        for name, counts in zip(self.names, self.counts, strict=True):
            told[f"usage/{name}"] = usage(counts)
            told[f"perplexity/{name}"] = perplexity(counts)
            counts.zero_()
        return told
