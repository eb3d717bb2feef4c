"""Copies to the host: in order, each once, and nothing lost when something fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from adacode_cli.restore import transfer
from adacode_cli.restore.transfer import Copy, fetched, on_host, sent

CPU = torch.device("cpu")


def numbered(count: int, *, fails: bool = False) -> Iterator[Tensor]:
    yield from (torch.full((2,), float(n)) for n in range(count))
    if fails:
        raise RuntimeError("out of memory")


class Late(Copy):
    """A copy that isn't there before it is asked for, as a GPU's."""

    begun: ClassVar[list[float]] = []

    def __init__(self, tensor: Tensor) -> None:
        self.host, self.event = tensor.clone(), object()  # type: ignore[assignment]
        self.begun.append(tensor[0].item())

    def finished(self) -> Tensor:
        return self.host


def test_a_hosts_own_come_one_by_one() -> None:
    source = numbered(3)
    fetching = fetched(source)
    assert next(fetching)[0] == 0
    assert next(source)[0] == 1  # nothing was taken ahead: memory is for one
    assert [t[0].item() for t in fetching] == [2]


def test_a_gpus_are_computed_one_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "Copy", Late)
    monkeypatch.setattr(Late, "begun", [])
    for n, tensor in enumerate(fetched(numbered(3))):
        assert tensor[0] == n
        assert Late.begun == list(range(min(3, n + 2)))


@pytest.mark.parametrize("copy", [Copy, Late])
def test_what_fails_comes_after_what_did_not(
    copy: type[Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "Copy", copy)
    fetching = fetched(numbered(3, fails=True))
    assert [next(fetching)[0].item() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="out of memory"):
        next(fetching)


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.rand(3, 4)
    assert sent(tensor, CPU) is tensor
    assert on_host(tensor) is tensor
