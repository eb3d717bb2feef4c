"""Words that a shell offers where an option knows its values; what it offers isn't all there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from adacode_cli.model.config import Task

Offer = Callable[[], list[str]]  # what begins otherwise than what is typed, Typer leaves out


def one_of(*words: str) -> Offer:
    """These words."""
    return lambda: list(words)


devices = one_of("auto", "cpu", "cuda", "mps")
precisions = one_of("auto", "fp32", "bf16", "fp16")
tasks = one_of(*get_args(Task))
degraded = one_of(*(task for task in get_args(Task) if task != "reconstruct"))  # for these tasks
statistics = one_of("exact", "sampled")
presets = one_of("lite", "official")


def formats() -> list[str]:
    """What --format takes."""
    from adacode_cli.images.formats import FORMATS

    return ["same", *(form.suffixes[0][1:] for form in FORMATS)]


def weights() -> list[str]:
    """Every model with a name; a shell adds files where none begins so."""
    from adacode_cli.weights.catalogue import CATALOGUE

    return list(CATALOGUE)
