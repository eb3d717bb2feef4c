"""A recording is made of the third picture of a size, and of nothing that may change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adacode_cli.model.constants import noted
from adacode_cli.model.enlarge import lanczos_kernel
from adacode_cli.model.swin import SwinBlock, apart_in_whole, order
from adacode_cli.restore import replay
from adacode_cli.restore.replay import Draw, Replayer
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import Tiling
from tests.conftest import tiny_model


class Onto(Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True


class Recorded:
    """A recording that replays by drawing, with what it is asked to add."""

    wrong = 0.0
    made = 0

    def __init__(self, draw: Draw, picture: Tensor) -> None:
        self.draw, self.replays = draw, 0
        draw(picture)
        Recorded.made += 1

    def replayed(self, picture: Tensor) -> Tensor:
        self.replays += 1
        return self.draw(picture) + self.wrong


@pytest.fixture
def replayer(monkeypatch: pytest.MonkeyPatch) -> Replayer:
    monkeypatch.setattr(replay, "Recording", Recorded)
    monkeypatch.setattr(Recorded, "made", 0)
    return Replayer()


def ask(
    replayer: Replayer, *shape: int, dtype: torch.dtype = torch.float32, room: bool = True
) -> int:
    """How many replays the recording had made by then, the first to compare with."""
    picture = torch.rand(shape).as_subclass(Onto)
    assert torch.equal(replayer(lambda x: 2 * x, picture, dtype, has_room=room), 2 * picture)
    return replayer.recording.replays if replayer.recording else 0  # type: ignore[attr-defined]


def test_the_third_picture_of_a_size_and_precision_is_recorded(replayer: Replayer) -> None:
    assert [ask(replayer, 8, 8) for _ in range(5)] == [0, 0, 1, 2, 3]
    assert ask(replayer, 8, 4) == 0
    assert [ask(replayer, 8, 8) for _ in range(4)] == [0, 0, 1, 2]
    assert ask(replayer, 8, 8, dtype=torch.bfloat16) == 0
    assert Recorded.made == 2


def test_without_room_nothing_is_recorded_and_then_it_is(replayer: Replayer) -> None:
    assert [ask(replayer, 8, 8, room=False) for _ in range(5)] == [0] * 5
    assert [ask(replayer, 8, 8) for _ in range(2)] == [1, 2]
    assert ask(replayer, 8, 8, room=False) == 3


def test_what_is_forgotten_is_computed_anew(replayer: Replayer) -> None:
    for _ in range(3):
        ask(replayer, 8, 8)
    replayer.forget()
    assert replayer.recording is None
    assert ask(replayer, 8, 8) == 0


def test_what_can_not_be_recorded_is_tried_once(
    replayer: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(_draw: Draw, picture: Tensor) -> None:
        tried.append(picture)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(replay, "Recording", refuse)
    assert [ask(replayer, 8, 8) for _ in range(4)] == [0] * 4
    assert [ask(replayer, 8, 4) for _ in range(4)] == [0] * 4
    assert len(tried) == 1


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_a_replay_that_draws_something_else_is_never_used(
    wrong: float, replayer: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorded, "wrong", wrong)
    assert [ask(replayer, 8, 8) for _ in range(6)] == [0] * 6
    assert Recorded.made == 1


def test_on_a_cpu_nothing_is_recorded() -> None:
    replayer, seen = Replayer(), list[Tensor]()

    def draw(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    for _ in range(4):
        replayer(draw, torch.rand(1, 3, 8, 8), torch.float32, has_room=True)
    assert len(seen) == 4
    assert replayer.recording is None


def test_a_recording_keeps_what_a_cache_may_let_go_of() -> None:
    block, model, cpu = SwinBlock(32, 4).eval(), tiny_model(), torch.device("cpu")
    apart_in_whole.cache_clear()
    with torch.no_grad():
        with noted() as constants:
            block(torch.rand(1, 32, 16, 24))
            model(torch.rand(1, 3, 8, 8))
        order_of_labels, mask, (forth, back), kernel = constants
        assert forth.shape == back.shape == order_of_labels[0].shape == (384,)
        assert (mask.shape, kernel.shape) == ((6, 64, 64), (16, 1, 7, 7))
        block(torch.rand(1, 32, 8, 8))
    assert len(constants) == 4
    assert order(16, 24, 4, 4, device=cpu)[0] is forth
    assert order(16, 24, 0, 0, device=cpu) is order_of_labels
    assert apart_in_whole(16, 24, 4, device=cpu) is mask
    assert lanczos_kernel(4, device=cpu) is kernel


def test_only_who_asks_for_replays_gets_them() -> None:
    model, seen = tiny_model(), list[tuple[int, ...]]()
    for replays in (False, True):
        restorer = Restorer(model, torch.device("cpu"), torch.float32, replays=replays)
        restorer.replayer = Watched(seen)
        restorer.restore(torch.rand(3, 8, 8))
    assert seen == [(1, 3, 8, 8)]


def test_holes_and_bands_are_never_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert not Restorer(tiny_model("inpaint", 1), cpu, torch.float32, replays=True).replays
    restorer = Restorer(tiny_model(), cpu, torch.float32, Tiling(8), replays=True)
    forgotten = []
    monkeypatch.setattr(restorer.replayer, "forget", lambda: forgotten.append(True))
    restorer.restore(torch.rand(3, 4, 8))
    assert forgotten


class Watched(Replayer):
    """Tells which pictures it was asked for."""

    def __init__(self, seen: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.seen = seen

    def __call__(
        self, draw: Draw, picture: Tensor, precision: torch.dtype, *, has_room: bool
    ) -> Tensor:
        self.seen.append(tuple(picture.shape))
        return super().__call__(draw, picture, precision, has_room=has_room)


def test_a_network_that_moves_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(tiny_model(), torch.device("cpu"), torch.float32)
    forgotten = []
    monkeypatch.setattr(restorer.replayer, "forget", lambda: forgotten.append(True))
    restorer.move_to(torch.device("cpu"))
    assert not forgotten
    restorer.move_to(torch.device("meta"))
    assert forgotten
