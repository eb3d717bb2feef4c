"""What each result is called, no two alike."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from adacode_cli.errors import UsageError
from adacode_cli.images.folders import is_file, is_there
from adacode_cli.images.formats import BY_SUFFIX
from adacode_cli.images.mark import hash_source, source_in
from adacode_cli.images.naming import (
    STREAM,
    Source,
    is_file_name,
    mark_in,
    output_path,
    place_of,
    real,
)


def name_outputs(
    sources: list[Source], out: Path | None, suffix: str, form: str = ".png"
) -> dict[Source, Path]:
    """Source → its output: NAME + suffix + form, beside it or in ``out``, the tree kept.

    form: a file suffix, or 'same' for the source's own. One named file may go to a file of
    the user's choice: ``out`` with a picture's suffix. Inputs that would share an output keep
    their extension in the name; those that still would, or that differ only in ways that not
    every file system sees, have a number. A found picture that is itself the result of another
    one, or lies in ``out``, is left out; so is a link to a picture that has the same output
    already. Raises ``UsageError`` when inputs of two folders have one name.
    """
    if out == STREAM or (out is not None and is_file_name(out) and len(sources) == 1):
        return dict.fromkeys(sources, out)
    sources = [source for source in sources if not lies_in(source, out)]
    plain = without_namesakes({s: output_path(s, out, suffix, form) for s in sources})
    longer = with_extension(plain, out, suffix, form)
    results = {real(path) for path in (*plain.values(), *longer.values())}
    plain = {s: p for s, p in plain.items() if not (s.found and real(s.path) in results)}
    longer = with_extension(plain, out, suffix, form)
    refuse_namesakes(longer)
    names = {s: p for s, p in plain.items() if s not in longer} | kept(plain, longer, out)
    names |= with_number([s for s in longer if s not in names], names, out, suffix, form)
    return {source: names[source] for source in plain}


def with_extension(
    plain: dict[Source, Path], out: Path | None, suffix: str, form: str
) -> dict[Source, Path]:
    """Those that share an output, and what it is called with the extension in it."""
    counts = Counter(key_of(path, out) for path in plain.values())
    return {
        source: output_path(source, out, suffix, form, extension=True)
        for source, path in plain.items()
        if path != STREAM and counts[key_of(path, out)] > 1
    }


def with_number(
    sources: list[Source], names: dict[Source, Path], out: Path | None, suffix: str, form: str
) -> dict[Source, Path]:
    """What they are called with the extension, and a number where ``names`` has that already.

    Those come first whose results are there.
    """
    chosen: dict[Source, Path] = {}
    taken = {key_of(path, out) for path in names.values()}
    for choose in (claimed, numbered):
        for source in sources:
            candidates = (
                output_path(source, out, suffix, form, extension=True, number=number)
                for number in itertools.count(1)
            )
            free = (path for path in candidates if key_of(path, out) not in taken)
            if source not in chosen and (path := choose(source, free)):
                chosen[source] = path
                taken.add(key_of(path, out))
    return chosen


def kept(
    plain: dict[Source, Path], shared: dict[Source, Path], out: Path | None
) -> dict[Source, Path]:
    """Of those that share an output, whose result is there under that name; the first of each."""
    names: dict[str, tuple[Source, Path]] = {}
    for source in shared:
        path = plain[source]
        if key_of(path, out) not in names and is_made_from(path, source.path):
            names[key_of(path, out)] = source, path
    return dict(names.values())


def is_made_from(path: Path, source: Path) -> bool:
    """Whether a file is there and says that this program made it of ``source``."""
    if not (is_file(path) and is_file(source)):  # of a pipe nothing would be left to read
        return False
    mark = mark_in(path) if path.suffix.lower() in BY_SUFFIX else None
    recorded = mark and source_in(mark)
    try:
        return bool(recorded) and recorded == hash_source(source)
    except OSError:  # said when it is read
        return False


def claimed(source: Source, names: Iterator[Path]) -> Path | None:
    """The first of these names whose file was made of ``source``, as long as there are files."""
    there = itertools.takewhile(is_there, names)
    return next((path for path in there if is_made_from(path, source.path)), None)


def numbered(_: Source, names: Iterator[Path]) -> Path | None:
    """The first of these names."""
    return next(names)


def key_of(path: Path, out: Path | None) -> str:
    """The same for outputs that some file system takes for one: by case, or how an é is made.

    Below ``out`` folders are yet to be made; those of the sources are there.
    """
    path = real(path)
    return folded(str(path)) if out else str(path.with_name(folded(path.name)))


def folded(name: str) -> str:
    """Without the differences that some file systems don't see."""
    decomposed = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", decomposed)


def without_namesakes(names: dict[Source, Path]) -> dict[Source, Path]:
    """Without links to a photo that has the same output already."""
    first: dict[tuple[Path, Path], Source] = {}
    for source, path in names.items():
        first.setdefault((real(source.path), real(path)), source)
    return {source: names[source] for source in first.values()}


def lies_in(source: Source, out: Path | None) -> bool:
    """Whether a picture was found in the folder of results, below the folder that was named."""
    if out is None or source.root is None or real(out) == real(source.root):
        return False
    below = real(out).is_relative_to(real(source.root))
    return below and real(source.path).is_relative_to(real(out))


def refuse_namesakes(names: dict[Source, Path]) -> None:
    """Raise ``UsageError`` when inputs of two folders have one output."""
    taken: dict[Path, Source] = {}
    for source, path in names.items():
        other = taken.setdefault(real(path), source)
        if place_of(other.path).parent != place_of(source.path).parent:
            raise UsageError(
                f"{other.path} and {source.path} would both become {path}; "
                "restore them into different folders"
            )
