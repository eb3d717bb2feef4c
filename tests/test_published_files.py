"""A torch file is data: code in it never runs, and what doesn't fit is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.weights import published
from adacode_cli.weights.catalogue import find, load_model
from tests.published_layout import filled_state
from tests.test_parity import SMALL


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    trace, file = tmp_path / "trace", tmp_path / "bomb.pth"
    torch.save({"params": Bomb(trace)}, file)
    with pytest.raises(CheckpointError, match="refused"):
        published.read(file)
    file.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(CheckpointError, match=r"bomb\.pth"):
        published.read(file)
    assert not trace.exists()


def test_files_that_are_no_published_network_say_so(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"state": {}}, file)
    with pytest.raises(CheckpointError, match="no 'params'"):
        published.read(file)
    torch.save({"params": {"a": torch.zeros(1)}}, file)
    with pytest.raises(CheckpointError, match="not a published AdaCode network"):
        published.read(file)
    file.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"other\.pth: it is empty"):
        published.read(file)
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        published.read(file)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    state = filled_state(SMALL)
    del state["weight_predictor.blocks.1.bias"]
    torch.save({"params": state}, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match=r"weight_map\.out\.bias"):
        load_model(tmp_path / "short.pth")


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(FileNotFoundError, match="lite-x4"):
        find("lite-x9")
