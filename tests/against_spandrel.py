"""The published ×4 network here and in spandrel_extra_arches, in turn: seconds and their ratio.

    pip install --no-deps spandrel spandrel_extra_arches einops
    python -m tests.against_spandrel --repeats 5

Both load one file, filled with random weights, and enlarge one picture, each in a process of its
own as its program would. torchvision, which spandrel imports for other networks, is replaced by an
empty module.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from adacode_cli.device import PRECISIONS
from adacode_cli.heap import keep_freed_memory
from adacode_cli.model.config import official_config
from adacode_cli.restore.restorer import Restorer
from adacode_cli.weights.catalogue import load_model
from tests.published_layout import filled_state


class Empty(ModuleType):
    """A module in which everything is to be found, and nothing works."""

    __path__: list[str] = []  # noqa: RUF012 a package, to those who look

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def theirs(path: Path) -> Any:
    """Their network, from the file."""
    for name in ("torchvision", "torchvision.ops", "torchvision.transforms"):
        sys.modules[name] = Empty(name)
    sys.modules["torchvision.transforms.functional"] = Empty("torchvision.transforms.functional")
    from spandrel import ModelLoader  # type: ignore[import-not-found]
    from spandrel_extra_arches import install  # type: ignore[import-not-found]

    install()
    strictly = torch.nn.Module.load_state_dict
    # Tables that it computes itself are in the released files, and not in ours.
    torch.nn.Module.load_state_dict = lambda m, state: strictly(m, state, strict=False)  # type: ignore[assignment, method-assign, misc]
    try:
        return ModelLoader(device="cpu").load_from_file(path)
    finally:
        torch.nn.Module.load_state_dict = strictly  # type: ignore[method-assign]


def ours(path: Path, precision: str) -> Any:
    """Our network, from the file, in a process prepared as ``adacode`` prepares its own."""
    keep_freed_memory()
    return Restorer(load_model(path), torch.device("cpu"), PRECISIONS[precision]).restore


def serve(asked: Connection, which: str, path: Path, precision: str) -> None:
    """Answer each picture with seconds and the enlarged one, until there are no more."""
    if which == "adacode":
        restore = ours(path, precision)
    else:
        network = theirs(path)
        restore = lambda x: network(x[None])[0]  # noqa: E731
    with torch.inference_mode():
        while (image := asked.recv()) is not None:
            began = time.perf_counter()
            restored = restore(torch.from_numpy(image))
            asked.send((time.perf_counter() - began, restored.numpy()))


def main() -> None:
    """Print both, and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=128, help="of the input, in pixels")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    args = parser.parse_args()
    image = np.random.default_rng(0).random((3, args.side, args.side), np.float32)
    spawning, asked, answers = get_context("spawn"), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x4_g.pth"
        torch.save({"params": filled_state(official_config("sr", 4))}, path)
        for which in ("adacode", "spandrel"):
            asked[which], end = spawning.Pipe()
            words = (end, which, path, args.precision)
            spawning.Process(target=serve, args=words, daemon=True).start()
            end.close()  # so that its death is noticed here
        pairs = []
        for number in range(args.repeats + 1):
            for which, connection in asked.items():
                connection.send(image)
                answers[which] = connection.recv()
            a, b = answers["adacode"][0], answers["spandrel"][0]
            if number:  # the first warms up
                pairs.append((a, b))
                print(
                    f"adacode {a:.2f} s   spandrel {b:.2f} s   {b / a:.2f} times as fast",
                    flush=True,
                )
    for connection in asked.values():
        connection.send(None)
    apart = np.abs(answers["adacode"][1] - answers["spandrel"][1].clip(0, 1))
    ratios = [b / a for a, b in pairs]
    print(f"largest difference of a sample: {255 * apart.max():.3f} levels")
    print(
        f"{torch.get_num_threads()} threads, {args.side}² to {4 * args.side}², {args.precision}: "
        f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
