"""adacode sr: photos, larger and clean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adacode_cli.cli import options, problems
from adacode_cli.cli.pictures import (
    Operation,
    PictureOptions,
    restore_pictures,
    takes_pictures,
)

if TYPE_CHECKING:
    from adacode_cli.restore.folder import Worker


@problems.explained
@takes_pictures
def sr(
    pictures: PictureOptions,
    scale: Annotated[
        int | None, typer.Option(help="How many times larger; 4 unless --weights say otherwise.")
    ] = None,
    weights: options.Weights = None,
) -> None:
    """Restore photos and enlarge them; the results' paths go to stdout.

    Each result is a PNG named after its photo, NAME_x4.png. Of a folder, the pictures
    directly in it are restored, and those that have a result already are left alone.
    """
    name, times = options.choose_weights("sr", weights, scale)

    def load(device: str) -> Worker:
        from adacode_cli.restore.folder import Worker
        from adacode_cli.restore.picture import restore_picture

        restorer = options.load_restorer(name, "sr", device, pictures.precision)
        return Worker(
            lambda picture, on_tile: restore_picture(restorer, picture, on_tile),
            str(restorer.device),
        )

    restore_pictures(
        pictures,
        Operation(
            name="sr",
            suffix=f"_x{times}",
            weights=name,
            load=load,
            settings={"scale": times},
            resize=lambda size: (times * size[0], times * size[1]),
        ),
    )
