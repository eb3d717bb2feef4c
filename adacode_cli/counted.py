"""So many of something, in words."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """'1 photo' or '1,200 photos'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
