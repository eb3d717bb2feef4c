"""Holes to learn on: never nothing, never all, and in a patch as large as in a photo."""

from __future__ import annotations

import numpy as np

from adacode_cli.training.holes import COVERED, draw_holes, draw_part

SIZE = (128, 128)


def test_a_part_is_neither_empty_nor_everything() -> None:
    for seed in range(100):
        covered = np.mean(draw_part(SIZE, np.random.default_rng(seed)) > 0)
        assert COVERED[0] / 4 <= covered <= COVERED[1], seed


def test_a_part_is_decided_by_its_seed_alone() -> None:
    ours, theirs = (draw_part(SIZE, np.random.default_rng(7)) for _ in range(2))
    assert ours.shape == SIZE
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, draw_part(SIZE, np.random.default_rng(8)))


def test_holes_of_a_part_reach_its_border_more_often() -> None:
    def reach(mask: np.ndarray) -> bool:
        return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())

    rngs = [np.random.default_rng(seed) for seed in range(100)]
    parts = sum(reach(draw_part(SIZE, rng)) for rng in rngs)
    wholes = sum(reach(draw_holes(SIZE, rng)[0]) for rng in rngs)
    assert parts > 1.2 * wholes
