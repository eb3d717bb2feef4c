"""A run's log as a picture: losses, scores on validation photos, how the codes are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adacode_cli.training.figures import read_log
from adacode_cli.training.names import LOSSES

PANELS = ("losses", "valid/psnr", "valid/loss", "valid/perceptual", "usage", "perplexity")


def panel_of(name: str) -> str | None:
    """Where a figure is drawn."""
    if name in LOSSES:
        return "losses"
    return next((p for p in (name, name.partition("/")[0]) if p in PANELS), None)


def draw_curves(log: Path, picture: Path) -> None:
    """Draw ``log.jsonl`` as a PNG, stage after stage, written whole or not at all."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    records = read_log(log)
    figure = Figure(figsize=(15, 8), layout="constrained")
    for number, panel in enumerate(PANELS, start=1):
        axes = figure.add_subplot(2, 3, number)
        for name, (steps, values) in series(records, panel).items():
            axes.plot(steps, values, label=name.rpartition("/")[2], linewidth=1)
        axes.set_title(panel)
        axes.set_xlabel("step")
        axes.grid(visible=True, alpha=0.3)
        if panel == "losses":
            axes.set_yscale("log")
        if len(axes.get_lines()) > 1:
            axes.legend(fontsize=8)
    unfinished = picture.with_suffix(".unfinished")
    figure.savefig(unfinished, format="png", dpi=100)
    unfinished.replace(picture)


def series(records: list[dict[str, Any]], panel: str) -> dict[str, tuple[list[int], list[float]]]:
    """Name → steps and values, the steps of later stages after those of earlier ones."""
    drawn: dict[str, tuple[list[int], list[float]]] = {}
    before, last, stage = 0, 0, None
    for record in records:
        if record["stage"] != stage:
            before, stage = before + last, record["stage"]
        last = record["step"]
        for name, value in record.items():
            if panel_of(name) == panel:
                steps, values = drawn.setdefault(name, ([], []))
                steps.append(before + last)
                values.append(value)
    return drawn
