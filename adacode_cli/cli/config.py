"""adacode config: the user's own defaults, from a settings file and the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from adacode_cli.cli import problems
from adacode_cli.cli.commands import Command
from adacode_cli.errors import UsageError
from adacode_cli.settings_path import PREFIX, settings_path, settings_place

Option = Any  # typer brings a click of its own
HUB_REPO = "hub_repo"  # not an option: where the published networks are
# Of one run, not of a person.
NEVER = frozenset({"help", "out", "dry_run", "report", "include", "exclude", "sheet"})
# What an option of a kind may be in the file, in words and as TOML is read.
VALUES: dict[str, tuple[str, frozenset[type]]] = {
    "boolean": ("true or false", frozenset({bool, str})),
    "integer": ("a whole number", frozenset({int, str})),
    "float": ("a number", frozenset({int, float, str})),
    "path": ("a path in quotes", frozenset({str})),
    "text": ("a text in quotes", frozenset({str, int, float})),
}


@dataclass(frozen=True)
class Setting:
    """A default that the user chose, and where."""

    value: Any
    where: str


def read_file() -> dict[str, Any]:
    """The settings file's content, empty where there is none. Raises ``UsageError``."""
    path = settings_path()
    if path is None or not path.is_file():
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no TOML ({error})") from error


def keys_of(command: Command) -> dict[str, Option]:
    """The settings a command has: its long options by their names."""
    return {
        key: option
        for option in command.params
        if option.param_type_name == "option"
        for word in option.opts[-1:]
        if (key := word.lstrip("-").replace("-", "_")) not in NEVER
    }


def commands_of(
    group: Command, *names: str, only: str | None = None
) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command of the program under its names, or ``only`` one, and those below it."""
    for name in [only] if only else group.commands:
        command = group.commands[name]
        if hasattr(command, "commands"):
            yield from commands_of(command, *names, name)
        else:
            yield (*names, name), command


def settings(
    commands: dict[tuple[str, ...], Command], content: dict[str, Any]
) -> dict[tuple[str, ...], dict[str, Setting]]:
    """For each of the commands, the settings that were made for it: option → value and place.

    content: of the file, which may name these commands alone. A variable of the environment
    wins over a command's own table in the file, which wins over the file's top level. Raises
    ``UsageError`` for a name that no command has, or a value that is of no use for it.
    """
    path = settings_path()
    chosen: dict[tuple[str, ...], dict[str, Setting]] = {names: {} for names in commands}
    for name, value in content.items():
        if isinstance(value, dict):
            use_table(chosen, commands, (name,), value, path)
        else:
            check_top(name, value, commands, path)
    # A table belongs to a command, even to one that is called as another's option: weights.
    top = {underscored(name): v for name, v in content.items() if not isinstance(v, dict)}
    for names, command in commands.items():
        for key, option in keys_of(command).items():
            if key in top and key not in chosen[names] and not misfit(option, top[key]):
                chosen[names][key] = Setting(top[key], str(path))
            if (variable := PREFIX + key.upper()) in os.environ:
                chosen[names][key] = Setting(os.environ[variable], variable)
    return chosen


def use_table(
    chosen: dict[tuple[str, ...], dict[str, Setting]],
    commands: dict[tuple[str, ...], Command],
    names: tuple[str, ...],
    table: dict[str, Any],
    path: Path | None,
) -> None:
    """Take over the settings of one command from its table. Raises ``UsageError``."""
    for name, value in table.items():
        if isinstance(value, dict):
            use_table(chosen, commands, (*names, name), value, path)
        elif names not in commands:
            raise UsageError(f"{path}: no command is called {' '.join(names)}")
        elif underscored(name) not in (keys := keys_of(commands[names])):
            raise UsageError(f"{path}: {' '.join(names)} has no setting {name!r}")
        elif wanted := misfit(keys[underscored(name)], value):
            where = f"{path}: [{'.'.join(names)}] {name}"
            raise UsageError(f"{where} = {written(value)}: write {wanted}")
        else:
            chosen[names][underscored(name)] = Setting(value, str(path))


def check_top(
    name: str, value: Any, commands: dict[tuple[str, ...], Command], path: Path | None
) -> None:
    """Raise ``UsageError`` for a setting at the file's top that is of no use for any command.

    One that fits some is theirs alone: ``codes`` is a number for train, and a file for reconstruct.
    """
    options = [keys_of(command).get(underscored(name)) for command in commands.values()]
    wishes = [misfit(option, value) for option in options if option is not None]
    if underscored(name) == HUB_REPO:
        wishes = ["" if isinstance(value, str) else VALUES["text"][0]]
    if not wishes:
        raise UsageError(f"{path}: no command has the setting {name!r}")
    if all(wishes):
        raise UsageError(f"{path}: {name} = {written(value)}: write {wishes[0]}")


def misfit(option: Option, value: Any) -> str:
    """What to write instead of a value that no word of the command line could mean, or ''."""
    kind = option.type.name.removesuffix(" range")
    wanted, types = VALUES.get(kind, VALUES["text"])
    parts = value if option.multiple and isinstance(value, list) else [value]
    return "" if all(type(part) in types for part in parts) else wanted


def underscored(name: str) -> str:
    """max-pixels as max_pixels."""
    return name.replace("-", "_")


def apply(context: typer.Context) -> None:
    """Make the settings the defaults of every command. Raises ``UsageError``."""
    content = read_file()
    # A file is checked as a whole; without one, nobody has to wait for other commands.
    only = None if content else context.invoked_subcommand
    commands = dict(commands_of(context.command, only=only))
    defaults: dict[str, Any] = {}
    for names, chosen in settings(commands, content).items():
        keys = keys_of(commands[names])
        place = defaults
        for name in names:
            place = place.setdefault(name, {})
        for key, setting in chosen.items():
            one = keys[key].multiple and not isinstance(setting.value, list)
            place[keys[key].name] = [setting.value] if one else setting.value
    context.default_map = defaults
    hub_repo = {underscored(name): value for name, value in content.items()}.get(HUB_REPO)
    if hub_repo is not None:
        os.environ.setdefault(PREFIX + HUB_REPO.upper(), hub_repo)


@problems.explained
def config(context: typer.Context) -> None:
    """Show the settings in force: from the settings file, then ADACODE_* variables.

    The file is TOML. At its top, options by their long names hold for every command that
    has them: device = "cuda:1", max-pixels = "500M". In a table, for that command: [sr].
    """
    commands = dict(commands_of(context.find_root().command))
    show(settings(commands, read_file()))


@problems.answering()
def show(found: dict[tuple[str, ...], dict[str, Setting]]) -> None:
    """Settings on stdout, and where they come from."""
    typer.echo(f"# {settings_place()}")
    if repo := os.environ.get(PREFIX + HUB_REPO.upper()):
        typer.echo(f"{HUB_REPO} = {written(repo)}")
    for names, chosen in found.items():
        if chosen:
            typer.echo(f"[{'.'.join(names)}]")
        for key, setting in sorted(chosen.items()):
            typer.echo(f"{key} = {written(setting.value)}  # {setting.where}")


def written(value: Any) -> str:
    """A value as TOML has it; a date, which no option takes, as a text."""
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
