"""A hole becomes a montage of shifted pictures, chosen so that seams don't show."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from adacode_cli.restore.inpainting.montage import (
    FEW,
    IMPOSSIBLE,
    SHIFTS,
    Level,
    Montage,
    cheapest,
    chosen,
    finds_of,
    handed_on,
    places_of,
    propagated,
    shifts_of,
)
from adacode_cli.restore.inpainting.patch_match import Surroundings
from adacode_cli.restore.inpainting.places import Places
from tests.conftest import make_photo


def stripes(height: int, width: int, period: int) -> Tensor:
    """Columns that come again: (3, h, w)."""
    column = np.random.default_rng(5).random((3, 1, period), np.float32)
    return torch.from_numpy(np.tile(column, (1, height, -(-width // period)))[:, :, :width].copy())


def a_level(rgb: Tensor, rows: slice, columns: slice) -> Level:
    """``rgb`` with a hole, drawn as its mean."""
    mask = torch.zeros(rgb.shape[1:], dtype=torch.bool)
    mask[rows, columns] = True
    drawn = torch.where(mask, rgb.mean(dim=(1, 2), keepdim=True), rgb)
    return Level(torch.where(mask, 0.0, rgb), mask, drawn, mask)


def shown(level: Level, field: Tensor) -> Tensor:
    """What a field (h·w,) shows in the hole: (3, n)."""
    inside = level.mask.flatten()
    return level.rgb.flatten(1)[:, field[inside]]


def test_beliefs_tell_the_cheapest_of_all_choices_along_a_line() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(5, 3, generator=generator)
    seams = torch.rand(4, 3, 3, generator=generator)
    edges = [(torch.arange(4), torch.arange(1, 5))]
    belief = propagated(own, edges, [seams], rounds=60)

    def cost(labels: tuple[int, ...]) -> float:
        alone = sum(float(own[n, label]) for n, label in enumerate(labels))
        pairs = itertools.pairwise(labels)
        return alone + sum(float(seams[n, a, b]) for n, (a, b) in enumerate(pairs))

    best = min(itertools.product(range(3), repeat=5), key=cost)
    assert tuple(belief.argmin(dim=1).tolist()) == best
    # And how much dearer every other label is, with all the others at their best.
    for number, label in itertools.product(range(5), range(3)):
        all_with = (x for x in itertools.product(range(3), repeat=5) if x[number] == label)
        dearer = min(cost(x) for x in all_with) - cost(best)
        got = float(belief[number, label] - belief[number].min())
        assert abs(got - dearer) < 1e-4


def test_a_seam_costs_nothing_between_the_same_shifts_and_what_is_seen_else() -> None:
    level = a_level(stripes(40, 80, 10), slice(10, 30), slice(30, 50))
    montage = Montage(level, torch.tensor([[0, 20], [0, 25], [0, 300]]))
    choice = torch.arange(3).expand(len(montage), -1)
    across, down = (montage.seams(first, second, choice) for first, second in montage.edges)
    assert across.shape[1:] == down.shape[1:] == (3, 3)
    _, known = montage.seen(torch.arange(len(montage)), choice)
    first, second = montage.edges[0]
    both = known[first, :2].all(dim=1) & known[second, :2].all(dim=1)
    assert both.sum() > 100
    assert across[both, 0, 0].max() < 1e-5  # float32
    assert across[both, 0, 1].min() > 0.01
    assert across[:, 2].min() >= 0.5  # outside of the picture
    own = montage.costs(choice)
    assert (own[:, 2] == IMPOSSIBLE).all()
    assert (own[:, 0] < IMPOSSIBLE).any()


def test_stripes_go_on_through_a_hole_that_a_clueless_network_drew() -> None:
    rgb = stripes(60, 120, 9)
    level = a_level(rgb, slice(15, 45), slice(45, 75))
    shifts = torch.tensor([[0, 31], [3, 36], [5, 40], [0, -20]])
    field = chosen([level, level.halved()], shifts)
    inside = level.mask.flatten()
    assert (field[inside] >= 0).all()
    assert not level.unknown.flatten()[field[inside]].any()
    assert torch.equal(shown(level, field), rgb.flatten(1)[:, inside])


def test_shifts_are_found_in_what_the_drawing_looks_like() -> None:
    rgb = stripes(60, 120, 24)
    level = a_level(rgb, slice(20, 40), slice(50, 70))
    hinted = level._replace(drawn=rgb)  # a network that knows
    around = Surroundings(level.rgb, level.mask, level.unknown, torch.Generator().manual_seed(0))
    shifts = shifts_of(around, finds_of(hinted, around))
    assert set(shifts[:4, 1].abs().tolist()) <= {24, 48, 72}
    assert (shifts != 0).any(dim=1).all()


def test_the_finer_picture_chooses_among_what_is_best_around() -> None:
    level = a_level(stripes(40, 40, 8), slice(10, 30), slice(10, 30))
    shifts = torch.tensor([[0, 16], [0, -16]])
    fine, coarse = Montage(level, shifts), Montage(level.halved(), shifts // 2)
    best = torch.arange(len(coarse))[:, None] % 2  # one label each
    handed = handed_on(best, coarse, fine)
    assert handed.shape == (len(fine), 5)
    for number in range(0, len(fine), 37):
        y, x = int(fine.y[number]) // 2, int(fine.x[number]) // 2
        assert handed[number, 0] == best[coarse.number[y * coarse.width + x], 0]


def test_no_shift_is_handed_on_twice() -> None:
    choice = torch.tensor([[4, 7, 4, 2, 7], [3, 3, 3, 3, 3]])
    cost = torch.tensor([[0.5, 0.3, 0.2, 0.9, 0.7], [0.1, 0.1, 0.1, 0.1, 0.1]])
    best, dearer = cheapest(choice, cost)
    assert best[0, :3].tolist() == [4, 7, 2]
    torch.testing.assert_close(dearer[0, :3], torch.tensor([0.0, 0.1, 0.7]))
    assert best[1, 0] == 3
    assert dearer[0, 3:].min() > IMPOSSIBLE / 2
    assert dearer[1, 1:].min() > IMPOSSIBLE / 2


def test_half_a_hole_is_a_hole_and_no_source() -> None:
    photo = torch.from_numpy(np.array(make_photo(41, 33))).permute(2, 0, 1) / 255
    level = a_level(photo, slice(9, 20), slice(11, 24))
    halved = level.halved()
    assert halved.mask.shape == tuple(-(-n // 2) for n in level.mask.shape)
    for y, x in halved.mask.logical_not().nonzero().tolist():
        assert not level.mask[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].any()
    assert torch.equal(halved.mask, halved.unknown)
    assert places_of(halved).sum() > halved.mask.sum()


def test_a_picture_that_knows_too_little_does_not_choose() -> None:
    rgb = stripes(64, 128, 8)
    mask = torch.zeros(64, 128, dtype=torch.bool)
    mask[20:44, 40:70] = True
    level = Level(torch.where(mask, 0.0, rgb), mask, rgb, mask)
    blind = level.halved()._replace(unknown=torch.ones(32, 64, dtype=torch.bool))
    shifts = torch.tensor([[0, 32], [0, 37], [5, 40]])
    field = chosen([level, blind], shifts)
    assert torch.equal(field, chosen([level], shifts))
    assert torch.equal(shown(level, field), rgb.flatten(1)[:, mask.flatten()])


def test_fewer_shifts_are_tried_where_there_are_many_places() -> None:
    shifts = torch.arange(200).view(100, 2)
    few = Montage(a_level(stripes(40, 40, 8), slice(10, 20), slice(10, 20)), shifts)
    many = Montage(a_level(stripes(200, 300, 8), slice(20, 180), slice(20, 220)), shifts)
    assert few.all_choices().shape == (len(few), SHIFTS)
    assert many.all_choices().shape[1] ** 2 * len(many) <= SHIFTS**2 * FEW


def test_places_know_their_neighbours_and_the_borders() -> None:
    marked = torch.tensor([[1, 0, 1], [1, 1, 0]]) > 0
    places = Places(marked)
    assert places.pixels.tolist() == [0, 2, 3, 4]
    assert places.number.tolist() == [0, -1, 1, 2, 3, -1]
    # To the right of 2 comes the next row's 3, which is no neighbour.
    assert places.neighbours(0, 1).tolist() == [-1, -1, 3, -1]
    assert places.neighbours(1, 0).tolist() == [2, -1, -1, -1]
    assert places.neighbours(-1, -1).tolist() == [-1, -1, -1, 0]
    beyond = torch.tensor([-1, 2, 1]), torch.tensor([0, 3, 1])
    assert places.pixel(*beyond)[1].tolist() == [False, False, True]
    assert places.nearest_pixel(*beyond).tolist() == [0, 5, 4]
