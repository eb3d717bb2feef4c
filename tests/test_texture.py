"""Deep holes take the texture of what is around them, and nothing from where nothing is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from adacode_cli.cli.eval import evaluate
from adacode_cli.cli.inpaint import inpaint as inpaint_command
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import official_config
from adacode_cli.restore.inpainting import inpaint as filling
from adacode_cli.restore.inpainting import synthesis, texture
from adacode_cli.restore.inpainting.choice import Texture
from adacode_cli.restore.inpainting.holes import Hole, depth_of
from adacode_cli.restore.inpainting.inpaint import (
    Filling,
    Work,
    brightness,
    even_coloured,
    fill,
    inpaint,
)
from adacode_cli.restore.inpainting.montage import FEW, Level
from adacode_cli.restore.inpainting.patch_match import (
    RADIUS,
    Shorter,
    Surroundings,
    agree,
    distances,
    enlarged,
    patches,
    widened,
)
from adacode_cli.restore.inpainting.synthesis import SMALLEST, levels_of, missing
from adacode_cli.restore.inpainting.texture import (
    MIXTURES,
    THIN_SHARE,
    expected_liveliness,
    lacking,
    liveliness,
    share_by_depth,
    share_within,
    textured,
)
from adacode_cli.restore.restorer import Restorer
from tests.conftest import make_photo, tiny_config

SIDE = 200
HOLE = (slice(50, 150), slice(40, 160))
RIM = int(MIXTURES[Texture.some].thin_rim[1])


def tiles() -> Tensor:
    """Twelve by nine pixels, over and over: (3, 200, 200)."""
    tile = np.random.default_rng(3).random((3, 12, 9), np.float32)
    return torch.from_numpy(np.tile(tile, (1, 17, 23))[:, :SIDE, :SIDE].copy())


def a_hole() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[HOLE] = True
    return mask


def flat(rgb: Tensor, mask: np.ndarray) -> Tensor:
    """What a network without a clue draws: the mean."""
    return torch.where(torch.from_numpy(mask), rgb.mean(dim=(1, 2), keepdim=True), rgb)


def well_inside(picture: Tensor) -> Tensor:
    """Where a hole takes as much of patches as it may."""
    return picture[:, HOLE[0], HOLE[1]][:, RIM:-RIM, RIM:-RIM]


def with_mixture(
    monkeypatch: pytest.MonkeyPatch, much: Texture = Texture.all, **other: object
) -> None:
    """Other bounds for what is wide, or how much of it is pieces."""
    monkeypatch.setitem(MIXTURES, much, replace(MIXTURES[much], **other))  # type: ignore[arg-type]


def test_a_pattern_goes_on_in_the_hole() -> None:
    rgb, mask = tiles(), a_hole()
    drawn = flat(rgb, mask)
    made = textured(torch.where(torch.from_numpy(mask), 0.0, rgb), mask, drawn, Texture.all)
    assert torch.equal(made[:, ~mask], drawn[:, ~mask])
    inside = well_inside(made)
    truth = well_inside(rgb)
    assert inside.std() > 0.8 * truth.std()
    assert (inside - truth).abs().mean() < 0.05


def test_a_stroke_takes_pieces_nearly_up_to_its_rim() -> None:
    rgb, mask = tiles(), np.zeros((SIDE, SIDE), bool)
    mask[40:160, 90:106] = True
    drawn = flat(rgb, mask)

    def apart(much: Texture) -> float:
        made = textured(rgb.masked_fill(torch.from_numpy(mask), 0.0), mask, drawn, much)
        wrong = [(x - rgb)[:, 50:150, 92:104].abs().mean() for x in (made, drawn)]
        return (wrong[0] / wrong[1]).item()

    assert apart(Texture.all) < 0.4
    assert apart(Texture.some) > 0.8


def test_patches_take_the_tones_of_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_mixture(monkeypatch, wide=(8, 16), widest=(70, 80))
    rgb, mask = tiles(), a_hole()
    darker = torch.where(torch.from_numpy(mask), rgb.mean() - 0.1, rgb)
    made = textured(torch.where(torch.from_numpy(mask), 0.0, rgb), mask, darker)
    inside = well_inside(made)
    assert inside.mean().item() == pytest.approx(rgb.mean().item() - 0.1, abs=0.03)
    assert inside.std() > 0.6 * rgb.std()


def dull(drawn: Tensor, made: Tensor, around: Tensor, bounds: tuple[float, float]) -> list[Tensor]:
    """Well inside of the hole: where a drawing lacks texture if it is thin, if not; the aliens."""
    mask = torch.from_numpy(a_hole())
    level = Level(torch.where(mask, 0.0, around), mask, drawn, mask)
    return [well_inside(x[None]) for x in lacking(level, made, bounds)]


def fainter(rgb: Tensor, times: float) -> Tensor:
    """The same around the mean with so many times the variance."""
    return rgb.mean() + (rgb - rgb.mean()) * times**0.5


def test_a_drawing_as_lively_as_it_should_be_is_left_alone() -> None:
    rgb = tiles()
    made = rgb.roll((5, 9), (1, 2))
    thin, wide, alien = dull(rgb, made, rgb, (1.5, 3.0))
    assert thin.max() < 0.3
    assert wide.max() == alien.max() == 0
    thin, wide, alien = dull(flat(rgb, a_hole()), made, rgb, (1.5, 3.0))
    assert min(thin.min(), wide.min()) > 0.9
    assert alien.max() == 0
    thin, wide, _ = dull(fainter(rgb, 0.25), made, rgb, (8.0, 16.0))
    assert thin.mean() == pytest.approx(1, abs=0.05)
    assert wide.max() == 0


def test_pieces_that_are_too_lively_are_alien() -> None:
    rgb = tiles()
    calm, drawn = fainter(rgb, 0.02), flat(rgb, a_hole())
    assert dull(drawn, rgb, calm, (1.5, 3.0))[2].min() == 1
    assert dull(drawn, calm, calm, (1.5, 3.0))[2].max() == 0


def test_narrow_places_take_no_aliens(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = torch.from_numpy(a_hole())
    calm = fainter(tiles(), 0.02)
    drawn = flat(calm, a_hole())
    monkeypatch.setattr(texture, "in_tones", lambda *_: torch.where(mask, tiles(), calm))

    def changed() -> float:
        return well_inside(textured(calm, a_hole(), drawn) - drawn).abs().max().item()

    assert changed() > 0.1  # it is wide enough: a drawing there is fog
    with_mixture(monkeypatch, widest=(70, 80))
    assert changed() == 0


def test_a_hole_should_be_as_lively_as_what_is_around_it() -> None:
    rgb, mask = tiles(), torch.from_numpy(a_hole())
    rgb[:, :, 100:] = 0.5 + (rgb[:, :, 100:] - 0.5) / 10  # a hundredth of the variance
    sought = mask.clone()
    sought[:, 60:] = False  # what isn't sought is unknown all the same
    expected = expected_liveliness(Level(rgb.masked_fill(mask, 0.0), sought, rgb, mask))
    truth = liveliness(rgb, torch.ones_like(mask))
    for row, beside, inside in ((100, 30, 42), (100, 170, 157), (40, 70, 70), (165, 130, 130)):
        assert 0.5 < expected[row, inside] / truth[row, beside] < 2
    across = expected[100, 40:160].log()
    assert (across.diff() < 0.05).all()  # from the one to the other, without a bump


def sky_in_a_pattern(contrast: float) -> Tensor:
    """A hole's surroundings, even but for some noise, framed by a pattern: (3, 200, 200)."""
    rgb = tiles()
    sky = (slice(None), slice(20, 180), slice(10, 190))
    rgb[sky] = 0.5 + contrast * (rgb[sky] - 0.5)
    return rgb


