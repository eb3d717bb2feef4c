"""Errors that several rooms raise; none of them brings a library along."""

EMPTY = "an empty name; is a variable not set?"  # in place of a path, after what it is for


class UsageError(ValueError):
    """The command's words don't go together; nothing was done. It ends with exit code 2."""


class WeightsError(OSError):
    """Weights that couldn't be had: which, from where, and what to do."""
