"""A folder of clean photos becomes a test set: damaged ones, masks, and what was done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from adacode_cli.errors import UsageError
from adacode_cli.evaluation.protocol import Case, Protocol, TooSmallError
from adacode_cli.evaluation.score import find_all
from adacode_cli.images.naming import fitting
from adacode_cli.images.outputs import folded
from adacode_cli.images.unfinished import named, unfinished

RECORD = "degradations.json"
PARTS = ("clean", "degraded", "masks")


def write_test_set(
    photos: Path, out: Path, protocol: Protocol, *, force: bool = False
) -> Iterator[Path | OSError | TooSmallError]:
    """Each degraded photo's path as it is written, or why it couldn't be.

    Photo number i suffers what ``adacode eval`` with the same seed does to it. Raises
    ``UsageError`` when ``out`` already holds one of its files, or lies in the folder of photos.
    """
    if out.resolve().is_relative_to(photos.resolve()):
        raise UsageError(f"{out}: lies within {photos}; give another folder with -o")
    found, closed = find_all(photos)
    names = names_of(found, photos)
    record = out / RECORD
    if not force:
        refuse_to_overwrite([record, *(out / part / n for n in names.values() for part in PARTS)])
    yield from closed
    told = []
    for number, (path, name) in enumerate(names.items()):
        try:
            case = protocol.prepare_file(path, number)
            written = write_case(case, out, name)
        except (OSError, TooSmallError) as error:
            yield error
            continue
        photo = path.relative_to(photos) if photos.is_dir() else Path(path.name)
        places = {"photo": str(photo), "clean": str(Path("clean") / name)}
        told.append({**places, "degraded": str(written.relative_to(out)), **case.story})
        yield written
    told_all = {"protocol": asdict(protocol), "kind": protocol.kind, "photos": told}
    out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(told_all, indent=1))


def names_of(photos: list[Path], root: Path) -> dict[Path, Path]:
    """What each photo's pictures are called in a test set: NAME.png, the tree kept.

    Photos that differ only by extension keep it: NAME_jpg.png. Raises ``UsageError`` where that
    doesn't tell them apart, either.
    """
    below = root if root.is_dir() else root.parent
    plain = {p: p.relative_to(below).with_suffix(".png") for p in photos}
    counts = Counter(map(key_of, plain.values()))
    names = {
        p: name if counts[key_of(name)] == 1 else name.with_name(with_extension(p))
        for p, name in plain.items()
    }
    taken: dict[str, Path] = {}
    for path, name in names.items():
        other = taken.setdefault(key_of(name), path)
        if other is not path:
            raise UsageError(f"{other} and {path} would both become {name}; rename one")
    return names


def with_extension(photo: Path) -> str:
    """photo.jpg → photo_jpg.png."""
    return fitting(f"{photo.stem}_{photo.suffix[1:]}", ".png")


def key_of(name: Path) -> str:
    """The same for names that some file systems don't tell apart."""
    return folded(name.as_posix())


def refuse_to_overwrite(files: list[Path]) -> None:
    """Raise ``UsageError`` for the first that exists."""
    for file in files:
        if file.exists():
            raise UsageError(f"{file}: exists already; --force writes the test set anew")


def write_case(case: Case, out: Path, name: Path) -> Path:
    """The clean cut, what is left of it, and the mask, each under ``name``."""
    save_png(case.clean, out / "clean" / name)
    if case.hole is not None:
        save_png(case.hole, out / "masks" / name)
    return save_png(case.damaged, out / "degraded" / name)


def save_png(pixels: NDArray[Any], path: Path) -> Path:
    """Write whole or not at all. Raises ``OSError``, which names ``path``."""
    with named(path), unfinished(path) as (file, finish):
        PillowImage.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG")
        finish()
    return path
