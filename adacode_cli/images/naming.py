"""Which files are meant, and what a result is called."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from adacode_cli.images.folders import (
    Inside,
    has_photo_name,
    is_file,
    is_folder,
    is_there,
    left_out,
)
from adacode_cli.images.formats import BY_SUFFIX, SUFFIXES, add_plugin, format_of
from adacode_cli.images.metadata import read_mark
from adacode_cli.images.picture import PictureError
from adacode_cli.images.wanted_size import SUFFIX

STREAM = Path("-")  # standard input, or standard output
INPAINTED, RECONSTRUCTED = "_inpainted", "_reconstructed"
ENDING = re.compile(rf"({SUFFIX}|{INPAINTED}|{RECONSTRUCTED})$")  # of a result's stem
NUMBER = re.compile(rf"-\d+(({SUFFIX}|{INPAINTED}|{RECONSTRUCTED})\.[^.]*)$")  # of a name
LONGEST = 255  # bytes in a name on every usual file system
ADDED = 64  # bytes, and more than that no result has that its photo hasn't
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
class Found:
    """What a word of the command line means, and what can't be told of it."""

    sources: list[Source]
    closed: dict[Source, str] = field(default_factory=dict)  # folders that can't be read, and why
    notes: list[str] = field(default_factory=list)  # what was left out and a person should know


@dataclass(frozen=True)
class Choice:
    """Which files of a folder are meant. The patterns are for names or relative paths.

    Upper and lower case are the same in them.
    """

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def of(self, found: list[Source]) -> list[Source]:
        """Those that are meant. Earlier results are not, unless their photos aren't, either."""
        wanted = [source for source in found if self.includes(source)]
        results = earlier_results([source.path for source in wanted])
        return [s for s in wanted if s.path not in results and not matches(s, self.exclude)]

    def inside(self, folder: Path) -> Found:
        """What is meant of a folder. One in it that ``exclude`` leaves out as a whole isn't."""
        inside = Inside(self.recursive)
        inside.look(folder)
        closed = {
            Source(path, folder): why
            for path, why in sorted(inside.closed.items())
            if path == folder or not matches(Source(path / "*", folder), self.exclude)
        }
        photos = [Source(photo, folder) for photo in sorted(inside.photos)]
        dead = [link for link in inside.dead_links if self.takes(Source(link, folder))]
        notes = [
            *left_out(dead, "a link that leads nowhere", "links that lead nowhere"),
            *left_out(inside.linked_folders, "a link to a folder", "links to folders"),
        ]
        return Found(self.of(photos), closed, notes)

    def includes(self, source: Source) -> bool:
        """Whether a found file is asked for."""
        return not self.include or matches(source, self.include)

    def takes(self, source: Source) -> bool:
        """Whether the patterns let a found file pass."""
        return self.includes(source) and not matches(source, self.exclude)


def matches(source: Source, patterns: Sequence[str]) -> bool:
    """Whether the name of a found file, or its path in the folder, fits any shell pattern."""
    assert source.root is not None
    names = (source.path.name, source.path.relative_to(source.root).as_posix())
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)


def find(inputs: Sequence[Path], choice: Choice | None = None) -> list[Source]:
    """Files as named; of folders and patterns, the pictures in them, sorted. Each path once."""
    choice = choice or Choice()
    return once(source for path in inputs for source in find_one(path, choice).sources)


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


def find_one(path: Path, choice: Choice) -> Found:
    """What one word of the command line means; a pattern that nothing fits, itself."""
    if path == STREAM:
        return Found([Source(path)])
    if is_folder(path):
        return choice.inside(path)
    if is_pattern(path):
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207
        photos = sorted(photo for photo in map(Path, names) if is_photo(photo))
        if photos:
            return Found(choice.of([Source(photo, photo.parent) for photo in photos]))
    return Found([Source(path)])


def is_pattern(path: Path) -> bool:
    """Whether it stands for other names: it has a pattern's characters, and nothing its name."""
    return glob.has_magic(str(path)) and not is_there(path)


def is_photo(path: Path) -> bool:
    """A file with a picture's suffix, and not hidden."""
    return has_photo_name(path) and is_file(path)


def earlier_results(photos: list[Path]) -> set[Path]:
    """Those that this program made of another one of them, wherever they lie, however made.

    A file is opened only where its name says so. One that can't say who made it goes by its
    name, beside its photo alone.
    """
    lie: dict[str, set[Path]] = defaultdict(set)  # a photo's stem in its results' names → where
    for photo in photos:
        for extension in (False, True):
            name = output_path(Source(photo), None, "_", ".png", extension=extension)
            lie[name.stem.removesuffix("_")].add(photo.parent)
    cut = [photo for photo in photos if len(os.fsencode(photo.name)) > LONGEST - ADDED]
    return {path for path in photos if is_result(path, folders_of_photo(path, lie, cut))}


def is_result(path: Path, folders: set[Path]) -> bool:
    """Whether a file is a result, as it says, or as its photo in the same folder does."""
    if not folders:
        return False
    return mark_in(path) is not None if format_of(path).marked else path.parent in folders


def folders_of_photo(path: Path, lie: dict[str, set[Path]], cut: list[Path]) -> set[Path]:
    """Where the photos are whose results may be called so; ``cut``: those with long names."""
    ending = ENDING.search(path.stem)
    if not ending:
        return set()
    names = {path.name, NUMBER.sub(r"\1", path.name)}
    found = [lie.get(name.removesuffix(ending[0] + path.suffix), set()) for name in names]
    if len(os.fsencode(path.name)) > LONGEST - ADDED:
        found += [{p.parent} for p in cut if names & names_of_results(p, ending[0], path.suffix)]
    return set().union(*found)


def names_of_results(photo: Path, suffix: str, form: str) -> set[str]:
    """What its results may be called."""
    return {
        output_path(Source(photo), None, suffix, form, extension=extension).name
        for extension in (False, True)
    }


def mark_in(path: Path) -> str | None:
    """What a file says about how this program made it, if it did."""
    try:
        add_plugin(format_of(path), str(path))
    except PictureError:  # said when it is read
        return None
    return read_mark(path)


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
    return out.suffix.lower() in SUFFIXES and not isinstance(out, Folder) and not is_folder(out)
