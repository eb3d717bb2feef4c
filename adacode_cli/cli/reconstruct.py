"""adacode reconstruct: to codes and back, the test of the prior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adacode_cli.cli import options, problems
from adacode_cli.cli.beside import Beside, beside
from adacode_cli.cli.pictures import (
    Operation,
    PictureOptions,
    restore_pictures,
    takes_pictures,
)
from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from adacode_cli.images.picture import Picture
    from adacode_cli.restore.folder import Worker
    from adacode_cli.restore.reconstruction.codes import Codes
    from adacode_cli.restore.restorer import Restorer
    from adacode_cli.restore.tiling import OnTile

NPZ = ".npz"
MAPS = ".weights.npz"  # the numbers beside the picture of a weight map


@problems.explained
@takes_pictures
def reconstruct(
    pictures: PictureOptions,
    weight_map: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG",
            help="A picture of which codebook paints where; the maps as .weights.npz, too.",
        ),
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option(metavar="NPZ", help="Keep the codes: this command makes the picture of them."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Let this codebook alone paint; may be repeated."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Switch this codebook off; may be repeated."),
    ] = None,
    weight_bits: Annotated[
        int | None, typer.Option(min=1, max=16, help="Round the weights to so many bits.")
    ] = None,
    weights: options.Weights = None,
) -> None:
    """Turn photos into codes and back, or files of codes (.npz) into pictures.

    Each result is a PNG, NAME_reconstructed.png. For several photos, --weight-map and --codes
    name folders. With --json, each codebook's usage and perplexity, and the bits per pixel.
    """
    from adacode_cli.images.naming import RECONSTRUCTED

    change = Change(frozenset(only or ()), frozenset(without or ()), weight_bits)
    kept = [path for path in pictures.inputs if path.suffix.lower() == NPZ]
    if kept and (len(kept) < len(pictures.inputs) or weight_map or codes or pictures.color_lock):
        raise UsageError(
            "files of codes go alone: without photos, --weight-map, --codes, --color-lock"
        )
    if kept:
        decode_codes(pictures, weights, change)
        return
    name = options.weights_for("reconstruct", weights)
    extras = Extras(
        name,
        beside(pictures, "--weight-map", weight_map, ".png", MAPS),
        beside(pictures, "--codes", codes, NPZ),
    )

    def load(device: str) -> Worker:
        from adacode_cli.restore.folder import Worker
        from adacode_cli.restore.reconstruction.picture import code_uses, reconstruct_picture

        restorer = pictures.restorer(name, "reconstruct", device)
        changed = change.of(restorer)

        def process(picture: Picture, on_tile: OnTile) -> Picture:
            seen = reconstruct_picture(restorer, picture, changed, on_tile)
            extras.write(restorer, picture, seen.codes)
            facts = {
                "codebooks": code_uses(restorer, seen.codes),
                **change.weighs(restorer, seen.codes),
            }
            return replace(seen.picture, facts=facts)

        return Worker(process, str(restorer.device))

    restore_pictures(pictures, Operation("reconstruct", RECONSTRUCTED, name, load, change.settings))


@dataclass(frozen=True)
class Change:
    """What is done to the codes before they become a picture."""

    only: frozenset[str]
    without: frozenset[str]
    weight_bits: int | None

    @property
    def settings(self) -> dict[str, object]:
        """What tells a result from one of the codes as they are."""
        told = {"only": sorted(self.only), "without": sorted(self.without)}
        return {k: v for k, v in {**told, "weight_bits": self.weight_bits}.items() if v}

    def switches(self, names: list[str]) -> list[bool]:
        """Which codebooks stay on. Raises ``UsageError`` if none does, or one isn't there."""
        for name in sorted(self.only | self.without):
            if name not in names:
                raise UsageError(f"no codebook is called {name!r}; there are {', '.join(names)}")
        on = [(not self.only or n in self.only) and n not in self.without for n in names]
        if not any(on):
            raise UsageError("every codebook is switched off; leave one on")
        return on

    def of(self, restorer: Restorer) -> Callable[[Codes], Codes]:
        """The change as a function. Raises ``UsageError`` where it makes no sense."""
        from adacode_cli.restore.reconstruction.bits import round_weights

        on = self.switches([book.name for book in restorer.model.config.codebooks])
        bits = self.weight_bits

        def change(codes: Codes) -> Codes:
            weights = codes.weights if bits is None else round_weights(codes.weights, bits)
            return replace(codes, weights=weights).switched(on)

        return change

    def weighs(self, restorer: Restorer, codes: Codes) -> dict[str, Any]:
        """Bits per pixel of the codebooks that are on, for JSON."""
        from adacode_cli.restore.reconstruction.bits import WHOLE, bits_per_pixel

        books = restorer.model.config.codebooks
        on = self.switches([book.name for book in books])
        used = tuple(book for book, stays in zip(books, on, strict=True) if stays)
        return {"bits_per_pixel": bits_per_pixel(codes, used, self.weight_bits or WHOLE)}


