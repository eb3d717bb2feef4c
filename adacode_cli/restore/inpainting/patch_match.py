"""Holes filled with what lies around them: patches that fit, from anywhere in the picture.

Wexler et al. (2007): each patch of the filling should look like some patch of what is known, so
in turn the most similar ones are looked for, and the filling becomes what they agree on. The
search is PatchMatch (Barnes et al., 2009), for all pixels at once: a neighbour's find, moved
along, or a guess nearby, replaces what fits less.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from adacode_cli.images.nearest import nearest
from adacode_cli.restore.inpainting.holes import depth_of
from adacode_cli.restore.inpainting.places import Places

RADIUS = 3  # of a patch, pixels
SIDE = 2 * RADIUS + 1
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))
COMPONENTS = 24  # numbers by which patches are compared
SAMPLE = 1 << 13  # patches that are looked at to find them
AT_ONCE = 1 << 12  # patches that are compared at once: as many as a cache holds
SAME = 3 * SIDE**2  # squared difference of patches that are a level apart: as good as none
LEAST = 1e-4  # weight of a vote
NEARBY = 4  # pixels, of a guess where a beginning is given
FADING = 1.3  # a filling's credibility falls by as much with each pixel from what is known


class Surroundings(Places):
    """What a hole may be filled from: (3, h, w) in [0, 1], and the hole (h, w).

    Its places are where a patch meets the hole. unknown: the hole, and what else patches may not
    come from.
    """

    def __init__(
        self, rgb: Tensor, mask: Tensor, unknown: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__(widened(mask))
        self.rgb, self.mask, self.generator = rgb, mask, generator
        inside = torch.zeros_like(mask)
        inside[RADIUS : self.height - RADIUS, RADIUS : self.width - RADIUS] = True
        self.usable = (inside & ~widened(unknown)).flatten()
        self.sources = self.usable.nonzero()[:, 0]

    @cached_property
    def credibility(self) -> Tensor:
        """How far each place's patch can be trusted, by its distance from what is known: (N,)."""
        depth = torch.from_numpy(depth_of(self.mask.numpy())).flatten()
        return FADING ** -depth[self.pixels].clamp(max=100)

    def anywhere(self, count: int) -> Tensor:
        """Random sources, (count,)."""
        drawn = torch.randint(len(self.sources), (count,), generator=self.generator)
        return self.sources[drawn]

    def completed(self, field: Tensor) -> Tensor:
        """A field (N,) whose unusable places are replaced by the nearest usable ones.

        A place by lot would be a speck. Where a place has none, -1, it goes on as at the nearest
        one that has. A patch at the border of the picture isn't whole; one a few pixels further in
        is.
        """
        if ((field >= 0) & self.usable[field.clamp(min=0)]).all():
            return field
        usable, found = self.square(self.usable), torch.zeros_like(self.usable)
        found[self.pixels[field >= 0]] = True
        if not found.any():
            return nearest_to(usable, self.pixels)
        by = nearest_to(self.square(found), self.pixels)
        places = zip(*(self.at(n) for n in (field[self.number[by]], self.pixels, by)), strict=True)
        y, x = (theirs + here - there for theirs, here, there in places)
        return nearest_to(usable, self.nearest_pixel(y, x))

    def square(self, places: Tensor) -> Tensor:
        """(h·w,) → (h, w)."""
        return places.reshape(self.height, self.width)

    def moved(self, pixels: Tensor, down: Tensor | int, across: Tensor | int) -> Tensor:
        """Pixels moved by so much; -1 where that is no source."""
        y, x = self.at(pixels)
        found, within = self.pixel(y + down, x + across)
        return torch.where(within & self.usable[found], found, -1)


