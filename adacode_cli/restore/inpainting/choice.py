"""What a user may choose about fillings."""

from __future__ import annotations

from enum import Enum


class Texture(str, Enum):
    """How much of a hole may be pieces of the photo, where what is drawn lacks texture."""

    none = "none"  # nothing
    some = "some"  # the widest holes, and a share of narrower ones: nearer to what was there
    all = "all"  # whatever is dull and not very thin: sharper

    @classmethod
    def _missing_(cls, value: object) -> Texture:
        """Say what there is."""
        names = ", ".join(f'"{texture.value}"' for texture in cls)
        raise ValueError(f"texture must be one of {names}, not {value!r}")


DEFAULT = Texture.all  # for commands and from Python alike
