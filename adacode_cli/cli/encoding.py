"""Standard output, which takes any name of a file and any word of ours, whatever its encoding."""

from __future__ import annotations

import codecs
import sys

from adacode_cli.visible import BYTES

STRICT = frozenset({"strict", "surrogateescape"})  # not what a person asked for themselves


def take_any_text() -> None:
    """Let nothing that is printed be an error of its encoding."""
    codecs.register_error("adacode", written_otherwise)
    errors = getattr(sys.stdout, "errors", None)  # there may be no stdout, or none of Python's
    if errors in STRICT and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="adacode")


def written_otherwise(error: UnicodeError) -> tuple[bytes, int]:
    r"""For what an encoding lacks: a name's own bytes, so that a script finds the file, else \u….

    No similar letter: it would be the name of another file.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return b"".join(map(escaped, lacking)), error.end


def escaped(character: str) -> bytes:
    r"""The byte that the character stands for, else \xd7 or \u2192."""
    if ord(character) in BYTES:
        return character.encode("ascii", "surrogateescape")
    return character.encode("ascii", "backslashreplace")
