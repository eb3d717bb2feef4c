"""The smooth filling that inpainting starts from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from adacode_cli.evaluation.protocol import Protocol
from adacode_cli.evaluation.score import opencv_fill, psnr_within
from adacode_cli.model.fill import fill_holes, neighbours
from adacode_cli.training.damage import to_tensor
from adacode_cli.training.dataset import load_photo

PHOTO = Path(__file__).parents[1] / "docs" / "photos" / "perched-osprey.jpg"


def hole(size: tuple[int, int], top: int, left: int, side: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[..., top : top + side, left : left + side] = 1
    return mask


def test_known_pixels_stay_bit_for_bit() -> None:
    rgb, mask = torch.rand(2, 3, 53, 71), hole((53, 71), 9, 20, 25).repeat(2, 1, 1, 1)
    known = (mask == 0).expand_as(rgb)
    assert torch.equal(fill_holes(rgb, mask)[known], rgb[known])


def test_a_slope_goes_on() -> None:
    down, right = torch.meshgrid(
        torch.linspace(0, 0.6, 64), torch.linspace(0, 0.4, 80), indexing="ij"
    )
    rgb, mask = (down + right).expand(1, 3, -1, -1), hole((64, 80), 20, 24, 20)
    assert (fill_holes(rgb, mask) - rgb).abs().max() < 0.01


def test_each_pixel_is_nearly_the_mean_of_its_neighbours() -> None:
    torch.manual_seed(0)
    noisy, mask = torch.rand(1, 3, 96, 96), hole((96, 96), 24, 24, 48)
    filled, inside = fill_holes(noisy, mask), mask.expand_as(noisy) > 0
    assert (neighbours(filled) - filled)[inside].abs().mean() < 0.005


def test_what_lies_in_a_hole_has_no_say() -> None:
    mask = hole((40, 40), 8, 8, 20)
    rgb = torch.rand(1, 3, 40, 40)
    other = torch.where(mask > 0, torch.rand_like(rgb), rgb)
    assert torch.equal(fill_holes(rgb, mask), fill_holes(other, mask))


def test_without_a_known_pixel_all_is_gray() -> None:
    filled = fill_holes(torch.rand(1, 3, 24, 40), torch.ones(1, 1, 24, 40))
    assert torch.allclose(filled, torch.full_like(filled, 0.5), atol=1e-6)


@pytest.mark.parametrize("number", range(4))
def test_it_guesses_better_than_telea(number: int) -> None:
    case = Protocol("inpaint", 1, "strokes").prepare(load_photo(PHOTO), number)
    assert case.hole is not None
    mask = torch.from_numpy((case.hole > 0).astype(np.float32))[None, None]
    ours = fill_holes(to_tensor(case.damaged)[None], mask)[0]
    theirs = opencv_fill(case, cv2.INPAINT_TELEA)
    clean = to_tensor(case.clean)
    assert psnr_within(ours, clean, case.hole) > psnr_within(theirs, clean, case.hole)
