"""Files that a command writes beside its results: sheets, maps, codes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from adacode_cli.cli.pictures import PictureOptions
    from adacode_cli.images.picture import Picture


@dataclass(frozen=True)
class Beside:
    """Where the file beside each picture's result goes; ``taken``: by pictures of this run."""

    option: str
    places: dict[Path, Path]
    force: bool
    taken: set[Path] = field(default_factory=set)

    def place(self, picture: Picture, *more: str) -> Path | None:
        """The file for a picture, once: an animation's first frame has it.

        more: other suffixes under which nothing may be, either. Raises ``UsageError``.
        """
        path = self.places.get(picture.source) if picture.source else None
        if path is None or path in self.taken:
            return None
        for file in (path, *(path.with_suffix(suffix) for suffix in more)):
            if os.path.lexists(file) and not self.force:
                raise UsageError(f"{file}: exists already; use --force to overwrite it")
        self.taken.add(path)
        return path


def beside(
    given: PictureOptions, option: str, where: Path | None, suffix: str, longest: str = ""
) -> Beside:
    """One file as named for one picture; for several a folder, each named after its picture.

    longest: what a name must have room for, if another file has it with a longer suffix.
    Raises ``UsageError``.
    """
    from adacode_cli.images.folders import is_folder
    from adacode_cli.images.naming import find, real
    from adacode_cli.images.outputs import name_outputs

    if where is None:
        return Beside(option, {}, given.force)
    sources = find(given.inputs, given.choice)
    if where.suffix.lower() == suffix and not is_folder(where):
        if len(sources) > 1:
            raise UsageError(
                f"{option} {where} is one file for {len(sources)} pictures; name a folder"
            )
        if not is_folder(where.absolute().parent):
            raise UsageError(f"{option} {where}: its folder is missing")
        places = {source.path: where for source in sources}
    elif where.suffix and not is_folder(where):
        raise UsageError(f"{option} {where}: its name must end in {suffix}, or be a folder's")
    else:
        if suffix == ".png" and any(real(s.path.parent) == real(where) for s in sources):
            raise UsageError(f"{option} {where}: the photos are there; name another folder")
        ending = longest or suffix
        named = name_outputs(sources, where, "", ending)
        places = {
            s.path: p.with_name(p.name.removesuffix(ending) + suffix) for s, p in named.items()
        }
    refuse_overwriting(places, given.out, f"{option} {where}")
    return Beside(option, places, given.force)


def refuse_overwriting(places: dict[Path, Path], out: Path | None, what: str) -> None:
    """Raise ``UsageError`` where a photo, or its result, would be overwritten."""
    from adacode_cli.images.naming import real

    taken = {real(path) for path in (*places, *([out] if out else []))}
    if any(real(path) in taken for path in places.values()):
        raise UsageError(f"{what}: would overwrite a photo or its result; name another place")
