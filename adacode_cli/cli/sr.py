"""adacode sr: photos, larger and clean."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adacode_cli.cli import options, problems
from adacode_cli.cli.beside import beside
from adacode_cli.cli.pictures import (
    Operation,
    PictureOptions,
    restore_pictures,
    takes_pictures,
)
from adacode_cli.errors import UsageError

if TYPE_CHECKING:
    from adacode_cli.images.picture import Picture, PictureInBands
    from adacode_cli.images.wanted_size import WantedSize
    from adacode_cli.restore.folder import Worker
    from adacode_cli.restore.tiling import OnTile

SIZE = "Size"
LARGE_ENOUGH = "is large enough already"


class IfLarger(str, Enum):
    """What becomes of a photo that has the wanted size already."""

    copy = "copy"
    skip = "skip"


@problems.explained
@takes_pictures
def sr(
    pictures: PictureOptions,
    scale: Annotated[
        float | None,
        typer.Option(help="How many times larger, such as 1.5 or 8; else the model's own, 4."),
    ] = None,
    width: Annotated[
        int | None, typer.Option(metavar="PX", help="Of the result.", rich_help_panel=SIZE)
    ] = None,
    height: Annotated[
        int | None, typer.Option(metavar="PX", help="Of the result.", rich_help_panel=SIZE)
    ] = None,
    long_edge: Annotated[
        int | None, typer.Option(metavar="PX", help="Of the result.", rich_help_panel=SIZE)
    ] = None,
    short_edge: Annotated[
        int | None, typer.Option(metavar="PX", help="Of the result.", rich_help_panel=SIZE)
    ] = None,
    megapixels: Annotated[
        float | None, typer.Option(metavar="MP", help="Of the result.", rich_help_panel=SIZE)
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="As large as fits in there, such as 1920x1080.",
            rich_help_panel=SIZE,
        ),
    ] = None,
    if_larger: Annotated[
        IfLarger,
        typer.Option(help="What to do with a photo that is large enough.", rich_help_panel=SIZE),
    ] = IfLarger.copy,
    fidelity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="From sharp (0, as without it) to faithful (1); bundled models only.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="A sheet of before and after; for several, a folder."),
    ] = None,
    weights: options.Weights = None,
) -> None:
    """Restore photos and enlarge them; the results' paths go to stdout.

    Each result is a PNG named after its photo, NAME_x4.png. Of a folder, the pictures
    directly in it are restored, and those that have a result already are left alone.
    """
    from adacode_cli.images.wanted_size import WantedSize, parse_fit
    from adacode_cli.weights import catalogue
    from adacode_cli.weights.between import between

    box = parse_fit(fit) if fit is not None else None
    wish = (scale, width, height, long_edge, short_edge, megapixels, box)
    asked = any(value is not None for value in wish)
    name, wanted = choose(pictures, weights, WantedSize(*wish) if asked else None)
    if fidelity is not None:
        name = str(between(name, fidelity, catalogue.BUNDLED))  # as --weights takes it
    sheets = beside(pictures, "--compare", compare, ".png")

    def load(device: str) -> Worker:
        from adacode_cli.restore.folder import LeftAlone, Worker
        from adacode_cli.restore.picture import enlarge_picture

        restorer = pictures.restorer(name, "sr", device)

        def process(picture: Picture, on_tile: OnTile) -> Picture | PictureInBands:
            if wanted.size_for(picture.size) == picture.size:
                if if_larger is IfLarger.skip:
                    raise LeftAlone(LARGE_ENOUGH)
                return picture.noting(f"{LARGE_ENOUGH}: copied as it is")
            sheet = sheets.place(picture)
            restored = enlarge_picture(restorer, picture, wanted, on_tile)
            return compared(picture, restored, sheet, replace=pictures.force) if sheet else restored

        return Worker(process, str(restorer.device))

    restore_pictures(
        pictures,
        Operation(
            name="sr",
            suffix=wanted.suffix,
            weights=name,
            load=load,
            settings={"size": wanted.told()},
            resize=wanted.size_for,
            timed=wanted.scale is not None,
        ),
    )


def compared(
    picture: Picture, restored: Picture | PictureInBands, sheet: Path, *, replace: bool
) -> Picture:
    """``restored``, all of it, after the two were saved side by side as ``sheet``."""
    from adacode_cli.evaluation.before_after import before_after
    from adacode_cli.evaluation.sheet import save_sheet
    from adacode_cli.images.picture import whole

    restored = whole(restored)
    save_sheet(before_after(picture, restored), sheet, replace=replace)
    return restored


def choose(
    pictures: PictureOptions, weights: str | None, wanted: WantedSize | None
) -> tuple[str, WantedSize]:
    """The weights' name, and the size: what was asked for, else the model's own scale.

    Without a name it is the bundled model nearest above the magnification; where several
    pictures need several, the largest. Raises ``UsageError``, ``WeightsError``, or
    ``ValueError`` for weights of another task.
    """
    from adacode_cli.images.wanted_size import WantedSize, scale_for
    from adacode_cli.weights import catalogue

    problems.show_logs()
    if weights is not None:
        return weights, wanted or own_size(weights)
    scales = [model.scale for model in catalogue.BUNDLED.values() if model.task == "sr"]
    if not scales:
        raise UsageError("no bundled model can sr; use --weights FILE, or official-x4")
    wanted = wanted or WantedSize(scale=max(scales))
    scale = scale_for(factor_of(pictures, wanted), scales)
    name = catalogue.default_for("sr", scale)
    assert name is not None
    return name, wanted


def own_size(weights: str) -> WantedSize:
    """The weights' own scale as a size. Raises ``ValueError`` for those of another task."""
    from adacode_cli.images.wanted_size import WantedSize
    from adacode_cli.weights import catalogue

    found = catalogue.what_for(weights)
    options.check_task(weights, found.task, "sr")  # whose scale, 1, isn't a size to ask for
    return WantedSize(scale=found.scale)


def factor_of(pictures: PictureOptions, wanted: WantedSize) -> float:
    """How many times larger it is to be; for several pictures of any size, without bound."""
    import math

    from adacode_cli.images.folders import is_file
    from adacode_cli.images.picture import PictureError
    from adacode_cli.images.read import read_size

    if wanted.scale is not None:
        return wanted.scale
    only = pictures.inputs[0]
    if len(pictures.inputs) > 1 or not is_file(only):
        return math.inf
    try:
        return wanted.factor(read_size(only))
    except (PictureError, OSError):
        return math.inf  # the plan will say what is wrong with it
