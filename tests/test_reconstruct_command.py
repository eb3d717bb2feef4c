"""`adacode reconstruct` and `adacode inspect` on real files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adacode_cli.model import checkpoint
from adacode_cli.restore.reconstruction.codes import load
from adacode_cli.restore.reconstruction.reconstruct import decode, encode
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import Tiling
from adacode_cli.restore.way import Way
from tests.conftest import Command, make_photo, rows, tiny_model

USE = ("--weights", "prior.safetensors")


@pytest.fixture
def prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """prior.safetensors, untrained, in the folder where the command runs."""
    monkeypatch.setenv("ADACODE_CONFIG", str(tmp_path / "config.toml"))
    model = tiny_model("reconstruct", 1)
    story = {"training": json.dumps({"steps": 7})}
    checkpoint.save(tmp_path / "prior.safetensors", model.config, model.state_dict(), story)
    return tmp_path / "prior.safetensors"


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.usefixtures("prior")
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_codes_become_the_identical_picture(mode: str, tmp_path: Path, adacode: Command) -> None:
    make_photo(75, 50).convert(mode).save(tmp_path / "a.png", dpi=(300, 300))
    done = adacode("reconstruct", "a.png", *USE, "--codes", "a.npz")
    assert done.stdout == "a_reconstructed.png\n"
    (tmp_path / "a_reconstructed.png").rename(tmp_path / "first.png")
    assert adacode("reconstruct", "a.npz").stdout == "a_reconstructed.png\n"
    again, first = tmp_path / "a_reconstructed.png", tmp_path / "first.png"
    assert np.array_equal(pixels(again), pixels(first))
    with Image.open(again) as out:
        assert (out.mode, out.size) == (mode, (75, 50))
        assert round(out.info["dpi"][0]) == 300
    with np.load(tmp_path / "a.npz") as kept:
        assert kept["indices"].shape == kept["weights"].shape == (3, 7, 10)


@pytest.mark.usefixtures("prior")
def test_bad_codes_cost_only_themselves(tmp_path: Path, adacode: Command) -> None:
    make_photo(24, 16).save(tmp_path / "a.png")
    adacode("reconstruct", "a.png", *USE, "--codes", "a.npz")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    done = adacode("reconstruct", "bad.npz", "missing.npz", "a.npz", "-o", "out", check=1)
    assert done.stdout == "out/a_reconstructed.png\n"
    assert [name in done.stderr for name in ("bad.npz", "missing.npz")] == [True, True]


@pytest.mark.usefixtures("prior")
def test_the_picture_is_the_networks_own(tmp_path: Path, adacode: Command) -> None:
    photo = make_photo(64, 48)
    photo.save(tmp_path / "a.png")
    adacode("reconstruct", "a.png", *USE, "--precision", "fp32")
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = tiny_model("reconstruct", 1)(image).image[0].clamp(0, 1) * 255
    difference = expected.permute(1, 2, 0).numpy() - pixels(tmp_path / "a_reconstructed.png")
    assert abs(difference).max() < 1


@pytest.mark.usefixtures("prior")
def test_the_weight_map_is_a_picture_and_its_numbers(tmp_path: Path, adacode: Command) -> None:
    make_photo(80, 64).save(tmp_path / "a.png")
    adacode("reconstruct", "a.png", *USE, "--weight-map", "map.png")
    assert pixels(tmp_path / "map.png").shape[1] >= 2 * 80
    with np.load(tmp_path / "map.weights.npz") as kept:
        assert kept["weights"].shape == (3, 8, 10)
        assert list(kept["names"]) == ["a", "b", "c"]
    again = adacode("reconstruct", "a.png", *USE, "--weight-map", "map.png", "-o", "b.png", check=1)
    assert "--force" in again.stderr


@pytest.mark.usefixtures("prior")
def test_the_smallest_picture_has_a_weight_map(tmp_path: Path, adacode: Command) -> None:
    shapes = {"dot": (1, 1, 3), "row": (1, 300, 3), "column": (300, 1, 3)}
    for name, shape in shapes.items():
        Image.fromarray(np.full(shape, 90, np.uint8)).save(tmp_path / f"{name}.png")
    photos = [f"{name}.png" for name in shapes]
    adacode("reconstruct", *photos, *USE, "-o", "out", "--weight-map", "maps")
    for name, shape in shapes.items():
        assert pixels(tmp_path / "out" / f"{name}_reconstructed.png").shape == shape
        assert pixels(tmp_path / "maps" / f"{name}.png").size > 0


@pytest.mark.usefixtures("prior")
def test_a_folder_has_codes_and_maps_in_folders(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        make_photo(40, 32).save(tmp_path / "in" / f"{name}.png")
    adacode("reconstruct", "in", *USE, "-o", "out", "--codes", "codes", "--weight-map", "maps")
    assert sorted(p.name for p in (tmp_path / "codes").iterdir()) == ["a.npz", "b.npz"]
    maps = ["a.png", "a.weights.npz", "b.png", "b.weights.npz"]
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == maps
    adacode("reconstruct", "codes/a.npz", "codes/b.npz", "-o", "again")
    for name in "ab":
        first, again = (tmp_path / f / f"{name}_reconstructed.png" for f in ("out", "again"))
        assert np.array_equal(pixels(first), pixels(again))


@pytest.mark.usefixtures("prior")
def test_a_long_name_has_room_for_both_files_of_a_map(tmp_path: Path, adacode: Command) -> None:
    for name in ("ab" * 125 + "a.png", "ab" * 125 + "b.png"):
        make_photo(40, 32).save(tmp_path / name)
        adacode("reconstruct", name, *USE, "-o", "out", "--weight-map", "maps")
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    stems = {name.removesuffix(".png").removesuffix(".weights.npz") for name in names}
    assert len(names) == 2 * len(stems) == 4


@pytest.mark.usefixtures("prior")
def test_usage_and_perplexity_are_those_of_the_codes(tmp_path: Path, adacode: Command) -> None:
    make_photo(80, 64).save(tmp_path / "a.png")
    done = adacode("reconstruct", "a.png", *USE, "--codes", "a.npz", "--json")
    [row], _ = rows(done.stdout)
    for k, name in enumerate("abc"):
        counts = np.bincount(load(tmp_path / "a.npz").codes.indices[k].ravel(), minlength=16)
        share = counts[counts > 0] / counts.sum()
        told = row["codebooks"][name]
        assert told["usage"] == pytest.approx((counts > 0).mean(), abs=1e-3)
        assert told["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=0.01)


@pytest.mark.usefixtures("prior")
def test_a_codebook_can_be_switched_off(tmp_path: Path, adacode: Command) -> None:
    make_photo(48, 40).save(tmp_path / "a.png")
    words = ("reconstruct", "a.png", *USE, "--force", "--codes", "a.npz")
    adacode(*words)
    whole = load(tmp_path / "a.npz").codes.weights
    adacode(*words, "--without", "b")
    without = load(tmp_path / "a.npz").codes.weights
    assert not without[1].any()
    assert np.array_equal(without[::2], whole[::2])
    adacode(*words, "--only", "a", "--only", "c")
    assert np.array_equal(load(tmp_path / "a.npz").codes.weights, without)
    two = pixels(tmp_path / "a_reconstructed.png")
    adacode(*words)
    adacode("reconstruct", "a.npz", "--without", "b", "--force")
    assert np.array_equal(pixels(tmp_path / "a_reconstructed.png"), two)
    refused = adacode(*words, "--only", "a", "--without", "a", check=2).stderr
    assert "every codebook is switched off" in refused
    refused = adacode(*words, "--only", "d", check=2).stderr
    assert "no codebook is called 'd'; there are a, b, c" in refused


@pytest.mark.usefixtures("prior")
def test_a_folder_is_done_again_for_other_codebooks(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(40, 32).save(tmp_path / "in" / "a.png")
    words = ("reconstruct", "in", *USE, "-o", "out")
    adacode(*words)
    assert "1 done before" in adacode(*words).stderr
    assert "other settings" in adacode(*words, "--only", "a", check=1).stderr


def test_a_lone_codebook_that_overflows_is_noticed() -> None:
    model = tiny_model("reconstruct", 1, books=1)
    with torch.no_grad():
        model.get_parameter("encoder.first.weight").mul_(1e6)
    restorer = Restorer(model, torch.device("cpu"), torch.float16, Tiling(rows=16))
    encode(restorer, torch.rand(3, 64, 24))
    assert restorer.notes == ["not finite in fp16 from row 0 on: computed in bf16"]


def test_codes_find_smaller_bands_where_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(tiny_model("reconstruct", 1), torch.device("cpu"), torch.float32)
    image = torch.rand(3, 128, 24)
    whole = encode(restorer, image)
    restorer.tiling = Tiling(rows=64)
    noted, ways = restorer.noted, []

    def scarce(image: torch.Tensor, way: Way, pick: Any) -> Any:
        ways.append(way.rows)
        if way.rows > 16:
            raise RuntimeError("can't allocate memory")
        return noted(image, way, pick)

    monkeypatch.setattr(restorer, "noted", scarce)
    assert (encode(restorer, image).indices == whole.indices).mean() > 0.99
    assert ways == [64, 32, 16]
    assert restorer.notes[-1] == "out of memory with bands of 32 rows: computed in bands of 16"


@pytest.mark.usefixtures("prior")
def test_weights_of_few_bits_weigh_less(tmp_path: Path, adacode: Command) -> None:
    make_photo(48, 40).save(tmp_path / "a.png")
    words = ("reconstruct", "a.png", *USE, "--force", "--codes", "a.npz", "--json")
    [told], _ = rows(adacode(*words).stdout)
    # Three codebooks of 16 codes: 4 bits a code, 32 a weight, for 64 pixels.
    assert told["bits_per_pixel"] == {"codes": 12 / 64, "weights": 96 / 64}
    exact = load(tmp_path / "a.npz").codes.weights
    [told], _ = rows(adacode(*words, "--weight-bits", "2").stdout)
    assert told["bits_per_pixel"] == {"codes": 12 / 64, "weights": 6 / 64}
    coarse = load(tmp_path / "a.npz").codes.weights
    for k in range(3):
        assert len(np.unique(coarse[k])) == 4
        step = np.ptp(exact[k]) / 3
        assert abs(coarse[k] - exact[k]).max() <= step / 2 * 1.001


def test_codes_of_bands_are_those_of_the_whole(prior: Path) -> None:
    restorer = Restorer.load(prior, "cpu", "fp32")
    image = torch.from_numpy(np.array(make_photo(600, 330))).permute(2, 0, 1).float() / 255
    whole = encode(restorer, image)
    restorer.tiling = Tiling(rows=32)
    tiled = encode(restorer, image)
    assert tiled.indices.shape == whole.indices.shape
    assert (tiled.indices == whole.indices).mean() > 0.999
    assert abs(tiled.weights - whole.weights).max() < 1e-4


def test_codes_that_overflow_are_computed_again_and_said() -> None:
    model, image = tiny_model("reconstruct", 1), torch.rand(3, 64, 24)
    with torch.no_grad():
        model.get_parameter("weight_map.out.weight").mul_(1e7)  # beyond 65504
    cpu = torch.device("cpu")
    exact = encode(Restorer(model, cpu, torch.float32), image)
    restorer = Restorer(model, cpu, torch.float16, Tiling(rows=16))
    found = encode(restorer, image)
    assert restorer.notes == ["not finite in fp16 from row 0 on: computed in bf16"]
    assert found.weights == pytest.approx(exact.weights, rel=0.2, abs=1e5)
    restorer.notes.clear()
    codes = replace(found, weights=found.weights * np.float32(1e-4))
    assert torch.isfinite(decode(restorer, codes)).all()


def test_codes_of_another_network_or_a_damaged_file_are_refused(
    prior: Path, tmp_path: Path, adacode: Command
) -> None:
    make_photo(40, 32).save(tmp_path / "a.png")
    adacode("reconstruct", "a.png", *USE, "--codes", "a.npz", "-o", "out.png")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("cut.npz", "text.npz", "missing.npz"):
        done = adacode("reconstruct", name, check=1)
        assert name in done.stderr
        assert "Traceback" not in done.stderr
    model = tiny_model("reconstruct", 1, books=2)
    checkpoint.save(tmp_path / "other.safetensors", model.config, model.state_dict())
    done = adacode("reconstruct", "a.npz", "--weights", "other.safetensors", check=1)
    assert "other weights" in done.stderr
    prior.unlink()
    assert "prior.safetensors" in adacode("reconstruct", "a.npz", check=2).stderr


@pytest.mark.usefixtures("prior")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("a.png", "a.npz", *USE), 2, "alone"),
        (("a.png", "b.png", *USE, "--codes", "c.npz"), 2, "folder"),
        (("a.png", *USE, "--weight-map", "map.jpg"), 2, ".png"),
        (("a.png", *USE, "--codes", "missing/c.npz"), 2, "missing"),
        (("a.png", *USE, "--weight-map", "a.png", "--force"), 2, "overwrite"),
        (("a.png", *USE, "--weight-map", "."), 2, "another folder"),
    ],
)
def test_a_mistake_is_one_clear_line(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path, adacode: Command
) -> None:
    for name in "ab":
        make_photo(16, 16).save(tmp_path / f"{name}.png")
    before = sorted(tmp_path.iterdir())
    done = adacode("reconstruct", *words, check=code)
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert says in line
    assert sorted(tmp_path.iterdir()) == before


def test_inspect_tells_what_a_file_is_and_shows_every_code(
    prior: Path, tmp_path: Path, adacode: Command
) -> None:
    told = json.loads(adacode("inspect", "prior.safetensors", "--json").stdout)
    assert (told["family"], told["task"], told["scale"]) == ("lite", "reconstruct", 1)
    assert told["codebooks"] == {name: [16, 4] for name in "abc"}
    assert told["training"] == {"steps": 7}
    assert told["sha256"] == hashlib.sha256(prior.read_bytes()).hexdigest()
    assert told["parameters"] == sum(t.numel() for t in tiny_model("reconstruct", 1).parameters())
    done = adacode("inspect", "prior.safetensors", "--atlas", "atlas.png")
    assert "reconstruct" in done.stdout
    sheet = pixels(tmp_path / "atlas.png")
    tiles = sheet[28 : 28 + 24, : 16 * 25].reshape(24, 16, 25, 3)[:, :, :24].mean((0, 2))
    assert len(np.unique(tiles.round(3), axis=0)) == 16
    assert (
        "--force" in adacode("inspect", "prior.safetensors", "--atlas", "atlas.png", check=2).stderr
    )
