"""Every loss against a value computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adacode_cli.model.codebook import Quantised
from adacode_cli.training import losses
from adacode_cli.training.discriminator import PatchDiscriminator, UNetDiscriminator, shifted
from adacode_cli.training.names import LOSSES
from adacode_cli.training.perceptual import content_distance, feature_distance, load_network
from adacode_cli.training.squeezenet import SqueezeFeatures
from adacode_cli.training.vgg import VggFeatures
from tests.conftest import shared, tiny_model


def quantised(before: list[float], codes: list[float]) -> Quantised:
    """One position with two dimensions."""
    shape = (1, 2, 1, 1)
    a, b = (torch.tensor(values).view(shape) for values in (before, codes))
    return Quantised(a, b, b, torch.zeros(1, 1, 1, dtype=torch.long))


def pixels(*values: float) -> Tensor:
    """(1, 1, 1, n)."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def test_pictures_by_hand() -> None:
    assert losses.reconstruction(pixels(1, 2), pixels(0, 5)).item() == 2  # (1 + 3) / 2
    assert losses.generator(pixels(3, -1)).item() == -1
    # ½ (0 + 0.5)/2 for what is real, ½ (0 + 3)/2 for what isn't
    judged = losses.discriminator(pixels(2, 0.5), pixels(-1, 2))
    assert judged.item() == pytest.approx(0.5 * 0.25 + 0.5 * 1.5)


def test_the_psnr_of_holes_is_that_of_each_image() -> None:
    clean, image = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    image[0, :, :2], image[1, :, 0] = 0.1, 0.01  # 20 dB in a half, 40 dB in a quarter
    told = losses.psnr(image, clean, torch.tensor([0.5, 0.25]))
    assert told.item() == pytest.approx(-(20 + 37) / 2, abs=0.1)  # more than 40 is no better
    assert losses.psnr(clean, clean).item() == pytest.approx(-40)


def test_coarse_minds_tones_and_not_texture() -> None:
    clean = torch.full((1, 3, 32, 32), 0.5)
    texture, tone = clean.clone(), clean + 0.1
    texture[..., ::2] += 0.1
    texture[..., 1::2] -= 0.1
    assert losses.coarse(texture, clean).item() == pytest.approx(-40)
    assert losses.coarse(tone, clean).item() == pytest.approx(-20, abs=0.1)


def test_fine_minds_texture_and_not_tones() -> None:
    clean = torch.full((1, 3, 32, 32), 0.5)
    texture, tone = clean.clone(), clean + 0.1
    texture[..., ::2] += 0.1
    texture[..., 1::2] -= 0.1
    assert losses.fine(texture, clean).item() == pytest.approx(0.1, rel=0.02)
    assert losses.fine(tone, clean).item() == pytest.approx(0, abs=1e-6)


def test_a_pattern_of_four_pixels_is_uneven() -> None:
    torch.manual_seed(0)
    noise = torch.rand(4, 3, 64, 64)
    marks = noise.clone()
    marks[..., 1::4, 2::4] += 0.5
    thirds = noise.clone()
    thirds[..., 1::3, 2::3] += 0.5
    even, uneven, other = (losses.evenness(x).item() for x in (noise, marks, thirds))
    assert even < 0.15
    assert other < 0.3
    assert uneven > 1
    # One place of 16 holds everything: a power of 16 and fifteen of 0 have a spread of √15, and
    # so do the means, in units of the detail's own spread, but for what the blur takes.
    marks = torch.zeros(1, 3, 64, 64)
    marks[..., ::4, ::4] = 1
    assert losses.evenness(marks).item() == pytest.approx(15**0.5 + 1, rel=0.1)
    assert losses.evenness(torch.full((1, 3, 16, 16), 0.5)).isfinite()


def test_combs_that_cancel_are_combs() -> None:
    image = torch.full((1, 3, 96, 192), 0.5)
    smooth = losses.comb(image).item()
    image[..., 1::4] += 0.1
    everywhere = losses.comb(image).item()
    image[..., 96:] = 1 - image[..., 96:]  # in one half brighter, in the other darker
    assert losses.comb(image).item() > 0.8 * everywhere
    even = losses.evenness(image).item()  # its means cancel, and powers are only half of it
    assert even < 0.6 * losses.evenness(image[..., :96]).item()
    thirds = torch.full((1, 3, 96, 192), 0.5)
    thirds[..., 1::3] += 0.1
    assert everywhere > 0.02
    assert losses.comb(thirds).item() < 0.3 * everywhere
    assert smooth == pytest.approx(0.001, abs=1e-4)  # no slope to divide by at 0
    assert losses.comb(torch.rand(1, 3, 12, 8)).isfinite()


