"""A recording is made of the third picture of a size, and of nothing that may change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adacode_cli.restore import replay
from adacode_cli.restore.replay import Replayer
from adacode_cli.restore.restorer import Restorer
from tests.conftest import tiny_model


class Onto:
    """A tensor that says it is on a GPU, as far as a replayer looks."""

    is_cuda = True

    def __init__(self, *shape: int) -> None:
        self.shape, self.device = torch.Size(shape), torch.device("cuda")


class Recorded:
    """A recording that tells what it was made of."""

    def __init__(self, draw: Any, picture: Any) -> None:
        self.made_of = draw(picture)

    def replayed(self, picture: Any) -> str:
        return f"replayed {tuple(picture.shape)}"


@pytest.fixture
def replayer(monkeypatch: pytest.MonkeyPatch) -> Replayer:
    monkeypatch.setattr(replay, "Recording", Recorded)
    return Replayer()


def ask(replayer: Replayer, *shape: int, dtype: torch.dtype = torch.float32) -> Any:
    return replayer(lambda _: "drawn", Onto(*shape), dtype)  # type: ignore[arg-type, return-value]


def test_the_third_picture_of_a_size_and_precision_is_recorded(replayer: Replayer) -> None:
    assert [ask(replayer, 8, 8) for _ in range(5)] == ["drawn"] * 2 + ["replayed (8, 8)"] * 3
    assert ask(replayer, 8, 4) == "drawn"
    assert ask(replayer, 8, 8) == "drawn"
    assert [ask(replayer, 8, 8) for _ in range(2)] == ["drawn", "replayed (8, 8)"]
    assert ask(replayer, 8, 8, dtype=torch.bfloat16) == "drawn"


def test_what_is_forgotten_is_computed_anew(replayer: Replayer) -> None:
    for _ in range(3):
        ask(replayer, 8, 8)
    replayer.forget()
    assert replayer.recording is None
    assert ask(replayer, 8, 8) == "drawn"


def test_what_can_not_be_recorded_is_tried_once(
    replayer: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(_draw: Any, picture: Any) -> None:
        tried.append(picture)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(replay, "Recording", refuse)
    assert [ask(replayer, 8, 8) for _ in range(6)] == ["drawn"] * 6
    assert len(tried) == 1


def test_on_a_cpu_nothing_is_recorded() -> None:
    replayer, seen = Replayer(), list[Tensor]()

    def draw(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    for _ in range(4):
        replayer(draw, torch.rand(1, 3, 8, 8), torch.float32)
    assert len(seen) == 4
    assert replayer.recording is None


def test_a_network_that_moves_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(tiny_model(), torch.device("cpu"), torch.float32)
    forgotten = []
    monkeypatch.setattr(restorer.replayer, "forget", lambda: forgotten.append(True))
    restorer.move_to(torch.device("cpu"))
    assert not forgotten
    restorer.move_to(torch.device("meta"))
    assert forgotten
