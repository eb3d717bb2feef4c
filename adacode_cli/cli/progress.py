"""Progress on stderr, where there is a terminal to show it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adacode_cli.training.names import LOSSES
from adacode_cli.visible import visible

if TYPE_CHECKING:
    from rich.progress import Progress

SHOWN = (*LOSSES, "discriminator", "valid/psnr", "images_per_second", "waiting")


def new_progress(description: str, *, hidden: bool = False) -> Progress:
    """A bar on stderr; none if it is ``hidden``, or without a terminal.

    The figures keep their place, however long the description is. What is printed meanwhile
    comes above the bar, in lines as long as they are.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.table import Column

    columns = (
        TextColumn("{task.percentage:>3.0f} %"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TimeElapsedColumn(),
        Remaining(),
        TextColumn(description, markup=False, table_column=Column(ratio=2, no_wrap=True)),
    )
    return Progress(
        *columns,
        console=Console(stderr=True, soft_wrap=True),
        disable=hidden or not sys.stderr.isatty(),  # FORCE_COLOR makes no terminal of a file
        expand=True,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )


class PictureBar:
    """One bar over all pictures, moving by tiles."""

    def __init__(self, progress: Progress, pictures: int) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=max(pictures, 1), name="")
        self.complete = 0
        self.begun: dict[Path, float] = {}  # the share of each that is being restored

    def on_tile(self, source: Path, done: int, of: int) -> None:
        """``done`` of ``of`` tiles of a picture are ready."""
        self.begun[source] = done / of
        self.show(f"tile {done} of {of} of {source.name}" if of > 1 else source.name)

    def finished(self, source: Path) -> None:
        """A picture is written, or failed."""
        self.begun.pop(source, None)
        self.complete += 1
        self.show(source.name)

    def show(self, name: str) -> None:
        """Move the bar."""
        completed = self.complete + sum(self.begun.values())
        self.progress.update(self.task, completed=completed, name=visible(name))


@contextmanager
def picture_bar(pictures: int, *, hidden: bool = False) -> Iterator[PictureBar]:
    """A bar by picture and tile."""
    with new_progress("{task.fields[name]}", hidden=hidden) as progress:
        yield PictureBar(progress, pictures)


@contextmanager
def training_bar() -> Iterator[Callable[[float, dict[str, float]], None]]:
    """A bar of the budget with the latest figures; lines now and then without a terminal."""
    with new_progress("{task.description}") as progress:
        task = progress.add_task("starting", total=1.0)

        def report(share: float, figures: dict[str, float]) -> None:
            line = "  ".join(f"{name} {figures[name]:.4g}" for name in SHOWN if name in figures)
            line += "".join(
                f"  {name.removeprefix('usage/')} {used:.0%} of codes used, perplexity"
                f" {figures[name.replace('usage', 'perplexity')]:.0f}"
                for name, used in figures.items()
                if name.startswith("usage/")
            )
            progress.update(task, completed=share, description=visible(line))
            if progress.disable:
                print(f"{share:4.0%}  {line}", file=sys.stderr, flush=True)

        yield report
