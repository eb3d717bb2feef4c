"""Which files are meant, and what a result is called."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from adacode_cli.images.formats import BY_SUFFIX, SUFFIXES, add_plugin, format_of
from adacode_cli.images.metadata import read_mark
from adacode_cli.images.picture import PictureError
from adacode_cli.images.wanted_size import SUFFIX

STREAM = Path("-")  # standard input, or standard output
INPAINTED, RECONSTRUCTED = "_inpainted", "_reconstructed"
ENDING = re.compile(rf"({SUFFIX}|{INPAINTED}|{RECONSTRUCTED})$")  # of a result's stem
NUMBER = re.compile(rf"-\d+(({SUFFIX}|{INPAINTED}|{RECONSTRUCTED})\.[^.]*)$")  # of a name
LONGEST = 255  # bytes in a name on every usual file system
# Windows opens devices by these names, whatever follows after a dot.
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE)


class Folder(type(Path())):  # type: ignore[misc]
    """A path that was written with a slash at its end, which says what it is to be."""


@dataclass(frozen=True)
class Source:
    """An input, and the folder it was found in; None if the user named it."""

    path: Path
    root: Path | None = None

    @property
    def found(self) -> bool:
        """Whether it was found in a folder or by a pattern."""
        return self.root is not None


@dataclass(frozen=True)
class Choice:
    """Which files of a folder are meant. The patterns are for names or relative paths."""

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def of(self, found: list[Source]) -> list[Source]:
        """Those that are meant. Earlier results are not, unless their photos aren't, either."""
        wanted = [s for s in found if not self.include or matches(s, self.include)]
        results = earlier_results([source.path for source in wanted])
        return [s for s in wanted if s.path not in results and not matches(s, self.exclude)]


def matches(source: Source, patterns: Sequence[str]) -> bool:
    """Whether the name of a found file, or its path in the folder, fits any shell pattern."""
    assert source.root is not None
    names = (source.path.name, source.path.relative_to(source.root).as_posix())
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def find(inputs: Sequence[Path], choice: Choice | None = None) -> list[Source]:
    """Files as named; of folders and patterns, the pictures in them, sorted. Each path once."""
    return once(source for path in inputs for source in find_one(path, choice or Choice()))


def once(sources: Iterable[Source]) -> list[Source]:
    """The same without what was there before under the same path."""
    first: dict[Path, Source] = {}
    for source in sources:
        first.setdefault(place_of(source.path), source)
    return list(first.values())


def real(path: Path) -> Path:
    """Without links. One that leads to itself stays: ``resolve`` raises before Python 3.13."""
    return Path(os.path.realpath(path))


def place_of(path: Path) -> Path:
    """The same for every way to write a path. A link keeps its name: its result has it, too."""
    return real(path.parent) / path.name


def find_one(path: Path, choice: Choice) -> list[Source]:
    """What one word of the command line means; a pattern that nothing fits, itself."""
    if path == STREAM:
        return [Source(path)]
    if path.is_dir():
        inside = path.rglob("*") if choice.recursive else path.iterdir()
        photos = sorted(photo for photo in inside if is_photo(photo) and not hidden(photo, path))
        return choice.of([Source(photo, path) for photo in photos])
    if is_pattern(path):
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207
        photos = sorted(photo for photo in map(Path, names) if is_photo(photo))
        if photos:
            return choice.of([Source(photo, photo.parent) for photo in photos])
    return [Source(path)]


def is_pattern(path: Path) -> bool:
    """Whether it stands for other names: it has a pattern's characters, and nothing its name."""
    return glob.has_magic(str(path)) and not path.exists()


def is_photo(path: Path) -> bool:
    """A file with a picture's suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def hidden(path: Path, root: Path) -> bool:
    """Whether a folder between ``root`` and the file is hidden."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def earlier_results(photos: list[Path]) -> set[Path]:
    """Those that this program made of another one of them, wherever they lie, however made.

    A file is opened only where its name says so.
    """
    named = defaultdict(list)
    for photo in photos:
        if ending := ENDING.search(photo.stem):
            named[ending[0], photo.suffix].append(photo)
    return {
        path
        for (suffix, form), paths in named.items()
        for names in [names_of_results(photos, suffix, form)]
        for path in paths
        if names & {path.name, NUMBER.sub(r"\1", path.name)} and made_here(path)
    }


def names_of_results(photos: list[Path], suffix: str, form: str) -> set[str]:
    """What their results may be called."""
    return {
        output_path(Source(photo), None, suffix, form, extension=extension).name
        for photo in photos
        for extension in (False, True)
    }


def made_here(path: Path) -> bool:
    """Whether a file says that this program made it; one that can't say goes by its name."""
    form = format_of(path)
    if not form.marked:
        return True
    try:
        add_plugin(form, str(path))
    except PictureError:  # said when it is read
        return False
    return read_mark(path) is not None


def output_path(
    source: Source,
    out: Path | None,
    suffix: str,
    form: str,
    *,
    extension: bool = False,
    number: int = 1,
) -> Path:
    """photo.jpg → photo_x4.png; photo_jpg_x4.png with its extension; photo_jpg-2_x4.png."""
    path = source.path
    if path == STREAM:
        return STREAM if out is None else out / f"stdin{suffix}{form}"
    folder = path.parent
    if out is not None:
        below = path.parent.relative_to(source.root) if source.root else Path()
        folder = out.joinpath(*(unreserved(part) for part in below.parts))
    stem = f"{path.stem}_{path.suffix[1:]}" if extension else path.stem
    stem += f"-{number}" if number > 1 else ""
    own = path.suffix.lower() if path.suffix.lower() in BY_SUFFIX else ".png"
    return folder / unreserved(fitting(stem, suffix + (own if form == "same" else form)))


def unreserved(name: str) -> str:
    """A name that is a plain file's on Windows, too."""
    return f"_{name}" if RESERVED.match(name) else name


def fitting(stem: str, ending: str) -> str:
    """``stem + ending``; a stem that makes it too long is cut, and told from its like."""
    room = LONGEST - 1 - len(ending.encode())
    raw = stem.encode("utf-8", "surrogateescape")
    if len(raw) <= room:
        return stem + ending
    digest = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: room - 9].decode("utf-8", "ignore") + "-" + digest + ending


def as_written(word: str) -> Path:
    """A path of the command line, a ``Folder`` if it ends in a slash."""
    return Folder(word) if word.endswith(tuple(filter(None, (os.sep, os.altsep)))) else Path(word)


def is_file_name(out: Path) -> bool:
    """Whether ``-o`` names a file: a picture's suffix, no slash behind, and no folder there."""
    return out.suffix.lower() in SUFFIXES and not isinstance(out, Folder) and not out.is_dir()
