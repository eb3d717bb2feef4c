"""Which models there are, and the file behind a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adacode_cli.model.adacode import AdaCode
    from adacode_cli.model.checkpoint import Checkpoint

PACKAGE = Path(__file__).resolve().parents[1]
# In an installed package the weights lie within it; in a checkout, beside it.
FOLDERS = (PACKAGE / "bundled", PACKAGE.parent / "weights")
TORCH_SUFFIXES = frozenset({".pth", ".pt", ".bin", ".ckpt"})


@dataclass(frozen=True)
class Bundled:
    """A model that ships with the program."""

    name: str
    task: str
    scale: int

    @property
    def path(self) -> Path:
        """Where its file lies. Raises ``FileNotFoundError`` if the installation lost it."""
        for folder in FOLDERS:
            path = folder / f"{self.name}.safetensors"
            if path.is_file():
                return path
        raise FileNotFoundError(f"{self.name}: its file is missing from this installation")


BUNDLED = {entry.name: entry for entry in (Bundled("lite-x4", "sr", 4),)}


def default_for(task: str, scale: int) -> str | None:
    """The bundled model's name for a task and scale, if there is one."""
    return next((b.name for b in BUNDLED.values() if (b.task, b.scale) == (task, scale)), None)


def find(weights: str | Path) -> Path:
    """The file behind a bundled name or a path. Raises ``FileNotFoundError``."""
    if str(weights) in BUNDLED:
        return BUNDLED[str(weights)].path
    if not Path(weights).is_file():
        names = ", ".join(BUNDLED)
        raise FileNotFoundError(f"{weights}: neither a file nor a bundled model ({names})")
    return Path(weights)


def load_model(weights: str | Path) -> AdaCode:
    """The model behind a name, a file of ours or a published .pth. Raises ``CheckpointError``."""
    from adacode_cli.model.adacode import AdaCode

    path = find(weights)
    return AdaCode.from_checkpoint(read(path), path)


def scale_of(weights: str | Path) -> int:
    """The magnification that a file's configuration tells."""
    return read(find(weights)).config.scale


def read(path: Path) -> Checkpoint:
    """A file of ours, or a published .pth. Raises ``CheckpointError``."""
    from adacode_cli.model import checkpoint
    from adacode_cli.weights import published

    return published.read(path) if path.suffix in TORCH_SUFFIXES else checkpoint.load(path)
