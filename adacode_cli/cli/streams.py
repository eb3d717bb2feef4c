"""Standard input, output and error, of which a script may have closed any."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Let a closed stream lead nowhere, as if a script had said /dev/null.

    Else Python has ``None`` in its place, and the next file that is opened takes its number:
    what a library prints would land in a photo. ``sys.__stdin__`` and its like stay ``None``.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            flags, mode = (os.O_RDONLY, "r") if name == "stdin" else (os.O_WRONLY, "w")
            number = os.open(os.devnull, flags)  # the least that is free: the closed one's
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