def changed_by_pieces(rgb: Tensor, drawn: Tensor) -> float:
    """How much the drawing is changed at most, well inside of the hole."""
    known = rgb.masked_fill(torch.from_numpy(a_hole()), 0.0)
    return well_inside(textured(known, a_hole(), drawn) - drawn).abs().max().item()


def test_a_drawing_as_even_as_what_is_around_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = sky_in_a_pattern(contrast=0.05)
    drawn = torch.where(torch.from_numpy(a_hole()), rgb.roll((5, 4), (1, 2)), rgb)
    with_mixture(monkeypatch, wide=(8, 16), widest=(8, 16))
    assert changed_by_pieces(rgb, drawn) == 0
    with_mixture(monkeypatch, dull=(0.1, 0.2))
    assert changed_by_pieces(rgb, drawn) > 0


def test_noise_that_nobody_sees_is_no_texture(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = sky_in_a_pattern(contrast=0.01)
    with_mixture(monkeypatch, wide=(8, 16), widest=(8, 16))
    assert changed_by_pieces(rgb, flat(rgb, a_hole())) == 0
    monkeypatch.setattr(texture, "FAINT", 1e-6)
    assert changed_by_pieces(rgb, flat(rgb, a_hole())) > 0


def test_a_thin_dull_drawing_takes_a_share_of_the_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    with_mixture(monkeypatch, wide=(60, 70), widest=(70, 80))
    rgb, mask = tiles(), a_hole()
    made = textured(torch.where(torch.from_numpy(mask), 0.0, rgb), mask, flat(rgb, mask))
    inside = well_inside(made)
    truth = well_inside(rgb)
    assert (inside.std() / truth.std()).item() == pytest.approx(THIN_SHARE, rel=0.2)


@pytest.mark.parametrize("much", [Texture.some, Texture.all])
def test_a_wide_dull_drawing_takes_its_share_of_them(
    monkeypatch: pytest.MonkeyPatch, much: Texture
) -> None:
    with_mixture(monkeypatch, much, widest=(70, 80))
    rgb, mask = tiles(), a_hole()
    made = textured(torch.where(torch.from_numpy(mask), 0.0, rgb), mask, flat(rgb, mask), much)
    inside, truth = well_inside(made), well_inside(rgb)
    assert (inside.std() / truth.std()).item() == pytest.approx(MIXTURES[much].share, rel=0.2)


def test_photos_get_as_much_texture_from_python_as_from_the_command() -> None:
    python = inspect.signature(Restorer.inpaint).parameters["texture"].default
    assert Texture(python) is Filling().texture
    assert signature_default(inpaint_command) is signature_default(evaluate) is Texture(python)


def signature_default(command: Callable[..., None]) -> Texture:
    """What a command does about texture when it isn't told."""
    default: Texture = inspect.signature(command).parameters["texture"].default
    return default


def test_the_widest_holes_are_patches_up_to_the_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    with_mixture(monkeypatch, widest=(8, 16))
    rgb, mask = tiles(), a_hole()
    made = textured(torch.where(torch.from_numpy(mask), 0.0, rgb), mask, flat(rgb, mask))
    assert (made - rgb)[:, HOLE[0], HOLE[1]].abs().mean() < 0.05


def test_the_share_of_patches_grows_with_depth_and_width() -> None:
    mask = np.zeros((300, 600), bool)
    mask[40:260, 40:260] = True  # 110 deep
    mask[140:152, 260:560] = True  # 6 deep, and joined to the other
    depth = torch.from_numpy(depth_of(mask))
    some = MIXTURES[Texture.some]
    wide, widest = (share_within(depth, *bounds) for bounds in (some.wide, some.widest))
    share = share_by_depth(depth, wide, widest, some)
    assert (share[:, 300:] == 0).all()
    assert (share[100:200, 47:250] == 1).all()
    assert (share[:40] == 0).all()


def test_a_place_is_as_wide_as_the_widest_disc_that_covers_it() -> None:
    mask = np.zeros((200, 300), bool)
    mask[50:150, 50:150] = True  # 50 deep
    mask[90:110, 150:290] = True  # a stroke of 20 from there on
    wide = share_within(torch.from_numpy(depth_of(mask)), 20, 40)
    assert wide[100, 55] > 0.95  # at the rim of what is wide
    assert wide[100, 200:].max() == 0  # however near the wide place is
    assert 0 < wide[53, 53] < 1  # a corner, which small discs alone reach
    assert not share_within(torch.zeros(50, 50), 20, 40).any()


def test_holes_are_halved_until_any_shift_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, mask = tiles(), np.zeros((SIDE, SIDE), bool)
    mask[70:80, 30:90] = True
    hole = torch.from_numpy(mask)
    level = Level(rgb, hole, flat(rgb, mask), hole)
    assert len(levels_of(level)) == 1  # 18 × 68 places with the band around it
    monkeypatch.setattr(synthesis, "FEW", FEW // 2)
    assert len(levels_of(level)) == 2
    monkeypatch.setattr(synthesis, "FEW", 0)
    assert min(levels_of(level)[-1].mask.shape) >= SMALLEST


def test_without_texture_the_drawing_is_left_alone() -> None:
    rgb, mask = tiles(), a_hole()
    drawn = flat(rgb, mask)
    assert torch.equal(textured(rgb, mask, drawn, Texture.none), drawn)
    assert not torch.equal(textured(rgb, mask, drawn, Texture.some), drawn)


def test_a_speck_beside_a_wide_hole_needs_no_texture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def noted(_rgb: Tensor, mask: np.ndarray, drawn: Tensor, _much: Texture) -> Tensor:
        seen.append(int(mask.sum()))
        return drawn

    monkeypatch.setattr(filling, "textured", noted)
    torch.manual_seed(0)
    model = AdaCode(tiny_config("reconstruct", 1).restoring("inpaint", 1))
    mask = a_hole()
    mask[8:10, 8:10] = mask[190:192, 8:10] = True
    inpaint(Restorer(model, torch.device("cpu"), torch.float32), tiles(), mask)
    assert len(seen) == 1


def test_a_single_wide_hole_tells_how_far_it_is() -> None:
    torch.manual_seed(0)
    model = AdaCode(tiny_config("reconstruct", 1).restoring("inpaint", 1))
    restorer, heard = Restorer(model, torch.device("cpu"), torch.float32), []
    limits = Filling(reach=17, smallest=24)  # a hole 50 deep: two halvings
    inpaint(restorer, tiles(), a_hole(), limits, lambda done, of: heard.append((done, of)))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]  # three levels, and texture


def test_the_same_drawing_gets_the_same_texture() -> None:
    rgb, mask = tiles(), a_hole()
    first, again = (textured(rgb, mask, flat(rgb, mask)) for _ in range(2))
    assert torch.equal(first, again)


def test_what_lies_in_the_hole_is_never_looked_at() -> None:
    rgb, mask = tiles(), a_hole()
    drawn = flat(rgb, mask)
    other = torch.where(torch.from_numpy(mask), torch.rand(3, SIDE, SIDE), rgb)
    assert torch.equal(textured(rgb, mask, drawn), textured(other, mask, drawn))


def test_thin_holes_and_those_without_surroundings_stay_as_drawn() -> None:
    rgb = tiles()
    thin = np.zeros((SIDE, SIDE), bool)
    thin[:, 80:86] = True  # three pixels to its middle, and no more
    everything = np.ones((SIDE, SIDE), bool)
    for mask in (thin, everything):
        drawn = flat(rgb, mask)
        assert torch.equal(textured(rgb, mask, drawn), drawn)


def test_every_vote_is_for_a_known_pixel() -> None:
    rgb, mask = tiles(), torch.from_numpy(a_hole())
    black = torch.where(mask, -1.0, rgb)
    half = mask[::2, ::2]
    coarse = Surroundings(black[:, ::2, ::2], half, half, torch.Generator().manual_seed(1))
    around = Surroundings(black, mask, mask, torch.Generator().manual_seed(1))
    field = coarse.anywhere(len(coarse.pixels))
    field = around.completed(enlarged(field, coarse, around))
    assert around.usable[field].all()
    votes = torch.full((len(around.pixels),), 1e-9)  # however little they weigh
    assert agree(around, field, votes).min() >= 0


def test_where_nothing_was_found_it_goes_on_as_nearby() -> None:
    """Places from anywhere would be specks."""
    rgb, mask = tiles(), torch.from_numpy(a_hole())
    around = Surroundings(rgb, mask, mask, torch.Generator().manual_seed(1))
    y, x = around.at(around.pixels)
    above = around.pixels - 110 * SIDE  # known for the lower rows alone
    field = torch.where((y >= 120) & (x % 7 > 0), above, -1)
    completed = around.completed(field)
    assert around.usable[completed].all()
    low = (y >= 124) & (x < 150) & (x > 50)
    assert torch.equal(completed[low], above[low])  # the gaps, too
    assert torch.equal(around.at(completed)[1], around.at(above)[1])
    nothing = around.completed(torch.full_like(field, -1))
    assert around.usable[nothing].all()
    # What lies nearest, nothing by lot.
    away = [a - b for a, b in zip(around.at(nothing), around.at(around.pixels), strict=True)]
    assert max(x.abs().max() for x in away) <= 50 + RADIUS


def test_beyond_all_shifts_a_hole_has_what_its_drawing_looks_like() -> None:
    """And no streaks, as of the nearest row again and again."""
    rgb, mask = tiles(), np.ones((SIDE, SIDE), bool)
    mask[:, :60] = False
    made = textured(rgb.masked_fill(torch.from_numpy(mask), 0.0), mask, flat(rgb, mask))
    far = made[:, 20:180, 120:180]
    assert far.diff(dim=1).abs().mean() > 0.3 * rgb.diff(dim=1).abs().mean()
    assert far.diff(dim=2).abs().mean() > 0.3 * rgb.diff(dim=2).abs().mean()


def test_what_was_drawn_is_nothing_to_take_patches_from() -> None:
    rgb, unknown = tiles(), torch.from_numpy(a_hole())
    sought = unknown.clone()
    sought[:60] = False  # above, the drawing is good enough
    around = Surroundings(rgb, sought, unknown, torch.Generator().manual_seed(1))
    assert not (around.usable.view_as(unknown) & widened(unknown)).any()
    assert torch.equal(around.pixels, widened(sought).flatten().nonzero()[:, 0])


def test_a_few_components_tell_patches_apart_nearly_as_all_pixels_do() -> None:
    photo = torch.from_numpy(np.array(make_photo(SIDE, SIDE))).permute(2, 0, 1) / 255
    none = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    around = Surroundings(photo, none, none, torch.Generator().manual_seed(1))
    one, other = around.anywhere(500), around.anywhere(500)
    short = Shorter(around)(photo)
    apart = distances(short[one], short, other)
    whole = (patches(photo, one) - patches(photo, other)).square().sum(1)
    assert (apart <= whole * 1.001 + 1).all()  # they leave out, and never add
    assert apart.sum() > 0.9 * whole.sum()
    middle = patches(photo, torch.tensor([SIDE * 80 + 70])).view(3, 7, 7)
    seen = photo[:, 80 - RADIUS : 81 + RADIUS, 70 - RADIUS : 71 + RADIUS]
    assert torch.allclose(middle, 255 * (seen - 0.5), atol=1e-3)


def test_a_drawing_has_no_confetti() -> None:
    noise = torch.from_numpy(np.random.default_rng(1).random((3, 64, 64), np.float32))
    edge = torch.zeros(3, 64, 64)
    edge[0, :, 32:] = 1.0
    even = even_coloured(noise)
    assert torch.allclose(brightness(even), brightness(noise), atol=1e-5)
    assert (even - brightness(even)).std() < 0.4 * (noise - brightness(noise)).std()
    assert (even_coloured(edge) - edge)[:, :, [0, 26, 38, 63]].abs().max() < 0.01


def test_fillings_are_even_coloured() -> None:
    noise = torch.from_numpy(np.random.default_rng(1).random((3, SIDE, SIDE), np.float32))
    rgb, mask = tiles(), a_hole()
    work = Work(Hole(slice(0, SIDE), slice(0, SIDE), mask), mask, Filling(reach=64))
    filled = fill(rgb, work, lambda _rgb, _mask: noise, Filling(reach=64), lambda: None)
    inside, before = well_inside(filled), well_inside(noise)
    assert (inside - brightness(inside)).std() < 0.5 * (before - brightness(before)).std()
    assert torch.equal(filled[:, ~mask], rgb[:, ~mask])


def test_the_published_network_sees_white_paint_and_no_mask() -> None:
    config = replace(
        official_config("inpaint", 1),
        widths=(32, 32, 32, 32),
        codebooks=tiny_config("inpaint", 1).codebooks,
    )
    torch.manual_seed(0)
    model = AdaCode(config)
    seen: list[Tensor] = []
    restorer = Restorer(model, torch.device("cpu"), torch.float32)
    inner = model.encoder.forward
    model.encoder.forward = lambda image: seen.append(image) or inner(image)  # type: ignore[func-returns-value]
    rgb, mask = tiles()[:, :64, :64] * 0.5, np.zeros((64, 64), bool)
    mask[30:34, 10:40] = True
    filled = inpaint(restorer, rgb, mask, Filling(texture=Texture.none))
    assert seen[0].shape[1] == 3
    assert (seen[0][0, :, :64, :64][:, mask] == 1).all()
    assert torch.allclose(seen[0][0, :, :64, :64][:, ~mask], rgb[:, ~mask])
    assert torch.equal(filled[:, ~mask], rgb[:, ~mask])
    assert not torch.equal(filled[:, mask], rgb[:, mask])


def test_a_filling_that_is_too_dark_at_its_rim_is_lightened_within() -> None:
    rgb, mask = tiles(), torch.from_numpy(a_hole())
    shifted = torch.where(torch.arange(SIDE) < 30, rgb - 0.05, rgb)  # the same, but darker
    around = Surroundings(shifted, mask, mask, torch.Generator().manual_seed(1))
    y, x = around.pixels // SIDE, around.pixels % SIDE
    field = y * SIDE + x % 9 + 9  # all is taken from the dark part, which repeats every 9 pixels
    lacks = missing(around, field)
    inside = lacks[:, HOLE[0], HOLE[1]]
    assert inside.mean() == pytest.approx(0.05, abs=0.005)
    assert not lacks[:, : HOLE[0].start - RADIUS].any()  # nothing is done for the rest
    assert missing(around, around.pixels).abs().max() == 0
    far = torch.where(torch.arange(SIDE) < 30, rgb - 9, rgb)  # nothing like it
    around = Surroundings(far, mask, mask, torch.Generator().manual_seed(1))
    assert missing(around, field).max() == pytest.approx(0.1)


def test_what_lies_at_the_border_is_shown_from_a_little_further_in() -> None:
    rgb, none = tiles(), torch.zeros(SIDE, SIDE, dtype=torch.bool)
    hole = none.clone()
    hole[:40, 80:120] = True
    around = Surroundings(rgb, hole, hole, torch.Generator().manual_seed(1))
    field = torch.full_like(around.pixels, 1 * SIDE + 150)  # a pixel from the upper border
    assert (around.completed(field) == RADIUS * SIDE + 150).all()
    field[::2] = 30 * SIDE + 100  # in the hole: what is nearest to it outside
    completed = around.completed(field)
    assert set(completed[::2].tolist()) == {(40 + RADIUS) * SIDE + 100}


@pytest.mark.parametrize("size", [(40, 900), (47, 400), (300, 300)])
def test_narrow_pictures_and_rims_alone_get_texture_too(size: tuple[int, int]) -> None:
    photo = torch.from_numpy(np.array(make_photo(size[1], size[0]))).permute(2, 0, 1) / 255
    mask = np.zeros(size, bool)
    if size[0] == size[1]:
        mask[12:-12, 12:-12] = True
    else:
        mask[:, 100:250] = True
    drawn = flat(photo, mask)
    made = textured(photo, mask, drawn, Texture.all)
    assert torch.equal(made[:, ~mask], drawn[:, ~mask])
    assert (made - drawn)[:, mask].abs().mean() > 0.01


@pytest.mark.parametrize("wrong", [True, "much", None])
def test_a_texture_that_there_is_not_is_told_with_those_that_there_are(wrong: object) -> None:
    with pytest.raises(ValueError, match='"none", "some", "all", not'):
        Filling(texture=wrong)  # type: ignore[arg-type]
    assert Filling(texture="all").texture is Texture.all  # type: ignore[arg-type]
