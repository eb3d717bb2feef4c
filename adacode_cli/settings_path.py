"""Where a person keeps their own defaults."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "ADACODE_"  # of the environment's variables


def settings_path() -> Path | None:
    """The settings file, there or not: $ADACODE_CONFIG, or in the user's own folder, if any."""
    if chosen := os.environ.get(f"{PREFIX}CONFIG"):
        return Path(chosen)
    if base := os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME"):
        return Path(base) / "adacode" / "config.toml"
    try:
        home = Path.home()
    except RuntimeError:  # $HOME isn't set, and no such user is known: so in containers
        return None
    return home / ("" if os.name == "nt" else ".config") / "adacode" / "config.toml"


def settings_place() -> str:
    """Where the settings file is, or why it isn't, for people."""
    path = settings_path()
    if path is None:
        return "no settings file: this user has no home folder"
    return f"{path}{'' if path.is_file() else ' (not there)'}"
