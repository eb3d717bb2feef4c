"""Pillow opens a file of any size: the limit on its pixels is ours to check."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

from PIL import Image

OPENING = threading.Lock()  # Pillow's own limit is one for the whole process


def open_unlimited(source: Path | IO[bytes]) -> Image.Image:
    """A file's header, whatever size it claims. Raises what ``Image.open`` does."""
    with OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
