"""Tiles cover the image, agree where they meet, and leave no seam."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adacode_cli.restore import restorer as restoring
from adacode_cli.restore.restorer import Restorer, pad
from adacode_cli.restore.tiling import restore_tiled, split
from tests.conftest import tiny_model


def repeat(image: Tensor) -> Tensor:
    """The simplest enlargement."""
    return image.repeat_interleave(4, -1).repeat_interleave(4, -2)


@pytest.mark.parametrize("size", [(40, 40), (41, 97), (1, 200), (300, 16), (63, 65)])
def test_blending_what_agrees_changes_nothing(size: tuple[int, int]) -> None:
    image = torch.rand(3, *size)
    heard: list[tuple[int, int]] = []
    blended = restore_tiled(image, repeat, 4, 40, 8, on_tile=lambda *done: heard.append(done))
    assert torch.allclose(blended, repeat(image), atol=1e-6)
    count = len(split(*size, 40, 8))
    assert heard == [(i + 1, count) for i in range(count)]


def test_every_tile_starts_on_the_codes_grid() -> None:
    tiles = split(301, 203, 50, 9, multiple=16)
    assert all(t.top % 16 == t.left % 16 == 0 for t in tiles)
    covered = torch.zeros(301, 203)
    for t in tiles:
        covered[t.top : t.top + t.height, t.left : t.left + t.width] += 1
    assert covered.min() >= 1


def test_tiles_must_be_larger_than_their_overlap() -> None:
    with pytest.raises(ValueError, match="can't overlap"):
        split(100, 100, 16, 16)


def test_a_tiled_restoration_is_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    restorer = Restorer(model, torch.device("cpu"), torch.float32)
    image = torch.rand(3, 90, 150)
    whole = restorer(image)
    monkeypatch.setattr(restoring, "WHOLE", 64)
    monkeypatch.setattr(restoring, "TILE", 256)
    tiled = restorer(image)
    assert whole.shape == tiled.shape == (3, 360, 600)
    # Tiles are blended, not exact: a level or so here and there.
    assert (whole - tiled).abs().max() < 2 / 255
    assert (whole - tiled).abs().mean() < 0.05 / 255


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 16), (33, 31)])
def test_any_size_is_restored(size: tuple[int, int]) -> None:
    restorer = Restorer(tiny_model(), torch.device("cpu"), torch.float32)
    restored = restorer(torch.rand(3, *size))
    assert restored.shape == (3, 4 * size[0], 4 * size[1])
    assert 0 <= restored.min() <= restored.max() <= 1


def test_padding_mirrors_and_can_be_forced() -> None:
    image = torch.arange(6.0).view(1, 1, 1, 6)
    assert pad(image, 4, always=False)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 5, 4]
    assert pad(image, 6, always=False).shape == (1, 1, 6, 6)
    assert pad(image, 6, always=True).shape == (1, 1, 6, 12)


def test_a_network_that_overflows_gives_an_error_and_no_picture() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.get_parameter("decoder.detail.6.conv.bias").fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="fp32"):
        Restorer(model, torch.device("cpu"), torch.float32)(torch.rand(3, 8, 8))
