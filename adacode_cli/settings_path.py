"""Where a person keeps their own defaults."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "ADACODE_"  # of the environment's variables


def settings_path() -> Path:
    """The settings file, there or not: $ADACODE_CONFIG, or in the user's own folder."""
    if chosen := os.environ.get(f"{PREFIX}CONFIG"):
        return Path(chosen)
    if os.name == "nt":
        base = Path(os.environ.get("APPDATA", Path.home()))
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "adacode" / "config.toml"
