"""A whole feature map that may be larger than memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BufferedRandom

import numpy as np
import torch
from torch import Tensor

from adacode_cli.device import free_bytes
from adacode_cli.restore.transfer import sent

# Bytes that all stores of a process may take in memory; what goes beyond is written to a file.
IN_MEMORY = 1 << 30
# Of what is free on a GPU, the part that a map may take there.
ON_GPU = 1 / 4
# Bytes of a map that are worked on at once.
BAND = 48 << 20
# Files that a map is spread over, so that it can go bit by bit.
FILES = 16


class ScratchError(OSError):
    """No room on the disk for a map that memory has no room for."""


class Store:
    """(1, C, h, w) of one ``dtype``, written and read by rows.

    On a GPU with plenty of room, or in memory while there is room, else in nameless files in the
    folder for temporary ones, which go with the process however that ends. Raises ``ScratchError``.
    """

    used = 0  # bytes of memory, by all stores

    def __init__(
        self, shape: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        _, self.channels, self.height, self.width = shape
        self.device, self.dtype = device, dtype
        self.row_bytes = dtype.itemsize * self.channels * self.width
        self.band = max(8, BAND // self.row_bytes)
        self.sums: list[Tensor] = []  # count, mean and squared deviations of each band
        self.file_rows = -(-self.height // FILES)
        self.files: dict[int, BufferedRandom] = {}  # by number, from top to bottom
        self.memory: Tensor | None = None
        size, shape = self.row_bytes * self.height, (self.height, self.width, self.channels)
        if size <= ON_GPU * free_bytes(device):
            # Free memory may lie in pieces.
            with suppress(torch.OutOfMemoryError):
                self.memory = torch.empty(shape, dtype=dtype, device=device)
        if self.memory is not None:
            return
        if Store.used + size <= IN_MEMORY:
            self.memory = torch.empty(shape, dtype=dtype)
            Store.used += size

    @property
    def on_disk(self) -> int:
        """Bytes that its files have, or will have when it is written."""
        return 0 if self.memory is not None else self.row_bytes * self.height

    def write(self, top: int, rows: Tensor) -> None:
        """(1, C, n, w) at row ``top``; their statistics are noted. Raises ``TypeError``."""
        if rows.dtype != self.dtype:
            raise TypeError(f"a map of {self.dtype} is written as {rows.dtype}")
        last = rows[0].permute(1, 2, 0).contiguous()  # (n, w, C)
        flat = last.view(-1, self.channels).float()
        mean = flat.mean(dim=0)
        squares = (flat - mean).square_().sum(dim=0)
        count = torch.full_like(mean, len(flat))
        self.sums.append(torch.stack([count, mean, squares]))
        if self.memory is not None:
            self.memory[top : top + last.shape[0]] = last
            return
        content = last.cpu().view(torch.uint8).view(-1).numpy()
        try:
            for number, offset, part in self.parts(top, top + last.shape[0]):
                if number not in self.files:
                    self.files[number] = tempfile.TemporaryFile(prefix="adacode-")  # noqa: SIM115
                self.files[number].seek(offset)
                self.files[number].write(content[part].data)
                self.files[number].flush()
        except OSError as error:
            raise no_room(self.row_bytes * self.height, str(error.strerror)) from error

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows as (1, C, n, w), channels last."""
        if self.memory is not None:
            rows = self.memory[top:bottom]
        else:
            content = np.empty((bottom - top) * self.row_bytes, np.uint8)
            for number, offset, part in self.parts(top, bottom):
                self.files[number].seek(offset)
                if self.files[number].readinto(content[part].data) < part.stop - part.start:
                    raise EOFError(f"rows {top} to {bottom} were not written")
            rows = torch.from_numpy(content).view(self.dtype)
            rows = rows.view(bottom - top, self.width, self.channels)
        return sent(rows, self.device).permute(2, 0, 1)[None]

    def parts(self, top: int, bottom: int) -> Iterator[tuple[int, int, slice]]:
        """Files that rows are in: the number, where they begin there, and their bytes in it."""
        first = top
        while first < bottom:
            number, row = divmod(first, self.file_rows)
            last = min(bottom, (number + 1) * self.file_rows)
            part = slice((first - top) * self.row_bytes, (last - top) * self.row_bytes)
            yield number, row * self.row_bytes, part
            first = last

    def let_go(self, top: int) -> None:
        """Give back the files whose rows are all above row ``top``."""
        for number in [n for n in self.files if (n + 1) * self.file_rows <= top]:
            self.files.pop(number).close()

    def statistics(self, groups: int) -> tuple[Tensor, Tensor]:
        """Mean and variance of each group of channels: (groups,) twice, float32.

        Bands are merged by their counts, means and squared deviations (Chan et al., 1979).
        """
        sums = torch.stack(self.sums).cpu().double()
        count, mean, squares = sums.unbind(1)  # (bands, C) each
        count, mean, squares = (
            x.view(len(self.sums), groups, -1).transpose(0, 1).flatten(1)
            for x in (count, mean, squares)
        )  # (groups, parts)
        total = count.sum(1)
        whole = (count * mean).sum(1) / total
        deviations = squares.sum(1) + (count * (mean - whole[:, None]).square()).sum(1)
        return whole.float(), (deviations / total).float()

    def __del__(self) -> None:
        with suppress(AttributeError):
            if self.memory is not None and self.memory.device.type == "cpu":
                Store.used -= self.memory.nbytes
        for file in self.files.values():
            with suppress(OSError):  # a full disk tells of what it had no room for once more
                file.close()


def check_room(size: int, going: int) -> None:
    """Raise ``ScratchError`` where files of ``size`` bytes don't fit on the disk.

    going: bytes of others that are let go meanwhile, file by file.
    """
    free = shutil.disk_usage(tempfile.gettempdir()).free
    more = min(size, max(0, size - going) + max(size, going) // FILES)
    if more > free:
        raise no_room(size, f"{more / 1e9:.1f} GB more are needed, {free / 1e9:.1f} GB are free")


def no_room(size: int, reason: str) -> ScratchError:
    """What to say of a file of ``size`` bytes that can't be."""
    return ScratchError(
        f"no room for feature maps of {size / 1e9:.1f} GB in {tempfile.gettempdir()} "
        f"({reason}); set TMPDIR to a folder on a larger disk"
    )
