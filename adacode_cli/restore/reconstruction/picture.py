"""A whole Picture to codes and back, and what a file must keep to do it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.picture import Metadata, Picture, Plane
from adacode_cli.restore.reconstruction.codes import Codes, CodesError, CodesFile
from adacode_cli.restore.reconstruction.reconstruct import decode, encode
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import OnTile
from adacode_cli.training.figures import CodeUses

BLOBS = ("icc_profile", "exif", "xmp", "png_colour")


class Reconstructed(NamedTuple):
    """A picture seen through the codes alone, and the codes."""

    picture: Picture
    codes: Codes


def reconstruct_picture(
    restorer: Restorer,
    picture: Picture,
    change: Callable[[Codes], Codes],
    on_tile: OnTile | None = None,
) -> Reconstructed:
    """The colour by codes, as far as ``change`` leaves them; alpha and metadata as they are."""
    rgb = picture.rgb
    if picture.alpha is not None:
        rgb = fill_transparent(rgb, picture.alpha)
    restorer.notes.clear()
    codes = change(encode(restorer, torch.from_numpy(rgb), on_tile))
    restored = decode(restorer, codes, on_tile).numpy()
    picture = picture.noting(*restorer.notes)
    return Reconstructed(picture.with_pixels(restored, picture.alpha), codes)


def code_uses(restorer: Restorer, codes: Codes) -> dict[str, dict[str, float]]:
    """Codebook → the share of its codes in the picture, and their perplexity."""
    books = restorer.model.config.codebooks
    uses = CodeUses(books)
    uses.add(codes.tensors[0])
    told = uses.report()
    return {
        book.name: {
            "usage": round(told[f"usage/{book.name}"], 4),
            "perplexity": round(told[f"perplexity/{book.name}"], 2),
        }
        for book in books
    }


def to_file(codes: Codes, picture: Picture, story: dict[str, Any]) -> CodesFile:
    """Codes with what else the picture is made of; ``story``: by which network."""
    facts = {"gray": picture.gray, "depth": picture.depth, "dpi": picture.metadata.dpi}
    extra: dict[str, NDArray[Any]] = {
        name: np.frombuffer(blob, np.uint8)
        for name in BLOBS
        if (blob := getattr(picture.metadata, name)) is not None
    }
    if picture.transparent:
        extra["alpha"] = picture.samples[..., -1]
    return CodesFile(codes, {**story, **facts}, extra)


def from_file(restorer: Restorer, file: CodesFile, on_tile: OnTile | None = None) -> Picture:
    """The picture of a file of codes. Raises ``CodesError``."""
    restorer.notes.clear()
    picture = as_picture(decode(restorer, file.codes, on_tile).numpy(), file)
    return picture.noting(*restorer.notes)


def as_picture(rgb: Plane, file: CodesFile) -> Picture:
    """Decoded colour with the alpha and metadata of the file. Raises ``CodesError``."""
    story, extra = file.story, file.extra
    depth = 16 if story.get("depth") == 16 else 8
    blobs = {name: extra[name].tobytes() for name in BLOBS if name in extra}
    dpi = as_dpi(story.get("dpi"))
    channels = (1 if story.get("gray") else 3) + ("alpha" in extra)
    samples = np.zeros((*rgb.shape[1:], channels), np.uint16 if depth == 16 else np.uint8)
    blank = Picture(samples, Metadata(dpi=dpi, **blobs))
    alpha = extra.get("alpha")
    if alpha is not None and (alpha.shape != rgb.shape[1:] or alpha.dtype != samples.dtype):
        raise CodesError(f"its alpha {alpha.shape} doesn't go with a picture of {rgb.shape[1:]}")
    planes = None if alpha is None else blank.to_floats(alpha[..., None])[0]
    return blank.with_pixels(rgb, planes)


def as_dpi(value: object) -> tuple[float, float] | None:
    """Two numbers, if that is what a file says."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    across, down = value
    numbers = isinstance(across, int | float) and isinstance(down, int | float)
    return (float(across), float(down)) if numbers else None
