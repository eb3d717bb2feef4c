"""Which photos a run learns from, and which are kept aside to validate it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from adacode_cli.counted import counted
from adacode_cli.training.dataset import usable
from adacode_cli.training.notes import note

KEPT_ASIDE = 0.1  # of a class, at most; but one
ENOUGH = 4  # photos of a class, so that one can be kept aside
NONE_ASIDE = "too few photos to keep any aside: no .best weights, no sheets; --valid names others"


def usable_classes(
    classes: dict[str, list[Path]], patch: int
) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """Classes without the photos that can't be used, and why each of those isn't.

    Raises ``FileNotFoundError`` when a class has none left.
    """
    kept: dict[str, list[Path]] = {}
    skipped: dict[Path, str] = {}
    for name, photos in classes.items():
        kept[name], unused = usable(photos, patch)
        skipped.update(unused)
        if not kept[name]:
            reason = next(iter(unused.values()))
            raise FileNotFoundError(f"class {name}: none of its photos can be used: {reason}")
    return kept, skipped


def list_skipped(skipped: dict[Path, str], out: Path) -> None:
    """Each photo that isn't used, and why, in a file that is told once."""
    if skipped:
        listed = out / "skipped.txt"
        lines = "".join(f"{path}: {why}\n" for path, why in skipped.items())
        listed.write_text(lines, encoding="utf-8", errors="surrogateescape")
        note(f"skipped: {counted(len(skipped), 'photo')}, see {listed}")


def keep_aside(
    classes: dict[str, list[Path]], count: int, seed: int
) -> tuple[dict[str, list[Path]], list[Path]]:
    """About ``count`` photos for validation, from every class alike, and the rest of each."""
    rest, aside = {}, []
    for name, photos in classes.items():
        spare = max(int(KEPT_ASIDE * len(photos)), len(photos) >= ENOUGH)
        taken = min(math.ceil(count / len(classes)), spare)
        order = np.random.default_rng(seed).permutation(len(photos))
        chosen = {photos[i] for i in order[:taken]}
        rest[name] = [p for p in photos if p not in chosen]
        aside += sorted(chosen)
    return rest, aside
