"""Options that several commands share, as one dataclass instead of a line in every signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

R = TypeVar("R")


def grouped(command: Callable[..., R]) -> Callable[..., R]:
    """Show Typer a command's dataclass parameters field by field, and put them together again.

    Every field of such a dataclass is an option: its annotation says which, its default what
    it is when it isn't given.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {n: hint for n, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    shown = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command).parameters.items()
        if name not in groups
    ]
    for group in groups.values():
        shown += parameters_of(group)

    @functools.wraps(command)
    def together(**given: Any) -> R:
        built = {
            name: group(**{f.name: given.pop(f.name) for f in fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **built)

    together.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    together.__annotations__ = {p.name: p.annotation for p in shown}
    del together.__wrapped__  # or Typer would look past the signature
    return together


def parameters_of(group: type) -> list[inspect.Parameter]:
    """A dataclass' fields as keyword parameters."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if f.default is MISSING else f.default,
            annotation=hints[f.name],
        )
        for f in fields(group)
    ]
