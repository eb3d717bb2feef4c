"""An error a user can mend is one line; --debug shows where it came from."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from adacode_cli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")

EXPECTED = (OSError, ValueError, FloatingPointError)
INTERRUPTED = 130
debug = False  # set by the program's own --debug
quiet = False  # set by a command's --quiet: only errors are said


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an expected error of ``command`` into one line and exit 1, Ctrl-C into 130."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            complain("interrupted; what was finished is kept")
            raise typer.Exit(INTERRUPTED) from None
        except ModuleNotFoundError as error:
            complain(f"{error.name} is not installed; pip install 'adacode[train]' brings it")
            raise typer.Exit(1) from error
        except EXPECTED as error:
            if not (isinstance(error, UsageError) and is_follower()):
                complain(str(error), error)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error

    return guarded


def is_follower() -> bool:
    """Whether another process of a launcher's has the same words, and speaks about them."""
    return int(os.environ.get("RANK", "0")) > 0


def complain(message: str, cause: BaseException | None = None) -> None:
    """What went wrong: one line on stderr; with --debug, where."""
    if debug and cause is not None:
        traceback.print_exception(cause)
    print_line(f"error: {message}")


def say(message: str) -> None:
    """What a person should know, unless they asked for quiet."""
    if not quiet:
        print_line(message)


def print_line(message: str) -> None:
    """One line on stderr."""
    print(f"adacode: {' '.join(message.split())}", file=sys.stderr, flush=True)
