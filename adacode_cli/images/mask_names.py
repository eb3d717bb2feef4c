"""Which file of a folder of masks is a photo's: by its place in the tree, else by its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from adacode_cli.images.folders import is_folder, reason
from adacode_cli.images.formats import SUFFIXES
from adacode_cli.images.naming import Source, real
from adacode_cli.images.picture import PictureError


class MaskNames:
    """The photos of a run, by which masks are told apart that have one name."""

    def __init__(self, photos: Sequence[Source] = ()) -> None:
        self.below = {s.path: s.path.parent.relative_to(s.root) for s in photos if s.root}
        # Where the photos are that a place in the folder of masks, or a name alone, may mean.
        self.meant: dict[Path | str, set[Path]] = defaultdict(set)
        for source in photos:
            folder, stem = real(source.path.parent), source.path.stem
            for key in (self.below.get(source.path, Path()) / stem, stem):
                self.meant[key].add(folder)
        self.read: dict[Path, dict[str, list[Path]]] = {}  # folder → stem → its masks

    def find(self, photo: Path, given: Path) -> Path:
        """The mask's file: ``given``, or in that folder the one with the photo's name.

        masks/sub/x.* belongs to photos/sub/x.png; masks/x.* does where no other folder has an
        x. Raises ``PictureError`` when there is none, or several.
        """
        if not is_folder(given):
            return given
        below = self.below.get(photo, Path())
        if mask := self.the_one(photo, given / below):
            self.refuse_shared(photo, mask, below / photo.stem, "restore one after the other")
            return mask
        if below.parts and (mask := self.the_one(photo, given)):
            self.refuse_shared(photo, mask, photo.stem, f"put its own into {given / below}")
            return mask
        names = f"{below.as_posix()}/{photo.stem}.* or " if below.parts else ""
        raise PictureError(f"{photo}: no mask named {names}{photo.stem}.* in {given}")

    def refuse_shared(self, photo: Path, mask: Path, key: Path | str, remedy: str) -> None:
        """Raise ``PictureError`` where a mask may be meant for photos of several folders."""
        if len(self.meant.get(key, ())) > 1:
            raise PictureError(f"{photo}: {mask} may be any {photo.stem}'s mask; {remedy}")

    def the_one(self, photo: Path, folder: Path) -> Path | None:
        """The mask of its name in a folder, if there is one.

        Raises ``PictureError`` for several, and where one may not look.
        """
        if folder not in self.read:
            self.read[folder] = masks_in(folder)
        same = self.read[folder].get(photo.stem, [])
        exact = [path for path in same if path.name == photo.name]
        if len(exact or same) > 1:
            raise PictureError(f"{photo}: several masks named {photo.stem}.* in {folder}")
        return next(iter(exact or same), None)


def masks_in(folder: Path) -> dict[str, list[Path]]:
    """Stem → the masks of this name in a folder. Raises ``PictureError`` if it can't be read."""
    found: dict[str, list[Path]] = defaultdict(list)
    try:
        for path in folder.iterdir() if is_folder(folder) else ():
            if path.suffix.lower() in SUFFIXES:
                found[path.stem].append(path)
    except OSError as error:
        raise PictureError(f"{folder}: the folder of masks {reason(error)}") from error
    return found