def test_codes_by_hand() -> None:
    one, two = quantised([1.0, 0], [0.0, 1]), quantised([0.0, 0], [0.0, 3])
    assert losses.commitment([one, two]).item() == 5.5  # ((1 + 1) + 9) / 2
    assert losses.codebook([one, two]).item() == 5.5
    assert losses.code([one], [two]).item() == 10  # 1 + (0 - 3)²
    # Gram matrices [[1, 0], [0, 0]] and [[0, 0], [0, 9]]: (1 + 81) / 4
    assert losses.code_style([one], [two]).item() == 20.5


def test_each_code_loss_moves_its_own_side() -> None:
    before, codes = (torch.randn(1, 2, 3, 3, requires_grad=True) for _ in range(2))
    q = Quantised(before, codes, codes, torch.zeros(1, 3, 3, dtype=torch.long))
    torch.autograd.backward(losses.codebook([q]))
    assert before.grad is None
    assert codes.grad is not None
    codes.grad = None
    torch.autograd.backward(losses.commitment([q]))
    assert codes.grad is None
    assert before.grad is not None


def test_features_by_hand() -> None:
    a, b = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.tensor([0.0, 5.0]).view(1, 2, 1, 1)
    assert losses.feature(a, b).item() == 5  # (1 + 9) / 2
    assert losses.semantic(a, b).item() == 5
    assert losses.gram(a)[0].tolist() == [[1, 2], [2, 4]]
    # [[1, 2], [2, 4]] - [[0, 0], [0, 25]]: (1 + 4 + 4 + 441) / 4
    assert losses.style(a, b).item() == 112.5


def test_the_contrast_by_hand() -> None:
    z = torch.eye(2).view(2, 2, 1, 1)  # two images, as unlike as can be
    same = -math.log(math.exp(2) / (math.exp(2) + 1))  # s = 1 and 0, over τ = 0.5
    assert losses.contrast(z, z).item() == pytest.approx(same)
    assert losses.contrast(z, z.flip(0)).item() == pytest.approx(same + 2)


class Eye:
    """Sees pixels alone."""

    def __call__(self, image: Tensor, clean: Tensor) -> Tensor:
        return (image - clean).square().mean()

    def content(self, image: Tensor, clean: Tensor) -> Tensor:
        return (image - clean).abs().mean()


def test_every_loss_of_the_stages_can_be_computed() -> None:
    model = tiny_model().train()
    restored = model(torch.rand(2, 3, 8, 8))
    clean = torch.rand(2, 3, 32, 32)
    guide = losses.Guide(restored.features.z, restored.quantised, restored.merged)
    c = losses.Compared(
        restored,
        clean,
        guide,
        perceptual=Eye(),  # type: ignore[arg-type]
        judge=lambda image: -image.mean(),
        meaning=lambda merged, _: merged.mean(),
    )
    terms = losses.terms(LOSSES, c)
    assert list(terms) == list(LOSSES)
    assert all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())


def an_edge_between_flat_halves() -> Tensor:
    """(1, 3, 32, 64): slopes of three levels a pixel, a step of some 60 in the middle."""
    levels = 3 * (torch.arange(64) % 32)
    levels[32:] += 150
    return (levels / 255).expand(1, 3, 32, 64)


def test_slopes_are_flat_and_edges_are_not() -> None:
    there = losses.structure(an_edge_between_flat_halves(), flat=8)
    assert there.shape == (1, 1, 32, 64)
    assert there[..., 30:34].min() > 0.9
    assert there[..., :16].max() == there[..., 48:].max() == 0
    assert losses.structure(an_edge_between_flat_halves(), flat=3.1)[..., :16].max() == 0
    assert losses.structure(an_edge_between_flat_halves(), flat=2.9)[..., :16].min() > 0


def test_where_it_is_flat_only_l1_looks() -> None:
    restored, clean = tiny_model()(torch.rand(1, 3, 8, 16)), an_edge_between_flat_halves()
    restored.image.retain_grad()
    eye: Any = Eye()
    sighted = losses.Compared(restored, clean, perceptual=eye, judge=lambda x: x.mean(), flat=8)
    for name in ("perceptual", "content", "adversarial", "reconstruction"):
        restored.image.grad = None
        torch.autograd.backward(losses.terms([name], sighted)[name], retain_graph=True)
        assert restored.image.grad is not None
        slopes = restored.image.grad.abs()
        assert slopes[..., 30:34].min() > 0
        assert (slopes[..., :16].max() > 0) == (name == "reconstruction")
    assert losses.Compared(restored, clean).judged is restored.image


