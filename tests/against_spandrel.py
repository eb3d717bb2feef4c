"""The published ×4 network here and in spandrel_extra_arches, in turn: seconds and their ratio.

    pip install --no-deps spandrel spandrel_extra_arches einops
    python -m tests.against_spandrel --repeats 5
    python -m tests.against_spandrel --device cuda --precision bf16 --side 256 --repeats 30

All load one file, filled with random weights, and enlarge one picture, each in a process of its
own as its program would: from the host's memory to the host's memory. Where ours is in bf16,
theirs is in float32, as spandrel has it by itself, and under autocast; on a GPU that float32
convolves in TF32, unless ours is in float32, too: then both are exact. torchvision, which spandrel
imports for other networks, is replaced by an empty module.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from adacode_cli.benchmark.spread import Spread
from adacode_cli.device import PRECISIONS, keep_fp32_exact
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


class Contestant(NamedTuple):
    """A program in a precision on a device.

    exact: whether float32 is nowhere TF32. replays: whether ours replays what it has recorded.
    """

    program: str
    precision: str
    device: str
    exact: bool
    replays: bool = False

    def __str__(self) -> str:
        return f"{self.program} {self.precision}"


class Answer(NamedTuple):
    """Seconds, and the enlarged picture (3, H, W); or why there are none."""

    seconds: float
    restored: Any
    problem: str = ""


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


def loaded(who: Contestant, path: Path) -> Any:
    """What turns (3, h, w) on the host into (3, 4h, 4w) there."""
    device, dtype = torch.device(who.device), PRECISIONS[who.precision]
    if who.exact:
        keep_fp32_exact()
    if who.program == "adacode":
        keep_freed_memory()  # as the program does
        return Restorer(load_model(path), device, dtype, replays=who.replays).restore
    network = theirs(path).to(device)

    def restore(x: torch.Tensor) -> torch.Tensor:
        # Cast to bf16 as a whole it fails: not all of its tensors follow.
        with torch.autocast(who.device, dtype, enabled=dtype != torch.float32):
            return network(x[None].to(device))[0].float().cpu()

    return restore


def serve(asked: Connection, who: Contestant, path: Path) -> None:
    """Answer each picture until there are no more."""
    restore, problem = None, ""
    with torch.inference_mode():
        while (image := asked.recv()) is not None:
            try:
                restore = restore or loaded(who, path)
                began = time.perf_counter()  # a GPU is done when the result is on the host
                restored = restore(torch.from_numpy(image))
                asked.send(Answer(time.perf_counter() - began, restored.numpy()))
            except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
                problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                asked.send(Answer(0.0, None, problem))


def contestants(device: str, precision: str, *, replays: bool) -> list[Contestant]:
    """Ours, and theirs in float32 and in the same precision."""
    exact = precision == "fp32"
    words = dict.fromkeys((("adacode", precision), ("spandrel", "fp32"), ("spandrel", precision)))
    if device == "cpu":
        words.pop(("spandrel", "bf16"), None)  # no program of theirs does that
    return [Contestant(*pair, device, exact or pair[0] == "adacode", replays) for pair in words]


def ask(connections: dict[Contestant, Connection], image: Any) -> dict[Contestant, Answer]:
    """One answer of each, one after the other; who has a problem is out, and that is said."""
    answers = {}
    for who, connection in list(connections.items()):
        connection.send(image)
        answer = connection.recv()
        if answer.problem:
            print(f"{who} can't: {answer.problem}", flush=True)
            connections.pop(who).send(None)
        else:
            answers[who] = answer
    return answers


def report(rounds: list[dict[Contestant, Answer]]) -> None:
    """The seconds of each, how often ours goes into those of the others, and how they differ."""
    ours, *others = rounds[-1]
    for who in (ours, *others):
        taken = Spread(tuple(answers[who].seconds for answers in rounds))
        least, most = taken.range
        print(f"{who}: {taken.median:.4f} s ({least:.4f} to {most:.4f})")
    for who in others:
        ratios = Spread(tuple(a[who].seconds / a[ours].seconds for a in rounds))
        (least, most), (low, high) = ratios.range, ratios.quartiles
        print(
            f"{ours} is {ratios.median:.2f} times as fast as {who}"
            f" ({least:.2f} to {most:.2f}, the middle half {low:.2f} to {high:.2f})"
        )
        pictures = [rounds[-1][x].restored.clip(0, 1) for x in (ours, who)]
        apart = 255 * np.abs(pictures[0] - pictures[1])
        print(
            f"  a sample differs by {apart.max():.3f} levels at most, by {apart.mean():.4f} on"
            f" average, by more than one in {(apart > 1).mean():.4%}"
        )


def main() -> None:
    """Print how long each takes, and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=128, help="of the input, in pixels")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--replays", action="store_true", help="ours: record, then replay")
    args = parser.parse_args()
    image = np.random.default_rng(0).random((3, args.side, args.side), np.float32)
    spawning, connections = get_context("spawn"), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x4_g.pth"
        torch.save({"params": filled_state(official_config("sr", 4))}, path)
        for who in contestants(args.device, args.precision, replays=args.replays):
            connections[who], end = spawning.Pipe()
            spawning.Process(target=serve, args=(end, who, path), daemon=True).start()
            end.close()  # so that its death is noticed here
        for _ in range(1 if args.device == "cpu" else 4):  # these warm up
            ask(connections, image)
    rounds = [ask(connections, image) for _ in range(args.repeats)]
    for connection in connections.values():
        connection.send(None)
    where = torch.cuda.get_device_name() if args.device != "cpu" else ""
    print(f"{where or f'{torch.get_num_threads()} threads'}, {args.side}² to {4 * args.side}²")
    report(rounds)


if __name__ == "__main__":
    main()
