"""The error that ends a command with exit code 2."""


class UsageError(ValueError):
    """The command's words don't go together; nothing was done."""
