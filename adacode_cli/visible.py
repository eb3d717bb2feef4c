"""Text for people: what a terminal would obey, or hide, is written out."""

from __future__ import annotations

import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode's categories
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # within words, and within emoji
BYTES = range(0xDC80, 0xDD00)  # how Python keeps the bytes of a name that are no text


def visible(text: str) -> str:
    r"""``text`` on one line, with \n, \x1b and \xff where it has such characters; else as it is."""
    if text.isprintable():
        return text
    return "".join(map(written_out, text))


def written_out(character: str) -> str:
    """The character, or how Python's texts name one that doesn't show."""
    if ord(character) in BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) not in HIDDEN or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def joined(text: str) -> str:
    """The lines of a text that somebody else broke, as one."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())
