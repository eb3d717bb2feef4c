"""An error a user can mend is one line; --debug shows where it came from."""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

import typer

from adacode_cli import stopping
from adacode_cli.errors import UsageError
from adacode_cli.launched import is_follower
from adacode_cli.visible import joined, visible

P = ParamSpec("P")
R = TypeVar("R")

EXPECTED = (OSError, ValueError, FloatingPointError, MemoryError)
OURS = frozenset({"adacode_cli", "builtins"})  # where errors come from that are written here
INTERRUPTED = 130
debug = False  # set by the program's own --debug
quiet = False  # set by a command's --quiet: only errors are said

QUERY = re.compile(r"(https?://[^\s?#'\"]+)\?[^\s'\"]*")  # a signed address is a key
PASSWORD = re.compile(r"(https?://)[^\s/@'\"]+@")
TOKEN = re.compile(r"\bhf_\w{8,}")


class Terminated(BaseException):
    """SIGTERM or SIGHUP, of that number: end as on Ctrl-C, with nothing half done."""

    def __init__(self, number: int) -> None:
        super().__init__("terminated" if number == signal.SIGTERM else "the terminal is gone")
        self.number = number


class StdoutError(OSError):
    """Standard output takes no more; as any OSError's, errno and strerror say why."""


@contextmanager
def answering() -> Iterator[None]:
    """Let an ``OSError`` of what prints, and is about no file, be a ``StdoutError``."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise StdoutError(error.errno, error.strerror) from error


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an expected error of ``command`` into one line and exit 1, Ctrl-C into 130."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if threading.current_thread() is threading.main_thread():
            for number in stopping.requests():
                signal.signal(number, on_request)
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            complain("interrupted; what was finished is kept")
            raise typer.Exit(INTERRUPTED) from None
        except Terminated as request:
            complain(f"{request}; what was finished is kept")
            raise typer.Exit(128 + request.number) from None
        except ModuleNotFoundError as error:
            complain(f"{error.name} is not installed; pip install 'adacode[train]' brings it")
            raise typer.Exit(1) from error
        except EXPECTED as error:
            if not (isinstance(error, UsageError) and is_follower()):
                complain(stdout_problem(error) or str(error), error)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error

    return guarded


def end_without_a_word() -> None:
    """All is done: a signal that comes while Python ends should end it at once."""
    for number in (signal.SIGINT, *stopping.requests()):
        signal.signal(number, signal.SIG_DFL)


def on_request(number: int, frame: FrameType | None) -> None:
    """Raise, so that everything is cleaned up on the way out."""
    stopping.heed_one()
    raise Terminated(number)


def stdout_problem(error: BaseException) -> str | None:
    """Why the results can't be told, if that is it: nobody reads them, or their disk is full."""
    if untold := drop_untold():
        error = untold
    if not isinstance(error, (StdoutError, BrokenPipeError)):
        return None
    reason = os.strerror(error.errno or errno.EIO)
    return f"standard output: can't be written ({reason}); what was finished is kept"


def drop_untold() -> StdoutError | None:
    """Let what standard output can't take go nowhere, or Python would complain as it ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        stopping.lead_nowhere(sys.stdout.fileno())
        return StdoutError(error.errno, error.strerror)
    return None


def complain(message: str, cause: BaseException | None = None) -> None:
    """What went wrong: one line on stderr; with --debug, where."""
    if debug and cause is not None:
        told = "".join(traceback.format_exception(cause))
        to_stderr(without_secrets(told))
    print_line(f"error: {in_one_line(message, cause)}")


def in_one_line(message: str, cause: BaseException | None) -> str:
    """``message``, in which a library's words have no lines of their own; a name keeps its."""
    for error in causes(cause):
        if isinstance(error, RuntimeError) or type(error).__module__.split(".")[0] not in OURS:
            message = message.replace(str(error), joined(str(error)))
    return message


def causes(error: BaseException | None) -> list[BaseException]:
    """An error, what it was raised from, and so on; one may have been raised from itself."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__
    return found


def say(message: str) -> None:
    """What a person should know, unless they asked for quiet."""
    if not quiet:
        print_line(message)


def print_line(message: str) -> None:
    """One line on stderr, with nothing in it that a terminal would obey, and no secret."""
    to_stderr(f"adacode: {visible(without_secrets(message.strip()))}")


def to_stderr(text: str) -> None:
    """A text and the end of its line, in one piece.

    Where stderr can't be written, it vanishes: what is to be said is said by the exit code, too.
    """
    try:
        print(f"{text}\n", end="", file=sys.stderr, flush=True)
    except OSError:
        stopping.lead_nowhere(sys.stderr.fileno())


def without_secrets(text: str) -> str:
    """``text`` without tokens, passwords and what follows the '?' of an address."""
    for token in tokens():
        text = text.replace(token, "***")
    return TOKEN.sub("***", PASSWORD.sub(r"\1***@", QUERY.sub(r"\1", text)))


def tokens() -> list[str]:
    """The Hub's tokens of this user, as the Hub's tools find them."""
    known = [os.environ.get(name, "") for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")]
    if constants := sys.modules.get("huggingface_hub.constants"):
        file = Path(constants.HF_TOKEN_PATH)
        known.append(file.read_text().strip() if file.is_file() else "")
    return [token for token in known if len(token) >= 8]


class Lines(logging.Handler):
    """What our modules and the Hub's library log becomes lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        say(joined(record.getMessage()))


def show_logs() -> None:
    """Show what is announced before the network is used, and the Hub library's warnings."""
    import huggingface_hub.utils.logging  # noqa: F401 it adds a handler, which ours replaces

    lines = Lines()
    for name in ("adacode_cli", "huggingface_hub"):
        logger = logging.getLogger(name)
        logger.handlers = [lines]
        logger.propagate = False
    logging.getLogger("adacode_cli").setLevel(logging.INFO)
