"""Paths among a command's words, taken as they were written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from adacode_cli.errors import EMPTY

# A path, and one that keeps the slash behind it (``naming.as_written``), as typer calls them.
PATHS = ("path", "as_written")


def keep_paths(parameter: Any) -> None:
    """Let a parameter that is a path refuse '', which pathlib takes for the current folder."""
    kind: Any = getattr(parameter, "type", None)
    if getattr(kind, "name", None) not in PATHS:
        return
    convert = kind.convert

    def converted(value: Any, parameter: Any, context: Any) -> Any:
        text = os.fspath(value)
        if not text:
            kind.fail(EMPTY, parameter, context)
        return convert(told_from_stream(text), parameter, context)

    kind.convert = converted


def told_from_stream(text: str) -> str:
    """The same, unless it is './-': a file, which pathlib would write as standard input's '-'."""
    return str(Path.cwd() / "-") if text != "-" and Path(text) == Path("-") else text
