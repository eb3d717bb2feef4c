"""The states a run goes on from: written whole or not at all, the last few kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from adacode_cli.training.notes import note

KEYS = frozenset({"run", "step"})  # that tell a state from other files of PyTorch's


class States:
    """The states of one stage in a run's folder, ``states/NAME-00001200.state``."""

    def __init__(self, folder: Path, stage: str, keep: int) -> None:
        self.folder, self.stage, self.keep = folder / "states", stage, keep

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob(f"{self.stage}-*.state"))

    def save(self, state: dict[str, Any], step: int) -> None:
        """Write, then drop the oldest. Raises ``OSError``; what was there is kept then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.stage}-{step:08}.state"
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        try:
            with unfinished.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except (OSError, RuntimeError) as error:  # PyTorch's writer wraps a full disk
            raise OSError(str(error).splitlines()[0]) from error
        finally:
            unfinished.unlink(missing_ok=True)
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest one that can be read, or None where there is none."""
        paths = self.paths()
        while paths:
            path = paths.pop()
            try:
                return read_state(path)
            except ValueError as error:
                instead = "an older one is tried" if paths else "none is older: it begins anew"
                note(f"{error}; {instead}")
        return None


def read_state(path: Path) -> dict[str, Any]:
    """What ``States.save`` wrote. Raises ``ValueError``, naming the file, for anything else."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except MemoryError:  # not the state's fault
        raise
    except Exception as error:  # PyTorch meets damage with whatever it likes
        reason = (str(error).splitlines() or ["empty"])[0]
        raise ValueError(f"{path}: damaged ({reason})") from error
    if not isinstance(state, dict) or KEYS - state.keys():
        raise ValueError(f"{path}: no state of a training run")
    return state
