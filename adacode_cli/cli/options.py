"""Each option that several commands share, written once, and what it means."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from adacode_cli.cli import known, problems
from adacode_cli.errors import UsageError
from adacode_cli.model.config import Task, usual_scale

if TYPE_CHECKING:
    from adacode_cli.restore.restorer import Restorer
    from adacode_cli.restore.tiling import Tiling


UNITS = {"s": 1, "m": 60, "h": 3600}


def forbid_network(value: bool) -> bool:
    """What --offline does: the Hub's library reads this when it is imported."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return value


Weights = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        autocompletion=known.weights,
        help="A model of 'adacode weights list', hf:owner/repo, https://… or a file"
        " (.safetensors, .pth).",
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", autocompletion=known.devices)
]
Precision = Annotated[
    str, typer.Option(help="auto, fp32, bf16 or fp16.", autocompletion=known.precisions)
]
Offline = Annotated[
    bool,
    typer.Option("--offline", callback=forbid_network, help="Never use the network."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite results that are there.")]


def seconds(text: str) -> float:
    """'45s', '90m' or '2h' in seconds. Raises ``UsageError``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match:
        raise UsageError(f"{text!r} is no time; write 45s, 90m or 2h")
    return float(match[1]) * UNITS[match[2]]


def pixels(text: str) -> int:
    """'500M', '2G' or '1000000' as a number of pixels. Raises ``UsageError``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)", text.strip().lower())
    if not match or float(match[1]) == 0:
        raise UsageError(f"{text!r} is no number of pixels; write 500M for 500 megapixels")
    return int(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2]])


def choose_weights(task: str, weights: str | None, scale: int | None) -> tuple[str, int]:
    """The weights' name and their magnification; fetched if only the file tells it.

    Raises ``UsageError``, or ``WeightsError`` for what can't be had.
    """
    from adacode_cli.weights import catalogue

    problems.show_logs()
    if weights is None:
        if task not in get_args(Task):
            raise UsageError(f"no task is called {task!r}; there are {', '.join(get_args(Task))}")
        usual = usual_scale(task)
        scale = usual if scale is None else scale
        default = catalogue.default_for(task, scale)
        if default is None:
            raise UsageError(f"no bundled model does {task} at {scale}×; use --scale {usual}")
        return default, scale
    found = catalogue.what_for(weights)
    check_task(weights, found.task, task)  # another task's scale isn't one to ask for
    if scale is not None and scale != found.scale:
        raise UsageError(f"{weights} enlarges {found.scale}×, not {scale}×; leave --scale out")
    return weights, found.scale


def weights_for(task: str, weights: str | None) -> str:
    """The weights' name or path for a task that keeps the size. Raises ``UsageError``."""
    from adacode_cli.weights import catalogue

    name = catalogue.default_for(task, 1) if weights is None else weights
    if name is None:
        raise UsageError(f"no bundled model can {task}; use --weights FILE, or official-{task}")
    return name


def check_task(weights: str, found: str, task: str) -> None:
    """Raise ``ValueError`` for weights of another task."""
    if found != task:
        raise ValueError(f"{weights}: these weights are for {found}, not for {task}")


def load_restorer(
    weights: str,
    task: str,
    device: str,
    precision: str,
    tiling: Tiling | None = None,
    *,
    fixed: bool | None = None,
) -> Restorer:
    """The model on its device, said on stderr. Raises ``ValueError`` for another task's.

    ``fixed``: whether the user named the device; None: unless it is auto.
    """
    from adacode_cli.device import keep_fp32_exact
    from adacode_cli.restore.restorer import Restorer

    keep_fp32_exact()
    restorer = Restorer.load(weights, device, precision, tiling)
    if fixed is not None:
        restorer.fixed = fixed
    check_task(weights, restorer.model.config.task, task)
    kind = str(restorer.precision).removeprefix("torch.")
    problems.say(f"{weights} on {restorer.device} in {kind}")
    return restorer
