"""Where a photo has holes: by a mask beside it, its transparency, or a colour painted in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adacode_cli.errors import EMPTY, UsageError
from adacode_cli.images.folders import is_missing
from adacode_cli.images.mask_names import MaskNames
from adacode_cli.images.picture import Picture, PictureError, Plane
from adacode_cli.images.read import MAX_PIXELS, decode, load

Mask = NDArray[np.bool_]
ALPHA = "alpha"
# How far a sample may be from the painted colour, and a lossy one from 0: they ring around edges.
SLACK, LOSSY_SLACK = 1 / 255, 48 / 255


@dataclass(frozen=True)
class MaskChoice:
    """What the user calls a hole.

    mask: a picture, a folder of them, or 'alpha'. color: (R, G, B) of 255, painted into the
    photo; one of the two is None. grow and feather are pixels.
    """

    mask: str | None = None
    color: tuple[int, int, int] | None = None
    invert: bool = False
    grow: int = 0
    feather: int = 0
    resize: bool = False

    def __post_init__(self) -> None:
        if self.mask is not None and self.color is not None:
            raise UsageError("--mask and --mask-color exclude each other")
        if self.mask is None and self.color is None:
            raise UsageError(
                "where are the holes? give --mask FILE, FOLDER or alpha, or --mask-color"
            )
        if self.feather and self.color is not None:
            raise UsageError("--feather mixes in what was in the hole: with --mask-color, paint")
        if self.mask == "":
            raise UsageError(f"--mask: {EMPTY}")
        if self.mask not in (None, ALPHA) and is_missing(Path(str(self.mask))):
            raise UsageError(
                f"--mask {self.mask}: no such file or folder; write alpha for "
                "what is transparent, --mask-color for a colour"
            )


@dataclass(frozen=True)
class MaskFiles:
    """How masks are found and read. A pipe gives its bytes once, so they are kept."""

    max_pixels: int = MAX_PIXELS
    names: MaskNames = field(default_factory=MaskNames)
    piped: dict[Path, bytes] = field(default_factory=dict)

    def content(self, path: Path) -> bytes:
        """The bytes of a mask, as often as they are asked for. Raises ``PictureError``."""
        if path.is_file() or not path.exists():
            return load(path)
        if path not in self.piped:
            self.piped[path] = load(path)
        return self.piped[path]

    def mask(self, path: Path) -> Mask:
        """Where a mask's picture isn't black, nor transparent. Raises ``PictureError``."""
        return mask_in(self.content(path), str(path), self.max_pixels)


def parse_color(text: str) -> tuple[int, int, int]:
    """'#ff00ff', '#f0f' or a name as RGB. Raises ``UsageError``."""
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise UsageError(f"--mask-color {text}: no colour; write '#ff00ff'") from error


def holes_in(picture: Picture, choice: MaskChoice, files: MaskFiles) -> Mask:
    """The pixels (H, W) to be filled. Raises ``PictureError`` where there is no fitting mask."""
    if choice.color is not None:
        mask = painted(picture, choice.color)
    elif choice.mask == ALPHA:
        mask = see_through(picture)
    else:
        path = files.names.find(picture.source or Path(), Path(str(choice.mask)))
        mask = fitted(files.mask(path), path, picture, resize=choice.resize)
    return grown(~mask if choice.invert else mask, choice.grow)


def painted(picture: Picture, color: tuple[int, int, int]) -> Mask:
    """Where the photo has this colour."""
    wanted = np.array(color, np.float32)[:, None, None] / 255
    return np.abs(picture.rgb - wanted).max(axis=0) <= slack(picture)


def see_through(picture: Picture) -> Mask:
    """Where the photo isn't fully opaque. Raises ``PictureError`` if it can't be otherwise."""
    if picture.alpha is None:
        raise PictureError(f"{picture.source}: has no transparency for --mask alpha")
    return picture.alpha < 1


def mask_in(data: bytes, name: str, max_pixels: int) -> Mask:
    """The same of a file's content; ``name`` is for messages."""
    found = decode(data, name, max_pixels)
    return marked(found if isinstance(found, Picture) else found.frames[0])


def marked(picture: Picture) -> Mask:
    """Where a mask isn't black, nor transparent; in lossy formats, nor nearly black."""
    colour = picture.samples[..., : 1 if picture.gray else 3]
    least = round(LOSSY_SLACK * (2**picture.depth - 1)) if picture.lossy else 1
    bright = np.asarray(colour.max(axis=2) >= least)
    return bright & (picture.samples[..., -1] > 0) if picture.transparent else bright


def slack(picture: Picture) -> float:
    """How far a colour painted into such a file may be off."""
    return LOSSY_SLACK if picture.lossy else SLACK


def fitted(mask: Mask, path: Path, picture: Picture, *, resize: bool) -> Mask:
    """The mask at the photo's size. Raises ``PictureError`` where it has another one."""
    width, height = picture.size
    if mask.shape == (height, width):
        return mask
    if not resize:
        raise PictureError(
            f"{path}: the mask is {mask.shape[1]}×{mask.shape[0]}, {picture.source} is "
            f"{width}×{height}; --resize-mask accepts that"
        )
    shares = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(shares > 0)


def grown(mask: Mask, pixels: int) -> Mask:
    """The holes, larger by so many pixels on every side."""
    if pixels == 0 or mask.all() or not mask.any():
        return mask
    far = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far <= pixels)


def feathered(mask: Mask, pixels: int) -> Plane:
    """How much of the filling shows, (H, W): 0 outside, 1 from ``pixels`` within the rim."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip(inside / (pixels + 1), 0, 1).astype(np.float32)


def doubts(mask: Mask, choice: MaskChoice) -> str | None:
    """What is odd about a mask, in words."""
    if not mask.any():
        return f"{why_empty(choice)}: copied as it is"
    if mask.all():
        return "its mask covers everything: nothing is known to fill it from"
    edge: Any = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if mask.mean() > 0.5 and edge.mean() > 0.5:
        remedy = "is it meant without --invert?" if choice.invert else "--invert turns it round"
        return f"its mask covers {math.floor(100 * mask.mean())}% and looks inverted; {remedy}"
    return None


def why_empty(choice: MaskChoice) -> str:
    """What a photo without holes has, or lacks."""
    if choice.color is not None:
        return "all of it is of --mask-color" if choice.invert else "none of it is of --mask-color"
    if choice.mask == ALPHA:
        return "all of it is transparent" if choice.invert else "none of it is transparent"
    return f"its mask is empty ({'black' if choice.invert else 'white'} marks the holes)"