def test_known_pixels_are_not_trained_on() -> None:
    restored, clean = tiny_model()(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)
    hole = torch.zeros(1, 1, 32, 32)
    hole[..., :8] = 1
    c = losses.Compared(restored, clean, hole=hole)
    expected = (restored.image - clean)[..., :8].abs().mean()
    found = losses.terms(["reconstruction"], c)["reconstruction"]
    assert found.item() == pytest.approx(expected.item())
    for name in ("fine", "comb"):
        restored, clean = tiny_model()(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)
        restored.image.retain_grad()
        c = losses.Compared(restored, clean, hole=hole)
        torch.autograd.backward(losses.terms([name], c)[name])
        assert restored.image.grad is not None
        assert restored.image.grad[..., :8].abs().min() > 0
        assert restored.image.grad[..., 8:].abs().max() == 0


def test_the_discriminator_judges_every_pixel() -> None:
    judged = UNetDiscriminator(width=8)(torch.rand(2, 3, 48, 32))
    assert judged.shape == (2, 1, 48, 32)


def test_a_discriminator_sees_every_alignment_and_whole_pixels() -> None:
    torch.manual_seed(0)
    image = torch.arange(48.0 * 32).view(1, 1, 48, 32).expand(2, 3, 48, 32)
    corners = set()
    for _ in range(2000):
        part = shifted(image)
        assert part.shape == (2, 3, 40, 24)
        first = int(part[0, 0, 0, 0])
        assert torch.equal(part, image[..., first // 32 :, first % 32 :][..., :40, :24])
        corners.add(divmod(first, 32))
    assert corners == {(top, left) for top in range(9) for left in range(9)}


def test_a_discriminator_of_patches_soon_sees_a_faint_hatch() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(width=8)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    hatch = 0.02 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(24, 16)
    for _ in range(60):
        clean = 0.5 + 0.05 * torch.randn(4, 3, 48, 32)
        assert network(clean).shape == (4, 1, 12, 8)
        real, fake = network(torch.cat([clean, clean + hatch])).chunk(2)
        optimiser.zero_grad()
        torch.autograd.backward(losses.discriminator(real, fake))
        optimiser.step()
    assert real.mean() > fake.mean() + 0.5
    assert losses.discriminator(real, fake) < 0.8


@pytest.mark.parametrize("kind", ["squeeze", "vgg"])
def test_a_perceptual_network_comes_from_a_file(
    kind: str, squeeze_file: Path, vgg_file: Path
) -> None:
    path = squeeze_file if kind == "squeeze" else vgg_file
    network = load_network(str(path))
    assert isinstance(network, SqueezeFeatures if kind == "squeeze" else VggFeatures)
    clean = torch.rand(1, 3, 64, 64)
    near = (clean + 0.02).requires_grad_()
    assert network.loss(clean, clean).item() == pytest.approx(0, abs=1e-5)
    assert network.content(clean, clean).item() == pytest.approx(0, abs=1e-5)
    for distance in (network.loss, network.content):
        near.grad = None
        torch.autograd.backward(distance(near, clean).sum())
        assert near.grad is not None
        assert near.grad.abs().sum() > 0
    assert network.meaning(clean).shape[1] == network.channels


def test_content_is_as_loud_as_what_is_seen() -> None:
    """Unit features ask for a faint grain as for an edge; features as they are don't."""
    edge, grain = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    edge[..., 4:], grain[..., :4] = 1.0, 0.01
    clean, ours = [edge + grain], ([grain], [edge])
    for_edge, for_grain = (content_distance([missing], clean) for (missing,) in ours)
    assert for_edge > 50 * for_grain
    as_units = [feature_distance([missing], clean) for (missing,) in ours]
    assert as_units[0].item() == pytest.approx(as_units[1].item())
    half = content_distance([edge, edge], [edge, 2 * edge])
    assert half.item() == pytest.approx(0.5 * 0.5)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="not a readable"):
        load_network(str(tmp_path / "x.safetensors"))


def test_the_perceptual_loss_is_small_for_small_damage() -> None:
    path = shared("perceptual") / "squeezenet1_1.safetensors"
    loss = losses.Perceptual(SqueezeFeatures(path))
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    near = clean + 0.01
    assert loss(clean, clean).item() == pytest.approx(0, abs=1e-6)
    assert 0 < loss(near, clean) < loss(clean.flip(3), clean)
