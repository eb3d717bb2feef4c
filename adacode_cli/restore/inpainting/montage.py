"""A hole as a montage of its picture, shifted this way here and that way there.

After He and Sun (2012): a few shifts of the whole picture fill holes best, and what is to be found
out is which of them is seen where, so that its seams don't show. Lines are carried through, since
whole pieces come along. The shifts are those by which patches of a drawing find what they look
like; which one goes where is told by belief propagation (Felzenszwalb and Huttenlocher, 2006),
with all of them in a small picture, and in ever larger ones with the best few of the places around.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.restore.inpainting.holes import depth_of
from adacode_cli.restore.inpainting.patch_match import Surroundings, alike, widened
from adacode_cli.restore.inpainting.places import Places
from adacode_cli.restore.inpainting.pyramid import blurred, composite, half, halve

SHIFTS = 70  # that the smallest picture chooses from
FEW = 1500  # places for which all of them can be tried; for more of them fewer are
POSSIBLE = 0.8  # of the places some shift has to show something known at
APART = 7  # pixels, within which only one of them is taken
SPREAD = 1.4  # pixels: how near two finds are to count for the same shift
PASSES = 4  # of looking for what a patch looks like
BAND = 4  # pixels around the hole that a shift has to match as well
BEST = 8  # shifts that a place hands on to the larger picture; and one of each neighbour's
ROUNDS = 20  # of passing beliefs on
DAMPING = 0.5
HEARD = 0.3  # what the coarser picture says about costs counts for so much
AT_ONCE = 1 << 12  # seams that are weighed at once
TONES = 1.5  # pixels: what of a drawing varies more slowly is believed
COLOURS = 3.0  # times as much as brightness they count there
BELIEVED = 0.3, 1.0, 8.0  # how much, far from what is known; more at its rim; over so many pixels
UNKNOWN = 0.5  # cost of a seam beyond which nothing is known
IMPOSSIBLE = 1e3  # cost of a shift that leads nowhere


class Level(NamedTuple):
    """The picture at some size, (3, h, w), and what is to become of it, (h, w).

    rgb: the photo, and the drawing where that is good enough. mask: what is to be made of
    patches. drawn: the drawing there, too. unknown: where patches may not come from.
    """

    rgb: Tensor
    mask: Tensor
    drawn: Tensor
    unknown: Tensor

    def halved(self) -> Level:
        """The same at half the size; what is partly unknown is unknown."""
        mask, unknown = (half(x[None].float())[0] > 0 for x in (self.mask, self.unknown))
        drawn = half(composite(self.rgb, self.mask, self.drawn))
        return Level(halve(self.rgb, self.mask)[0], mask, drawn, unknown)


def places_of(level: Level) -> Tensor:
    """Where a shift is to be chosen: the hole and a band around it, (h, w)."""
    return widened(level.mask, BAND)


def finds_of(level: Level, around: Surroundings) -> Tensor:
    """Where what the drawing's patch around each place looks like lies: (N,)."""
    drawn = composite(level.rgb, level.mask, level.drawn)
    return alike(around, drawn, None, PASSES, max(around.height, around.width) // 2)[0]


def shifts_of(around: Surroundings, finds: Tensor) -> Tensor:
    """The shifts by which most patches found what they look like (N,): (K, 2), y and x."""
    height, width = around.height, around.width
    pairs = zip(around.at(finds), around.at(around.pixels), strict=True)
    down, across = (there - here for there, here in pairs)
    counted = np.zeros((2 * height + 1, 2 * width + 1), np.float32)
    np.add.at(counted, ((down + height).numpy(), (across + width).numpy()), 1)
    smoothed = cv2.GaussianBlur(counted, (0, 0), SPREAD)
    highest = (smoothed > 0) & (smoothed == cv2.dilate(smoothed, np.ones((APART, APART))))
    y, x = highest.nonzero()
    most = np.argsort(-smoothed[y, x], kind="stable")[:SHIFTS]
    return torch.from_numpy(np.stack([y[most] - height, x[most] - width], axis=1))


def chosen(levels: list[Level], shifts: Tensor) -> Tensor:
    """Which pixel of the first of ``levels`` is seen at each of its places: (h·w,), else -1.

    shifts: (K, 2), in its pixels, the best first. The last of ``levels`` that knows enough to
    choose at all chooses from all of them.
    """
    montage = best = None
    for number in reversed(range(len(levels))):
        finer = Montage(levels[number], (shifts / 2**number).round().long())
        if montage is None or best is None:
            choice = finer.all_choices()
            if number and not finer.is_possible(choice):
                continue
            belief = finer.believed(choice, 0.0)
        else:
            choice, dearer = (handed_on(x, montage, finer) for x in best)
            belief = finer.believed(choice, HEARD * dearer)
        montage, best = finer, cheapest(choice, belief)
    assert montage is not None  # there is one level at least
    assert best is not None
    pixel, known = montage.seen(torch.arange(len(montage)), best[0][:, :1])
    field = torch.full((montage.height * montage.width,), -1)
    field[montage.pixels] = torch.where(known, pixel, -1)[:, 0]
    return field


def cheapest(choice: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
    """The best of a choice of shifts (N, C), no shift twice, and how much dearer they are: (N, c).

    The best first. Where there are fewer than c, the last ones are impossible.
    """
    cost, order = cost.sort(dim=1, stable=True)
    choice = choice.gather(1, order)
    again = (choice[:, :, None] == choice[:, None]).tril(-1).any(dim=2)
    cost, order = cost.masked_fill(again, IMPOSSIBLE).topk(min(BEST, cost.shape[1]), largest=False)
    return choice.gather(1, order), cost - cost[:, :1]


def handed_on(best: Tensor, coarse: Montage, fine: Montage) -> Tensor:
    """For each place of the finer picture what is best at that of the coarser one, and around it.

    (N, C), the best first → (n, C + 4), the last four being each neighbour's best.
    """
    y, x = fine.y // 2, fine.x // 2
    own = coarse.number[coarse.nearest_pixel(y, x)]
    choices = [best[own]]
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        theirs = coarse.number[coarse.nearest_pixel(y + dy, x + dx)]
        choices.append(best[torch.where(theirs < 0, own, theirs), :1])
    return torch.cat(choices, dim=1)


class Montage(Places):
    """The places of a level, and what a choice of shifts (K, 2), in its pixels, costs there.

    Costs are squared differences of pixels in [0, 1], of their colours and slopes.
    """

    def __init__(self, level: Level, shifts: Tensor) -> None:
        super().__init__(places_of(level))
        self.level, self.shifts = level, shifts
        self.y, self.x = self.at(self.pixels)
        self.known = ~level.unknown.flatten()
        filled = composite(level.rgb, level.mask, level.drawn)
        self.looks, self.tones = looks_of(filled), slow(filled)  # (h·w, 5), (h·w, 3)

    @cached_property
    def edges(self) -> list[tuple[Tensor, Tensor]]:
        """Neighbours: the numbers of places, and of those to the right; and of those below."""
        found = []
        for dy, dx in ((0, 1), (1, 0)):
            theirs = self.neighbours(dy, dx)
            linked = theirs >= 0
            found.append((linked.nonzero()[:, 0], theirs[linked]))
        return found

    def all_choices(self) -> Tensor:
        """Every shift for each place, as far as all of their seams can be weighed: (N, C)."""
        most = max(BEST, int(SHIFTS * min(1.0, FEW / len(self)) ** 0.5))
        return torch.arange(min(most, len(self.shifts))).expand(len(self), -1)

    def is_possible(self, choice: Tensor) -> bool:
        """Whether nearly every place is shown something known by one of its shifts."""
        known = self.seen(torch.arange(len(self)), choice)[1]
        return known.any(dim=1).float().mean().item() >= POSSIBLE

    def seen(self, numbers: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
        """Which pixels shifts show at places (n,), and whether they are known: (n, C)."""
        down, across = self.shifts[choice].unbind(dim=2)
        y, x = self.y[numbers][:, None] + down, self.x[numbers][:, None] + across
        pixel, within = self.pixel(y, x)
        return pixel, within & self.known[pixel]

    def believed(self, choice: Tensor, heard: Tensor | float) -> Tensor:
        """What each of a choice of shifts (N, C) costs, all the others at their best: (N, C).

        heard: what it costs besides.
        """
        own = self.costs(choice) + heard
        seams = [self.seams(first, second, choice) for first, second in self.edges]
        return propagated(own, self.edges, seams, ROUNDS)

    def costs(self, choice: Tensor) -> Tensor:
        """What a shift costs by itself: (N, C).

        Around the hole it has to match what is there; within, to have the tones of the drawing.
        """
        mask = self.level.mask
        pixel, known = self.seen(torch.arange(len(self)), choice)
        matched = (self.looks[pixel] - self.looks[self.pixels][:, None]).square().sum(2)
        toned = (self.tones[pixel] - self.tones[self.pixels][:, None]).square().sum(2)
        inside = mask.flatten()[self.pixels][:, None]
        depth = torch.from_numpy(depth_of(mask.numpy())).flatten()[self.pixels][:, None]
        least, more, over = BELIEVED
        own = torch.where(inside, (least + more * torch.exp(-depth / over)) * toned, matched)
        return torch.where(known, own, IMPOSSIBLE)

    def seams(self, first: Tensor, second: Tensor, choice: Tensor) -> Tensor:
        """What it costs if neighbours (E,) take one shift each: (E, C, C).

        By how much what they show differs in both places: nothing if both take the same one. Where
        nothing known is shown, it costs as much as things that don't go together at all.
        """

        def at(numbers: Tensor) -> Tensor:
            (one, is_one), (other, is_other) = (
                self.seen(numbers, choice[side]) for side in (first, second)
            )
            nothing = ~(is_one[:, :, None] & is_other[:, None, :])
            return apart(self.looks[one], self.looks[other]) + UNKNOWN * nothing

        return at(first) + at(second)


def propagated(
    own: Tensor, edges: list[tuple[Tensor, Tensor]], seams: list[Tensor], rounds: int
) -> Tensor:
    """Min-sum belief propagation on a grid: (N, C), the cost of each label with all others at best.

    own: (N, C). edges: pairs of numbers (E,). seams: of each pair of labels, (E, C, C).
    """
    onward = [torch.zeros(len(first), own.shape[1]) for first, _ in edges]
    back = [torch.zeros(len(first), own.shape[1]) for first, _ in edges]

    def total() -> Tensor:
        heard = own.clone()
        for (first, second), there, here in zip(edges, onward, back, strict=True):
            heard.index_add_(0, second, there).index_add_(0, first, here)
        return heard

    for _ in range(rounds):
        heard = total()
        for n, (first, second) in enumerate(edges):
            # Nobody is told what he said himself.
            there = told(seams[n], heard[first] - back[n])
            here = told(seams[n].transpose(1, 2), heard[second] - onward[n])
            onward[n] = DAMPING * onward[n] + (1 - DAMPING) * there
            back[n] = DAMPING * back[n] + (1 - DAMPING) * here
    return total()


def told(seams: Tensor, heard: Tensor) -> Tensor:
    """What each label of the other side costs, by (E, C, C) and what this side heard: (E, C)."""
    parts = zip(torch.split(seams, AT_ONCE), torch.split(heard, AT_ONCE), strict=True)
    said = torch.cat([(seam + part[:, :, None]).amin(dim=1) for seam, part in parts])
    return said - said.amin(dim=1, keepdim=True)


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of (E, C, F) to (E, c, F): (E, C, c)."""
    squares = a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None, :]
    return (squares - 2 * a @ b.transpose(1, 2)).clamp(min=0)


def looks_of(rgb: Tensor) -> Tensor:
    """Colour and slopes of each pixel of (3, h, w): (h·w, 5)."""
    gray = F.pad(rgb.mean(dim=0)[None, None], (1, 1, 1, 1), mode="replicate")[0]
    across = gray[:, 1:-1, 2:] - gray[:, 1:-1, :-2]
    down = gray[:, 2:, 1:-1] - gray[:, :-2, 1:-1]
    return torch.cat([rgb, across, down]).flatten(1).T.contiguous()


def slow(rgb: Tensor) -> Tensor:
    """What varies slowly in (3, h, w), colours stronger than they are: (h·w, 3)."""
    tones = blurred(rgb, TONES).flatten(1).T.contiguous()
    return torch.lerp(tones.mean(dim=1, keepdim=True), tones, COLOURS)
