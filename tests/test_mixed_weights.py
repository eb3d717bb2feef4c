"""`adacode weights mix`: a network between two others."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from tests.conftest import Command, tiny_model


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
        ("missing", "no such file"),
    ):
        files = ("a.safetensors", f"{name}.safetensors", "c.safetensors")
        done = adacode("weights", "mix", *files, check=1)
        assert words in done.stderr
        assert not (tmp_path / "c.safetensors").exists()
