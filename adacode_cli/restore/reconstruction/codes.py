"""What a picture becomes between encoder and decoder: a file can hold it."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacode_cli.images.read import load as load_bytes
from adacode_cli.images.unfinished import named, unfinished

MOST = 1 << 31  # bytes of arrays; a small archive may hold any number of zeros
# What NumPy and zipfile stumble over in a damaged archive; AttributeError: an array is missing.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


class CodesError(ValueError):
    """A file that holds no codes, or those of another network."""


@dataclass(frozen=True, eq=False)
class Codes:
    """A picture as its codes, at stride 8.

    indices: (K, h, w), which code of each codebook. weights: (K, h, w), how much of it.
    size: width and height of the picture in pixels.
    """

    indices: NDArray[np.uint16]
    weights: NDArray[np.float32]
    size: tuple[int, int]

    def switched(self, on: Sequence[bool]) -> Codes:
        """The same with the weights of some codebooks at 0: one word for each of them."""
        return replace(self, weights=self.weights * np.array(on, np.float32)[:, None, None])

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Indices and weights as a batch of one: (1, K, h, w) each."""
        indices = torch.from_numpy(self.indices.astype(np.int64))
        return indices[None], torch.from_numpy(self.weights.astype(np.float32))[None]


@dataclass(frozen=True, eq=False)
class CodesFile:
    """Codes, and what else it takes to make the same picture of them.

    story: the weights' name and SHA-256, the precision. extra: arrays of the picture that
    no code stands for: its alpha, its profile.
    """

    codes: Codes
    story: dict[str, Any]
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)


def save(file: CodesFile, path: Path, *, replace: bool = True) -> None:
    """As a NumPy archive of ``indices``, ``weights``, ``story`` (JSON) and the extra arrays."""
    story = json.dumps({**file.story, "size": file.codes.size})
    arrays: dict[str, NDArray[Any]] = {
        "indices": file.codes.indices,
        "weights": file.codes.weights,
        "story": np.frombuffer(story.encode(), np.uint8),
        **file.extra,
    }
    save_arrays(path, arrays, replace=replace)


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]], *, replace: bool = True) -> None:
    """A NumPy archive, whole or not at all. Raises as ``unfinished`` does.

    An ``OSError`` names ``path``.
    """
    with named(path), unfinished(path, replace=replace) as (file, finish):
        np.savez_compressed(file, allow_pickle=False, **arrays)
        finish()


def load(path: Path) -> CodesFile:
    """The inverse of ``save``. Raises ``CodesError`` or ``PictureError``, naming the path."""
    return read(io.BytesIO(load_bytes(path)), str(path))


def read(file: IO[bytes], path: str) -> CodesFile:
    """The codes in an open file called ``path``. Raises ``CodesError``."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            check_room(archive.zip, path)
            arrays = {name: archive[name] for name in archive.files}
        story = json.loads(arrays.pop("story").tobytes())
        width, height = map(int, story.pop("size"))
        codes = Codes(arrays.pop("indices"), arrays.pop("weights"), (width, height))
        check(codes, path)
    except CodesError:
        raise
    except UNREADABLE as error:
        raise CodesError(f"{path}: no codes that adacode wrote ({error})") from error
    return CodesFile(codes, story, arrays)


def check_room(archive: zipfile.ZipFile, path: str) -> None:
    """Raise ``CodesError`` for what would fill the memory."""
    if sum(part.file_size for part in archive.infolist()) > MOST:
        raise CodesError(f"{path}: would unpack to more than {MOST >> 20} MiB")


def check(codes: Codes, path: str) -> None:
    """Raise ``CodesError`` unless the arrays go together."""
    kinds = (codes.indices.dtype.kind, codes.weights.dtype.kind)
    shapes = (codes.indices.shape, codes.weights.shape)
    if kinds != ("u", "f") or len(shapes[0]) != 3 or shapes[0] != shapes[1] or 0 in shapes[0]:
        raise CodesError(
            f"{path}: its indices {shapes[0]} and weights {shapes[1]} don't go together"
        )
    if not np.isfinite(codes.weights).all():
        raise CodesError(f"{path}: holds weights that are not finite")