def synthesise(around: Surroundings, start: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
    """The picture with its hole filled by patches that fit ``start``, and where they lie.

    start: (3, h, w), with some filling. field: for each of ``around.pixels``, the pixel at the
    centre of what it looks like, to begin with.
    """
    field, apart = alike(around, start, field, 1, NEARBY)
    return agree(around, field, around.credibility * likeness(apart)), field


def alike(
    around: Surroundings, drawn: Tensor, field: Tensor | None, passes: int, farthest: int
) -> tuple[Tensor, Tensor]:
    """Where what looks like ``drawn`` (3, h, w) around each place lies, and how far apart.

    field: where to begin, (N,); anywhere if None. farthest: pixels, of a guess. (N,) both.
    """
    shorter = Shorter(around)
    known, wanted = shorter(around.rgb), shorter(drawn)[around.pixels]  # (h·w, D), (N, D)
    field = around.anywhere(len(around.pixels)) if field is None else field
    apart = distances(wanted, known, field)
    for _ in range(passes):
        field, apart = look(around, wanted, known, field, apart, farthest)
    return field, apart


class Shorter:
    """Patches in fewer numbers, whose distances are nearly those of the patches.

    The principal components of a picture's patches: most of what tells two of them apart is in
    the first few (Jolliffe, 2002, chapter 2).
    """

    def __init__(self, around: Surroundings) -> None:
        seen = patches(around.rgb, around.anywhere(SAMPLE))  # (n, 147)
        centred = seen - seen.mean(dim=0)
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # from the least on
        self.kernels = vectors[:, -COMPONENTS:].T.reshape(-1, 3, SIDE, SIDE)

    def __call__(self, rgb: Tensor) -> Tensor:
        """The patch around each pixel of (3, h, w): (h·w, D)."""
        return F.conv2d(framed(rgb), self.kernels)[0].flatten(1).T.contiguous()


def patches(rgb: Tensor, at: Tensor) -> Tensor:
    """The patches around some pixels (N,) of (3, h, w): (N, 3·7·7), in levels."""
    windows = framed(rgb)[0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (3, h, w, 7, 7)
    width = rgb.shape[2]
    windows = windows[:, torch.div(at, width, rounding_mode="floor"), at % width]
    return windows.transpose(0, 1).flatten(1)


def framed(rgb: Tensor) -> Tensor:
    """In levels around middle gray, with what patches at the border see: (1, 3, h + 6, w + 6)."""
    return F.pad(255 * (rgb[None].clamp(0, 1) - 0.5), (RADIUS,) * 4, mode="replicate")


def distances(wanted: Tensor, known: Tensor, field: Tensor) -> Tensor:
    """Squared difference of patches (N, D) and those at ``field``: (N,) in levels²."""
    parts = []
    for part, places in zip(torch.split(wanted, AT_ONCE), torch.split(field, AT_ONCE), strict=True):
        apart = known.index_select(0, places.clamp(min=0)).sub_(part)
        parts.append(apart.square_().sum(1))
    return torch.where(field < 0, torch.inf, torch.cat(parts))


def look(
    around: Surroundings,
    wanted: Tensor,
    known: Tensor,
    field: Tensor,
    apart: Tensor,
    farthest: int,
) -> tuple[Tensor, Tensor]:
    """One pass: what neighbours found, then guesses ever nearer to what was found."""
    for step in (8, 1):
        for dy, dx in NEIGHBOURS:
            seen = around.neighbours(step * dy, step * dx)
            theirs = around.moved(field[seen.clamp(min=0)], -step * dy, -step * dx)
            field, apart = better(wanted, known, field, apart, torch.where(seen < 0, -1, theirs))
    reach = farthest
    while reach >= 1:
        shape = (2, len(field))
        offset = torch.randint(-reach, reach + 1, shape, generator=around.generator)
        field, apart = better(wanted, known, field, apart, around.moved(field, *offset))
        reach //= 2
    return field, apart


def better(
    wanted: Tensor, known: Tensor, field: Tensor, apart: Tensor, proposed: Tensor
) -> tuple[Tensor, Tensor]:
    """The field with those proposals that fit better than what it had."""
    theirs = distances(wanted, known, proposed)
    wins = theirs < apart
    return torch.where(wins, proposed, field), torch.where(wins, theirs, apart)


def likeness(apart: Tensor) -> Tensor:
    """A vote's weight by how well its patch fits: (N,)."""
    spread = apart.quantile(0.75) if len(apart) < 1 << 24 else apart.median()
    # However bad they all are, those over a pixel have to settle on something.
    return (-apart / (2 * spread.clamp(min=SAME))).exp().clamp(min=LEAST)


def agree(around: Surroundings, field: Tensor, weight: Tensor) -> Tensor:
    """Each pixel of the hole as the patches over it say, by their weights: (3, h, w)."""
    pixels = around.rgb.flatten(1).T.contiguous()  # (h·w, 3)
    hole = around.mask.flatten().nonzero()[:, 0]
    y, x = around.at(hole)
    total, weights = torch.zeros(len(hole), 3), torch.full((len(hole), 1), 1e-20)
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in range(-RADIUS, RADIUS + 1):
            pixel, within = around.pixel(y - dy, x - dx)
            centre = around.number[pixel]
            says = torch.where(within, weight[centre], 0.0)[:, None]
            found = torch.where(within, field[centre] + dy * around.width + dx, 0)
            total.addcmul_(says, pixels.index_select(0, found))
            weights += says
    pixels[hole] = total / weights
    return pixels.T.reshape(around.rgb.shape)


def nearest_to(places: Tensor, at: Tensor) -> Tensor:
    """Of some places (h, w), one at least, the one nearest to each of some pixels (n,): (n,)."""
    labels, number = nearest(places.numpy())
    return torch.from_numpy(number[labels.ravel()[at.numpy()]])


def widened(mask: Tensor, by: int = RADIUS) -> Tensor:
    """Every pixel whose patch meets the hole; or the hole and so many pixels around it."""
    square = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * by + 1,) * 2)
    return torch.from_numpy(cv2.dilate(mask.to(torch.uint8).numpy(), square) > 0)


def enlarged(field: Tensor, coarse: Surroundings, fine: Surroundings) -> Tensor:
    """The field of half the size as a beginning at the full one: (N,)."""
    y, x = fine.at(fine.pixels)
    number = coarse.number[coarse.nearest_pixel(y // 2, x // 2)]
    theirs = torch.where(number < 0, -1, field[number])
    v, u = coarse.at(theirs)
    found, within = fine.pixel(2 * v + y % 2, 2 * u + x % 2)
    return torch.where(within & (theirs >= 0), found, -1)
