"""adacode inpaint: holes filled, the rest untouched."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adacode_cli.cli import options, problems
from adacode_cli.cli.pictures import (
    Operation,
    PictureOptions,
    restore_pictures,
    takes_pictures,
)
from adacode_cli.errors import UsageError
from adacode_cli.restore.inpainting.choice import DEFAULT, Texture

if TYPE_CHECKING:
    from adacode_cli.images.mask_names import MaskNames
    from adacode_cli.images.masks import MaskChoice, MaskFiles
    from adacode_cli.images.picture import Picture
    from adacode_cli.restore.folder import Worker
    from adacode_cli.restore.tiling import OnTile

THROUGH_CODEC = (
    "the pixels that were known went through the codec of {}; png keeps them as they are"
)


@problems.explained
@takes_pictures
def inpaint(
    pictures: PictureOptions,
    mask: Annotated[
        str | None,
        typer.Option(help="A picture, not black where the holes are; a folder of them; or alpha."),
    ] = None,
    mask_color: Annotated[
        str | None,
        typer.Option(help="Colour of the holes in the photo: '#ff00ff'. In a JPEG, with --grow 3."),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Fill all but the mask.")] = False,
    grow: Annotated[
        int,
        typer.Option(
            min=0, metavar="PX", help="Make the holes larger; a few pixels help at soft edges."
        ),
    ] = 0,
    feather: Annotated[
        int,
        typer.Option(
            min=0, metavar="PX", help="Mix in what was there over so many pixels from the rim."
        ),
    ] = 0,
    resize_mask: Annotated[
        bool, typer.Option("--resize-mask", help="Accept a mask of another size.")
    ] = False,
    texture: Annotated[
        Texture,
        typer.Option(
            help="Pieces of the photo where the network draws too little texture: all (sharpest), "
            "some (softer, nearer to what was there), none."
        ),
    ] = DEFAULT,
    weights: options.Weights = None,
) -> None:
    """Fill holes in photos: scratches, stamps, people who don't belong there.

    Every pixel outside the mask comes out bit for bit as it went in. Each result is a PNG
    named after its photo, NAME_inpainted.png.
    """
    from adacode_cli.images.masks import MaskChoice, MaskFiles, parse_color
    from adacode_cli.images.naming import INPAINTED

    if pictures.color_lock:
        raise UsageError("--color-lock would change known pixels; inpaint leaves them alone")
    color = parse_color(mask_color) if mask_color else None
    choice = MaskChoice(mask, color, invert, grow, feather, resize_mask)
    files = MaskFiles(options.pixels(pictures.max_pixels), names_of_masks(pictures, choice))
    name = options.weights_for("inpaint", weights)

    def load(device: str) -> Worker:
        from adacode_cli.restore.folder import Worker
        from adacode_cli.restore.inpainting.picture import inpaint_picture

        restorer = pictures.restorer(name, "inpaint", device)

        def process(picture: Picture, on_tile: OnTile) -> Picture:
            filled = inpaint_picture(
                restorer, picture, choice, on_tile, texture=texture, files=files
            )
            return filled.noting(*codec_note(pictures, picture))

        return Worker(process, str(restorer.device))

    settings = {**asdict(choice), "mask": None, "texture": texture.value}
    beside = contents_of_masks(choice, files)
    restore_pictures(
        pictures, Operation("inpaint", INPAINTED, name, load, settings, beside, timed=False)
    )


def names_of_masks(given: PictureOptions, choice: MaskChoice) -> MaskNames:
    """What tells which mask of a folder is whose."""
    from adacode_cli.images.folders import is_folder
    from adacode_cli.images.mask_names import MaskNames
    from adacode_cli.images.naming import STREAM, find

    if choice.mask is None or not is_folder(Path(choice.mask)):
        return MaskNames()
    if STREAM in given.inputs:
        raise UsageError(f"--mask {choice.mask}: standard input has no name; give the mask's file")
    return MaskNames(find(given.inputs, given.choice))


def contents_of_masks(choice: MaskChoice, files: MaskFiles) -> Callable[[Path], str | None]:
    """What tells a photo's mask from another under the same name; each file is read once."""
    from adacode_cli.images.masks import ALPHA
    from adacode_cli.images.picture import PictureError

    @functools.cache
    def hash_once(path: Path) -> str:
        return hashlib.sha256(files.content(path)).hexdigest()

    def content(photo: Path) -> str | None:
        if choice.mask in (None, ALPHA):
            return choice.mask
        try:
            return hash_once(files.names.find(photo, Path(str(choice.mask))))
        except PictureError:  # said when it is this photo's turn
            return None

    return content


def codec_note(given: PictureOptions, picture: Picture) -> list[str]:
    """A line where the file that is written can't hold pixels as they are."""
    from adacode_cli.images.formats import BY_NAME, format_named, format_of
    from adacode_cli.images.naming import is_file_name

    if given.out is not None and is_file_name(given.out):
        form = format_of(given.out)
    elif given.format == "same" and picture.source is not None and picture.source.suffix:
        form = format_of(picture.source)
    else:
        form = format_named("png" if given.format in (None, "same") else str(given.format))
    loses = form.quality is not None or form == BY_NAME["GIF"]
    return [THROUGH_CODEC.format(form.name)] if loses and not given.lossless else []
