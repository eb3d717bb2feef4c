"""What a user may choose about fillings."""

from __future__ import annotations

from enum import Enum


class Texture(str, Enum):
    """How much of a hole patches of the photo may be, where it isn't thin."""

    none = "none"  # all is drawn
    some = "some"  # wide holes are made of patches, and narrower ones mixed with them
    all = "all"  # both are made of patches

    @classmethod
    def _missing_(cls, value: object) -> Texture:
        """Say what there is."""
        names = ", ".join(f'"{texture.value}"' for texture in cls)
        raise ValueError(f"texture must be one of {names}, not {value!r}")
