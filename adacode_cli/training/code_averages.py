"""Codes that follow what they stand for, by moving averages; codes nobody uses start again.

Van den Oord et al. (2017), appendix A.1, for unit-length codes. Without the restart,
codebooks collapse to one or two codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.model.codebook import BasisCodebook, Quantised

DECAY = 0.99
DEAD = 0.02  # of the mean use
RESTART_EVERY = 50  # steps
FIRST_ROUNDS = 8  # of k-means


class CodeAverages:
    """Moving averages for one codebook. ``update`` moves its codes in place."""

    def __init__(self, book: BasisCodebook) -> None:
        self.book = book
        count, dim = book.codes.shape
        self.uses = book.codes.new_ones(count)
        self.sums = book.codes.new_zeros(count, dim)
        self.steps = 0

    @torch.no_grad()
    def update(self, quantised: Quantised) -> None:
        """Follow one batch; the first one places every code by k-means."""
        wanted = quantised.before.detach().float().transpose(0, 1).flatten(1).T  # (N, D)
        if self.steps == 0:
            self.start(wanted)
        indices = quantised.indices.flatten()  # (N,)
        if self.steps == 0:
            indices = nearest(wanted, self.book.codes)
        uses, sums = count_and_sum(wanted, indices, len(self.uses))
        self.uses.lerp_(uses, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        self.book.codes.copy_(F.normalize(self.sums, dim=1))
        self.steps += 1
        if self.steps % RESTART_EVERY == 0:
            self.restart(wanted)

    def start(self, wanted: Tensor) -> None:
        """k-means on real features, begun at random ones."""
        codes = pick(wanted, len(self.uses))
        for _ in range(FIRST_ROUNDS):
            uses, sums = count_and_sum(wanted, nearest(wanted, codes), len(codes))
            codes = torch.where(
                uses[:, None] > 0, F.normalize(sums, dim=1), pick(wanted, len(codes))
            )
        self.book.codes.copy_(codes)
        self.uses.fill_(len(wanted) / len(codes))
        self.sums.copy_(codes * self.uses[:, None])

    def restart(self, wanted: Tensor) -> None:
        """Dead codes take the place of features picked at random."""
        dead = self.uses < DEAD * self.uses.mean()
        fresh = pick(wanted, int(dead.sum()))
        self.book.codes[dead] = fresh
        self.uses[dead] = self.uses.mean()
        self.sums[dead] = fresh * self.uses.mean()

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"uses": self.uses, "sums": self.sums, "steps": torch.tensor(self.steps)}

    def resume(self, state: dict[str, Tensor]) -> None:
        """The inverse of ``state``."""
        self.uses, self.sums = (state[k].to(self.uses) for k in ("uses", "sums"))
        self.steps = int(state["steps"])


def nearest(wanted: Tensor, codes: Tensor) -> Tensor:
    """(N, D) and (M, D), unit length → (N,)."""
    return (wanted @ codes.T).argmax(dim=1)


def count_and_sum(wanted: Tensor, indices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """How many features chose each code, (M,), and their sums, (M, D)."""
    uses = torch.bincount(indices, minlength=count).float()
    sums = wanted.new_zeros(count, wanted.shape[1]).index_add_(0, indices, wanted)
    return uses, sums


def pick(wanted: Tensor, count: int) -> Tensor:
    """``count`` features at random: (N, D) → (count, D)."""
    return wanted[torch.randint(len(wanted), (count,))]


def usage(counts: Tensor) -> float:
    """The share of codes that were used at all, of (M,) counts."""
    return (counts > 0).float().mean().item()


def perplexity(counts: Tensor) -> float:
    """Exp of the entropy of the codes' use: as many codes used evenly."""
    share = counts / counts.sum()
    return torch.exp(-(share * (share + 1e-12).log()).sum()).item()