@dataclass(frozen=True)
class Extras:
    """What is kept of a picture besides its reconstruction."""

    weights: str
    maps: Beside
    codes: Beside

    def write(self, restorer: Restorer, picture: Picture, codes: Codes) -> None:
        """The weight map and the codes, where they were asked for."""
        from adacode_cli.evaluation.sheet import save_sheet
        from adacode_cli.evaluation.weight_sheet import weight_sheet
        from adacode_cli.restore.reconstruction.codes import save, save_arrays
        from adacode_cli.restore.reconstruction.picture import to_file

        names = [book.name for book in restorer.model.config.codebooks]
        if sheet := self.maps.place(picture, MAPS):
            arrays = {"weights": codes.weights, "names": as_array(names)}
            save_arrays(sheet.with_suffix(MAPS), arrays, replace=self.maps.force)
            drawn = weight_sheet(picture.rgb, codes.weights, names)
            save_sheet([drawn], sheet, replace=self.maps.force)
        if file := self.codes.place(picture):
            kept = to_file(codes, picture, story_of(self.weights, restorer))
            save(kept, file, replace=self.codes.force)


def as_array(names: list[str]) -> Any:
    """Words as NumPy keeps them without pickling."""
    import numpy as np

    return np.array(names)


def story_of(weights: str, restorer: Restorer) -> dict[str, Any]:
    """By which network, and how precisely."""
    from adacode_cli.images.mark import hash_file
    from adacode_cli.weights import catalogue

    kind = str(restorer.precision).removeprefix("torch.")
    return {
        "weights": weights,
        "sha256": hash_file(catalogue.find(weights)),
        "precision": kind,
    }


def decode_codes(pictures: PictureOptions, weights: str | None, change: Change) -> None:
    """Files of codes become the pictures they were made with. Raises ``UsageError``."""
    from adacode_cli.images.mark import hash_file
    from adacode_cli.images.naming import RECONSTRUCTED
    from adacode_cli.restore.reconstruction import codes
    from adacode_cli.weights import catalogue

    first, story = first_story(pictures.inputs)
    name = weights or str(story.get("weights"))
    try:
        path = catalogue.find(name)
    except FileNotFoundError as error:
        raise UsageError(f"{first}: made by {name}, not found; use --weights") from error
    digest, precision = hash_file(path), as_precision(story, pictures.precision)

    def load(device: str) -> Worker:
        from adacode_cli.restore.folder import Worker
        from adacode_cli.restore.reconstruction.picture import from_file

        restorer = pictures.restorer(name, "reconstruct", device, precision)
        changed = change.of(restorer)

        def process(picture: Picture, on_tile: OnTile) -> Picture:
            assert picture.source is not None
            file = codes.load(picture.source)
            if file.story.get("sha256") != digest:
                made_by = file.story.get("weights")
                raise codes.CodesError(f"{picture.source}: made by other weights ({made_by})")
            made = from_file(restorer, replace(file, codes=changed(file.codes)), on_tile)
            return replace(made, source=picture.source)

        return Worker(process, str(restorer.device))

    restore_pictures(
        pictures,
        Operation(
            "decode", RECONSTRUCTED, name, load, change.settings, decode=outline, timed=False
        ),
    )


def first_story(files: list[Path]) -> tuple[Path, dict[str, Any]]:
    """The first file of codes that can be read, and its story. Raises the last one's error."""
    from adacode_cli.images.picture import PictureError
    from adacode_cli.restore.reconstruction import codes

    for file in files[:-1]:
        try:
            return file, codes.load(file).story
        except (PictureError, codes.CodesError):  # said when it is this one's turn
            continue
    return files[-1], codes.load(files[-1]).story


def as_precision(story: dict[str, Any], wanted: str) -> str:
    """What was computed with then, unless the user wants something else."""
    short = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
    return short.get(str(story.get("precision")), wanted) if wanted == "auto" else wanted


def outline(data: bytes, name: str, max_pixels: int) -> Picture:
    """A black picture of the size that the codes stand for. Raises ``PictureError``."""
    import io

    import numpy as np

    from adacode_cli.images.picture import Picture, PictureError
    from adacode_cli.restore.reconstruction.codes import read

    width, height = read(io.BytesIO(data), name).codes.size
    if width * height > max_pixels:
        raise PictureError(f"{name}: {width}×{height} pixels; --max-pixels allows more")
    return Picture(np.broadcast_to(np.zeros(1, np.uint8), (height, width, 1)))
