"""`adacode weights mix`: a network between two others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.weights import catalogue, shelf
from adacode_cli.weights.catalogue import BUNDLED
from adacode_cli.weights.record import sha256
from tests.conftest import Command, make_photo, tiny_model


def save(path: Path, model: AdaCode, **story: str) -> dict[str, torch.Tensor]:
    checkpoint.save(path, model.config, model.state_dict(), story)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def nudged(model: AdaCode) -> AdaCode:
    """The same network after some training of all but its codes."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if not name.endswith(".codes"):
                tensor.add_(torch.randn_like(tensor) * 0.1)
    return model


def test_a_mixture_lies_between_and_says_of_what(tmp_path: Path, adacode: Command) -> None:
    first = save(tmp_path / "a.safetensors", tiny_model())
    second = save(tmp_path / "b.safetensors", nudged(tiny_model()), training="{}")
    mix = ("weights", "mix", "a.safetensors", "b.safetensors", "c.safetensors", "--share", "0.25")
    assert adacode(*mix).stdout == "c.safetensors\n"
    mixed = checkpoint.load(tmp_path / "c.safetensors")
    for name, tensor in mixed.state.items():
        assert torch.allclose(tensor, 0.75 * first[name] + 0.25 * second[name], atol=1e-6)
    assert mixed.metadata["share"] == "0.25"
    assert json.loads(adacode("weights", "info", "c.safetensors", "--json").stdout)["task"] == "sr"
    assert "exists already" in adacode(*mix, check=1).stderr


def test_what_does_not_go_together_is_not_mixed(tmp_path: Path, adacode: Command) -> None:
    save(tmp_path / "a.safetensors", tiny_model())
    save(tmp_path / "x2.safetensors", tiny_model(scale=2))
    other = tiny_model()
    with torch.no_grad():
        other.books[1].codes.neg_()
    save(tmp_path / "codes.safetensors", other)
    for name, words in (
        ("x2", "another network"),
        ("codes", "other codes"),
        ("missing", "neither a file nor a model"),
    ):
        files = ("a.safetensors", f"{name}.safetensors", "c.safetensors")
        done = adacode("weights", "mix", *files, check=1)
        assert words in done.stderr
        assert not (tmp_path / "c.safetensors").exists()


def test_what_is_read_is_not_written(tmp_path: Path, adacode: Command) -> None:
    save(tmp_path / "a.safetensors", tiny_model())
    before = (tmp_path / "a.safetensors").read_bytes()
    for words in (("convert", "a.safetensors"), ("mix", "a.safetensors", "./a.safetensors")):
        for more in ((), ("--force",)):
            told = adacode("weights", *words, "a.safetensors", *more, check=1).stderr
            assert "a.safetensors: is read from; give another name to write to" in told
    assert (tmp_path / "a.safetensors").read_bytes() == before
    (tmp_path / "link.safetensors").symlink_to("nowhere")
    (tmp_path / "folder.safetensors").mkdir()
    words = ("convert", "a.safetensors")
    assert "exists already" in adacode("weights", *words, "link.safetensors", check=1).stderr
    told = adacode("weights", *words, "folder.safetensors", "--force", check=2).stderr
    assert "folder.safetensors: is a folder" in told


def test_bundled_models_are_mixed_and_converted_by_name(tmp_path: Path, adacode: Command) -> None:
    adacode("weights", "mix", "lite-x4", "lite-x4-psnr", "m.safetensors", "--half")
    [one, other] = (checkpoint.load(BUNDLED[n].path).state for n in ("lite-x4", "lite-x4-psnr"))
    for name, tensor in checkpoint.load(tmp_path / "m.safetensors").state.items():
        middle = (one[name].float() + other[name].float()) / 2
        assert torch.allclose(tensor.float(), middle, atol=1e-3, rtol=1e-3), name
    adacode("weights", "convert", "lite-x2", "x2.safetensors")
    assert checkpoint.look(tmp_path / "x2.safetensors").config.scale == 2


def test_fidelity_is_a_point_between_two_bundled_networks() -> None:
    sharp, faithful = (checkpoint.load(BUNDLED[n].path).state for n in ("lite-x4", "lite-x4-psnr"))
    made = catalogue.source("lite-x4@0.25")
    path = made.fetch()
    assert path == made.cached() == catalogue.find("lite-x4@0.25")
    for name, tensor in checkpoint.load(path).state.items():
        expected = 0.75 * sharp[name].float() + 0.25 * faithful[name].float()
        assert torch.allclose(tensor.float(), expected, atol=1e-3, rtol=1e-3), name
    assert made.remove() == [path]
    assert made.cached() is None
    for word in ("lite-x4@1.5", "lite-inpaint@0.5"):
        with pytest.raises(UsageError, match="there are lite-x4"):
            catalogue.source(word)


def test_a_fidelity_is_the_same_file_each_time_it_is_made() -> None:
    made = catalogue.source("lite-x2@0.3")
    hashes = {sha256(made.fetch(fresh=True)) for _ in range(4)}
    older = made.fetch().with_name("lite-x2@0.3-000000000000-000000000000.safetensors")
    older.write_bytes(b"made of what they once were")
    shown = [item.name for item in shelf.everything()]
    assert "lite-x2@0.3" in shown
    made.fetch(fresh=True)
    assert not older.exists()
    made.remove()
    assert len(hashes) == 1


def test_the_ends_of_fidelity_are_the_bundled_files() -> None:
    for share, name in (("0", "lite-x4"), ("0.0001", "lite-x4"), ("1", "lite-x4-psnr")):
        assert catalogue.source(f"lite-x4@{share}") == BUNDLED[name]


def test_what_nothing_is_recorded_of_does_not_differ(
    tmp_path: Path, adacode: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    adacode("weights", "pull", "lite-x4@0.3")
    told = adacode("weights", "verify").stdout.splitlines()
    assert "lite-x4@0.3: nothing is recorded that it could be compared with" in told
    assert "lite-x4: whole" in told
    adacode("weights", "verify", "lite-x4@0.3")
    adacode("weights", "verify", "lite-x4@0.4", check=1)


def test_fidelity_shapes_the_result(tmp_path: Path, adacode: Command) -> None:
    make_photo(24, 16).save(tmp_path / "a.png")
    for fidelity in ("0", "1"):
        adacode("sr", "a.png", "-o", f"{fidelity}.png", "--fidelity", fidelity)
    adacode("sr", "a.png", "-o", "sharp.png")
    adacode("sr", "a.png", "-o", "faithful.png", "--weights", "lite-x4-psnr")
    pictures = {p.stem: Image.open(p).tobytes() for p in tmp_path.glob("[0-9fs]*.png")}
    assert pictures["0"] == pictures["sharp"]
    assert pictures["1"] == pictures["faithful"]
    assert pictures["0"] != pictures["1"]
    words = ("sr", "a.png", "--weights", "official-x4", "--fidelity", "0.5")
    assert "there are lite-x4" in adacode(*words, check=2).stderr
