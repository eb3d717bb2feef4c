"""Which result is which photo's: by its place in the tree, and by its name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from adacode_cli.images.naming import ENDING, NUMBER, fitting, unreserved


class Results:
    """Pictures in a folder, each of which may be called as the results of this program are."""

    def __init__(self, folder: Path, pictures: list[Path]) -> None:
        self.folder = folder
        self.named: dict[str, list[Path]] = defaultdict(list)
        self.numbered: dict[str, list[Path]] = defaultdict(list)  # by their names without it
        endings: dict[tuple[str, str], int] = {}  # what follows a photo's stem → parts of it
        for path in pictures:
            self.named[path.name].append(path)
            if (plain := NUMBER.sub(r"\1", path.name)) != path.name:
                self.numbered[plain].append(path)
            endings.update(
                {(tail, path.suffix): count for count, tail in enumerate(tails(path.stem))}
            )
        self.endings = [(count, tail + suffix) for (tail, suffix), count in endings.items()]

    def of(self, photo: Path, below: Path, *, alone: bool) -> Path:
        """The result of a photo that lies in the folder ``below`` that of all photos.

        alone: whether no photo in another folder has its name. Raises ``ValueError`` where
        there is none, or more than one that it might be.
        """
        found = self.called_after(photo)
        near = [each for each in found if each[1].parent == self.folder / below]
        best = [path for rank, path in near or found if rank == min(near or found)[0]]
        if not best:
            raise ValueError(f"{photo}: no picture of this name in {self.folder}")
        if len(best) > 1:
            names = ", ".join(sorted(p.relative_to(self.folder).as_posix() for p in best))
            raise ValueError(f"{photo}: several pictures in {self.folder} may be it: {names}")
        if not near and not alone:
            raise ValueError(
                f"{photo}: {best[0]} may be any {photo.stem}'s result; give them the photos' tree"
            )
        return best[0]

    def called_after(self, photo: Path) -> list[tuple[tuple[int, int, int], Path]]:
        """Pictures called as a photo's results are; the smaller the numbers, the more likely."""
        stems = (photo.stem, f"{photo.stem}_{photo.suffix[1:]}")
        return [
            ((numbered, count, extended), path)
            for numbered, named in enumerate((self.named, self.numbered))
            for count, ending in self.endings
            for extended, stem in enumerate(stems)
            for path in named.get(unreserved(fitting(stem, ending)), ())
        ]


def tails(stem: str) -> list[str]:
    """What this program may have added to a name: nothing, its last part, its last two …"""
    found = [""]
    while match := ENDING.search(stem):
        stem = stem[: match.start()]
        found.append(match[0] + found[-1])
    return found


def pairs(
    pictures: Path, results: list[Path], reference: Path, photos: list[Path]
) -> Iterator[tuple[Path, Path | ValueError]]:
    """Each photo and its result, or why there is none; of two files, these two.

    pictures and reference: the folders that were named, or the one file each.
    """
    if pictures.is_file() and reference.is_file():
        yield reference, pictures
        return
    found = Results(pictures.parent if pictures.is_file() else pictures, results)
    root = reference.parent if reference.is_file() else reference
    folders = Counter(stem for stem, _ in {(p.stem, p.parent) for p in photos})
    known = 0
    for path in photos:
        below = path.parent.relative_to(root)
        try:
            yield path, found.of(path, below, alone=folders[path.stem] == 1)
            known += 1
        except ValueError as error:
            if not pictures.is_file():
                yield path, error
    if pictures.is_file() and not known:
        yield pictures, ValueError(f"{pictures}: no photo in {root} has a result of this name")
