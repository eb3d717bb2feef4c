"""The program's commands, each imported when it is asked for: who restores doesn't train."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

from adacode_cli.cli import problems
from adacode_cli.cli.paths import keep_paths

BOXES = 76  # columns from which no name is cut
Command = Any  # typer brings a click of its own

# name → its module in this package, and there its function, or its application
COMMANDS = {
    "sr": "sr:sr",
    "inpaint": "inpaint:inpaint",
    "reconstruct": "reconstruct:reconstruct",
    "inspect": "inspect:inspect",
    "eval": "eval:evaluate",
    "degrade": "degrade:degrade",
    "bench": "bench:bench",
    "config": "config:config",
    "doctor": "doctor:doctor",
    "train": "train:app",
    "weights": "weights:app",
}


class Commands(Mapping[str, Command]):
    """Every command by its name; all but the names is there from the first look on."""

    def __init__(self) -> None:
        self.loaded: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self.loaded:
            self.loaded[name] = load(name, *COMMANDS[name].split(":"))
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Program(TyperGroup):
    """The group of all commands, of which none is imported before its time."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast("Any", Commands())

    def main(self, *words: Any, **settings: Any) -> Any:
        """Run; help that can't be told is one line, as all else is by ``explained``."""
        try:
            with problems.answering():
                return super().main(*words, **settings)
        except OSError as error:
            problems.complain(problems.stdout_problem(error) or str(error), error)
            sys.exit(1)

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of ``COMMANDS``."""
        del ctx
        return list(self.commands)


def load(name: str, module: str, attribute: str) -> Command:
    """The command, as Typer makes it."""
    found = getattr(import_module(f"adacode_cli.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        found = alone
    command = typer.main.get_command(found)
    command.name = name
    take_as_written(command)
    return command


def take_as_written(command: Command) -> None:
    """Let the help of a command, and of those below it, be text: [sr] is markup for rich.

    A paragraph is as wide as the terminal, not as our source; an argument has one name. Where
    rich's boxes would cut the options' names, the help is plain. So with paths: '' and './-' are
    what pathlib would take for another.
    """
    if shutil.get_terminal_size().columns < BOXES and not hasattr(command, "commands"):
        command.rich_markup_mode = None
    for part in (command, *command.params):
        if part.help:
            part.help = re.sub(r"(?<!\n)\n(?!\n)", " ", part.help)
        if part.help and command.rich_markup_mode == "rich":
            part.help = re.sub(r"\[(?=[a-z#/@])", r"\\[", part.help)
        keep_paths(part)
    for argument in command.params:
        if argument.param_type_name == "argument" and argument.metavar is None:
            argument.metavar = argument.name.upper()  # else small letters in the list of them
    for below in getattr(command, "commands", {}).values():
        take_as_written(below)
