"""Codes that follow what they stand for, by moving averages; codes nobody uses start again.

Van den Oord et al. (2017), appendix A.1. Without the restart, codebooks collapse to one or
two codes. Codes that are trained by gradient are started and restarted the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.model.codebook import BasisCodebook, Quantised

Gather = Callable[[Tensor], Tensor]

DECAY = 0.97
DEAD = 0.1  # of the mean use
REPRIEVE = 0.25  # of the mean use: what a restarted code is lent until it finds its own
RESTART_EVERY = 20  # steps
FIRST_ROUNDS = 8  # of k-means


class CodeAverages:
    """Moving averages for one codebook. ``update`` moves its codes in place.

    ``follows``: whether codes move to the averages, or only start and restart here.
    ``gather`` joins the features of several processes, so that all of them do the same.
    """

    def __init__(
        self, book: BasisCodebook, *, follows: bool = True, gather: Gather | None = None
    ) -> None:
        self.book, self.follows = book, follows
        self.gather: Gather = gather or (lambda features: features)
        count, dim = book.codes.shape
        self.uses = book.codes.new_ones(count)
        self.sums = book.codes.new_zeros(count, dim)
        self.steps = 0

    @torch.no_grad()
    def update(self, quantised: Quantised) -> None:
        """Follow one batch; the first one places every code by k-means."""
        before = quantised.before.detach().float().transpose(0, 1).flatten(1).T
        wanted = self.gather(before.contiguous())  # (N, D)
        if self.steps == 0:
            self.start(wanted)
        uses, sums = count_and_sum(wanted, self.nearest(wanted, self.book.codes), len(self.uses))
        self.uses.lerp_(uses, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        if self.follows:
            self.book.codes.copy_(self.centres(self.uses, self.sums))
        self.steps += 1
        if self.steps % RESTART_EVERY == 0:
            self.restart(wanted)

    def start(self, wanted: Tensor) -> None:
        """k-means on real features, begun at random ones."""
        codes = pick(wanted, len(self.uses))
        for _ in range(FIRST_ROUNDS):
            uses, sums = count_and_sum(wanted, self.nearest(wanted, codes), len(codes))
            found = self.centres(uses, sums)
            codes = torch.where(uses[:, None] > 0, found, pick(wanted, len(codes)))
        self.book.codes.copy_(codes)
        self.uses.fill_(len(wanted) / len(codes))
        self.sums.copy_(codes * self.uses[:, None])

    def restart(self, wanted: Tensor) -> None:
        """Dead codes take the place of features picked at random."""
        dead = self.uses < DEAD * self.uses.mean()
        fresh = pick(wanted, int(dead.sum()))
        self.book.codes[dead] = fresh
        lent = REPRIEVE * self.uses.mean()
        self.uses[dead] = lent
        self.sums[dead] = fresh * lent

    def nearest(self, wanted: Tensor, codes: Tensor) -> Tensor:
        """(N, D) and (M, D) → (N,), as the codebook itself finds them."""
        return (wanted @ codes.T - 0.5 * codes.square().sum(1)).argmax(dim=1)

    def centres(self, uses: Tensor, sums: Tensor) -> Tensor:
        """The codes behind counts (M,) and sums (M, D)."""
        if self.book.unit:
            return F.normalize(sums, dim=1)
        return sums / uses.clamp(min=1e-6)[:, None]

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"uses": self.uses, "sums": self.sums, "steps": torch.tensor(self.steps)}

    def resume(self, state: dict[str, Tensor]) -> None:
        """The inverse of ``state``."""
        self.uses, self.sums = (state[k].to(self.uses) for k in ("uses", "sums"))
        self.steps = int(state["steps"])


def count_and_sum(wanted: Tensor, indices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """How many features chose each code, (M,), and their sums, (M, D)."""
    uses = torch.bincount(indices, minlength=count).float()
    sums = wanted.new_zeros(count, wanted.shape[1]).index_add_(0, indices, wanted)
    return uses, sums


def pick(wanted: Tensor, count: int) -> Tensor:
    """``count`` features at random: (N, D) → (count, D)."""
    # Drawn on the host: there, every process draws the same.
    return wanted[torch.randint(len(wanted), (count,)).to(wanted.device)]


def usage(counts: Tensor) -> float:
    """The share of codes that were used at all, of (M,) counts."""
    return (counts > 0).float().mean().item()


def perplexity(counts: Tensor) -> float:
    """Exp of the entropy of the codes' use: as many codes used evenly."""
    share = counts / counts.sum()
    return torch.exp(-(share * (share + 1e-12).log()).sum()).item()
