"""Our network is the published function: the same picture, weights and codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import AdaCodeConfig, CodebookConfig, official_config
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import Tiling
from adacode_cli.weights.catalogue import load_model
from tests.conftest import shared
from tests.published_layout import filled_state, layout

VARIANTS = {
    "sr_x4": official_config("sr", 4),
    "sr_x2": official_config("sr", 2),
    "restore_x1": official_config("inpaint", 1),
    "reconstruct": official_config("reconstruct", 1),
}
NOT_WEIGHTS = ("relative_position_index", "attn_mask")
SMALL = replace(
    official_config("sr", 4),
    widths=(32, 32, 32, 32),
    codebooks=(CodebookConfig("class_0", 24, 8), CodebookConfig("class_1", 40, 8)),
)


def published_file(config: AdaCodeConfig, path: Path) -> Path:
    """A file as the authors release it, with what training left in it."""
    leftovers = {"contrast_cri.weight": torch.zeros(2), "vgg_feat_extractor.mean": torch.zeros(3)}
    torch.save({"params": {**filled_state(config), **leftovers}}, path)
    return path


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


@torch.no_grad()
def assert_same_codes(model: AdaCode, z: Tensor, ours: Tensor, theirs: Tensor) -> None:
    """Equal indices, or distances that are equal to float32 rounding."""
    for k, book in enumerate(model.codebooks):
        before = book.before(z).permute(0, 2, 3, 1)  # type: ignore[operator]
        differing = ours[:, k] != theirs[:, k]
        for position, a, b in zip(
            before[differing], ours[:, k][differing], theirs[:, k][differing], strict=True
        ):
            distances = (book.codes[[a, b]] - position).norm(dim=1)  # type: ignore[index]
            assert distances[0] == pytest.approx(distances[1], rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_layout_is_the_published_one(variant: str) -> None:
    keys = json.loads((shared("parity") / "keys.json").read_text())[variant]
    expected = {n: tuple(shape) for n, shape in keys.items() if not n.endswith(NOT_WEIGHTS)}
    assert dict(layout(VARIANTS[variant])) == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_published_file_gives_the_published_result(variant: str, tmp_path: Path) -> None:
    reference = load_file(shared("parity") / f"{variant}.safetensors")
    model = load_model(published_file(VARIANTS[variant], tmp_path / "model_g.pth"))
    assert model.config == VARIANTS[variant]
    with torch.no_grad():
        ours = model(reference["aligned_image"])
    assert relative_error(ours.image, reference["aligned_restored"]) < 1e-4
    assert relative_error(ours.weight_map, reference["aligned_weight"]) < 1e-4
    assert relative_error(ours.features.z, reference["aligned_features"]) < 1e-4
    assert_same_codes(model, ours.features.z, ours.indices, reference["aligned_indices"])
    restorer = Restorer(model, torch.device("cpu"), torch.float32, Tiling(as_published=True))
    padded = restorer.restore_whole(reference["image"][0])
    assert relative_error(padded, reference["restored"][0]) < 1e-4


def test_a_small_published_file_gives_the_known_result(tmp_path: Path) -> None:
    reference = load_file(Path(__file__).parent / "data" / "published_small.safetensors")
    model = load_model(published_file(SMALL, tmp_path / "small_g.pth"))
    assert model.config == SMALL
    with torch.no_grad():
        ours = model(reference["image"])
    assert relative_error(ours.image, reference["restored"]) < 1e-4
    assert relative_error(ours.weight_map, reference["weight_map"]) < 1e-4
    assert_same_codes(model, ours.features.z, ours.indices, reference["indices"])
