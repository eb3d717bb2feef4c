"""--fidelity: 'lite-x4@0.3' is a bundled model, three tenths of the way to its faithful sibling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adacode_cli.errors import UsageError, WeightsError
from adacode_cli.weights.record import kept_folder

if TYPE_CHECKING:
    from adacode_cli.weights.catalogue import Bundled

FAITHFUL = "-psnr"  # what the sibling's name has besides
FORM = re.compile(r"([\w-]+)@(\d*\.?\d+)")
DIGITS = 3  # of a share


@dataclass(frozen=True)
class Between:
    """Two trainings of one network, and how far on the way from the first to the second."""

    first: Bundled
    second: Bundled
    share: float

    def __str__(self) -> str:
        return f"{self.first.name}@{self.share:g}"

    @property
    def origin(self) -> str:
        """What it is made of."""
        return f"made of {self.first.name} and {self.second.name}"

    @property
    def path(self) -> Path:
        """Where it is kept, once it is made: elsewhere when one of the two changes."""
        hashes = f"{self.first.sha256[:12]}-{self.second.sha256[:12]}"
        return folder() / f"{self}-{hashes}.safetensors"

    def cached(self) -> Path | None:
        """The file, if it was made already."""
        return self.path if self.path.is_file() else None

    def fetch(self, *, fresh: bool = False) -> Path:
        """The file, made now unless it is there. Raises ``WeightsError`` where it can't be kept."""
        import torch

        from adacode_cli.weights.mix import mix

        if fresh or not self.path.is_file():
            try:
                mix(self.first.path, self.second.path, self.share, self.path, torch.float16)
            except OSError as error:
                raise WeightsError(
                    f"{self}: can't be kept ({error}); HF_HOME names the cache"
                ) from error
            self.remove_all_but(self.path)
        return self.path

    def expected(self, path: Path) -> str | None:  # noqa: ARG002 as for every source
        """Nothing: it is made here."""
        return None

    def remove(self) -> list[Path]:
        """Take it out of the cache."""
        return self.remove_all_but(None)

    def remove_all_but(self, kept: Path | None) -> list[Path]:
        """Take it out of the cache, also as it was made of what the two once were."""
        others = [p for p in folder().glob(f"{self}-*.safetensors") if p != kept]
        for path in others:
            path.unlink(missing_ok=True)
        return others


def folder() -> Path:
    """Where such files lie; it may not exist."""
    return kept_folder() / "between"


def parse(word: str, bundled: dict[str, Bundled]) -> Between | Bundled | None:
    """What 'NAME@SHARE' means, if NAME is a bundled model. Raises ``UsageError``."""
    match = FORM.fullmatch(word)
    if match is None or match[1] not in bundled:
        return None
    return between(match[1], float(match[2]), bundled)


def between(name: str, share: float, bundled: dict[str, Bundled]) -> Between | Bundled:
    """The model so far on the way to its sibling. Raises ``UsageError`` if it has none."""
    faithful, share = f"{name}{FAITHFUL}", round(share, DIGITS)
    if faithful not in bundled or share > 1:
        known = [n.removesuffix(FAITHFUL) for n in bundled if n.endswith(FAITHFUL)]
        raise UsageError(
            f"{name}: no fidelity of {share:g}; there are {' and '.join(known)}, from 0 to 1"
        )
    if share in (0, 1):
        return bundled[faithful if share else name]
    return Between(bundled[name], bundled[faithful], share)
