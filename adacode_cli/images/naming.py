"""Which files are meant, and what their results are called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from adacode_cli.errors import UsageError
from adacode_cli.images.formats import SUFFIXES


@dataclass(frozen=True)
class Source:
    """An input, and whether the user named it or it was found in a folder."""

    path: Path
    found: bool = False


def find(inputs: list[Path]) -> list[Source]:
    """Files as named; of folders, the pictures directly in them, sorted."""
    sources: dict[Path, Source] = {}
    for path in inputs:
        if path.is_dir():
            for photo in sorted(filter(is_photo, path.iterdir())):
                sources.setdefault(photo.resolve(), Source(photo, found=True))
        else:
            sources.setdefault(path.resolve(), Source(path))
    return list(sources.values())


def is_photo(path: Path) -> bool:
    """A file with a picture's suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def name_outputs(sources: list[Source], out: Path | None, suffix: str) -> dict[Source, Path]:
    """Source → its output: NAME + suffix + .png, beside it or in ``out``.

    One named file may go to a file of the user's choice: ``out`` with a picture's suffix.
    Two inputs that differ only by extension keep it in the name. A found picture that is
    itself the result of another one is left out. Raises ``UsageError`` when two inputs
    still have one output.
    """
    if out is not None and is_file_name(out) and len(sources) == 1:
        return {sources[0]: out}
    plain = {s: output_path(s.path, out, suffix) for s in sources}
    counts = Counter(path.resolve() for path in plain.values())
    names = {
        s: path if counts[path.resolve()] == 1 else output_path(s.path, out, suffix, extension=True)
        for s, path in plain.items()
    }
    results = {path.resolve() for path in (*plain.values(), *names.values())}
    names = {s: p for s, p in names.items() if not (s.found and s.path.resolve() in results)}
    refuse_shared(names)
    return names


def refuse_shared(names: dict[Source, Path]) -> None:
    """Raise ``UsageError`` when two inputs have one output."""
    taken: dict[Path, Source] = {}
    for source, path in names.items():
        other = taken.setdefault(path.resolve(), source)
        if other is not source:
            raise UsageError(
                f"{other.path} and {source.path} would both become {path}; "
                "restore them into different folders"
            )


def output_path(path: Path, out: Path | None, suffix: str, *, extension: bool = False) -> Path:
    """photo.jpg → photo_x4.png, or photo_jpg_x4.png with its extension."""
    stem = f"{path.stem}_{path.suffix[1:]}" if extension else path.stem
    return (out or path.parent) / f"{stem}{suffix}.png"


def is_file_name(out: Path) -> bool:
    """Whether ``-o`` names a file: a picture's suffix, and not a folder that is there."""
    return out.suffix.lower() in SUFFIXES and not out.is_dir()
