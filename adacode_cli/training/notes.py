"""Lines on stderr around a long run."""

from __future__ import annotations

import sys

from adacode_cli.launched import is_follower
from adacode_cli.visible import visible


def note(message: str) -> None:
    """One line on stderr, for what a person should know before a long run; one process says it."""
    if is_follower():
        return
    print(visible(f"adacode: {message}"), file=sys.stderr, flush=True)
