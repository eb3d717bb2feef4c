"""What this machine and this installation have, as lines of words."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from PIL import Image, features

from adacode_cli import __version__
from adacode_cli.device import has_fast_bf16
from adacode_cli.settings_path import settings_place
from adacode_cli.weights.catalogue import FOLDERS, configured_hub_repo, configured_release
from adacode_cli.weights.network import explained
from adacode_cli.weights.record import kept_folder

LIBRARIES = (
    "torch",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "huggingface-hub",
    "safetensors",
    "typer",
)
EXTRAS = {"train": "accelerate", "HEIC": "pillow_heif", "JPEG XL": "pillow_jxl"}
CODECS = {"JPEG": "jpg", "PNG": "zlib", "WebP": "webp", "AVIF": "avif", "TIFF": "libtiff"}
SETTINGS = ("ADACODE_", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "CUDA_VISIBLE_DEVICES")
SECRET = ("TOKEN", "PROXY")  # shown only as being set
CGROUP = Path("/sys/fs/cgroup")
CPU_INFO = Path("/proc/cpuinfo")

Report = dict[str, str]


def versions() -> Report:
    """This program, Python, and the libraries it stands on."""
    found = {
        "adacode": __version__,
        "python": f"{platform.python_version()}, {platform.platform()}",
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "MISSING"
    return found


def devices() -> Report:
    """Where the network can run, and in which precision by itself."""
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    found = {"cpu": f"{threads}, {'bf16' if has_fast_bf16('cpu') else 'fp32'} by itself"}
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        found[f"cuda:{number}"] = f"{about.name}, {about.total_memory / 1e9:.1f} GB"
    if torch.backends.mps.is_available():
        found["mps"] = "yes"
    return found


def processor(device: str = "cpu") -> str:
    """What computes, by the name its maker gave it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if CPU_INFO.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def room() -> Report:
    """Memory, and space on the disk of the cache."""
    found = {}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found["memory"] = f"{total / 1e9:.1f} GB" + container_limit(total)
    cache = Path(constants.HF_HOME)
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    found["free disk"] = f"{shutil.disk_usage(there).free / 1e9:.1f} GB at {there}"
    return found


def container_limit(total: int) -> str:
    """What a container allows, where it is less than the machine has."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = CGROUP / name
        limit = file.read_text().strip() if file.is_file() else "max"
        if limit.isdigit() and int(limit) < total:
            return f", of which this container may use {int(limit) / 1e9:.1f} GB"
    return ""


def formats() -> Report:
    """Which pictures can be read, and which extras are installed."""
    Image.init()
    found = {name: yes(bool(features.check(part))) for name, part in CODECS.items()}
    for name, module in EXTRAS.items():
        found[name] = yes(importlib.util.find_spec(module) is not None)
    return found


def yes(present: bool) -> str:  # noqa: FBT001 it is the question itself
    """Yes or no, for people."""
    return "yes" if present else "no"


def places() -> Report:
    """Where weights and settings are looked for."""
    bundled = next((str(f) for f in FOLDERS if f.is_dir()), "MISSING")
    return {
        "bundled": bundled,
        "hub cache": constants.HF_HUB_CACHE,
        "converted": str(kept_folder()),
        "published": configured_hub_repo() or configured_release(),
        "settings": settings_place(),
        "network": "off"
        if constants.is_offline_mode()
        else f"when asked for, {constants.ENDPOINT}",
    }


def environment() -> Report:
    """The variables that matter and are set; secrets only by name."""
    return {
        name: "set" if any(word in name.upper() for word in SECRET) else value
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(SETTINGS)
    }


def hub_answer() -> Report:
    """Whether the Hub answers, and how fast. Raises ``WeightsError``."""
    began = time.monotonic()
    with explained("Hub", constants.ENDPOINT):
        response = get_session().get(
            f"{constants.ENDPOINT}/api/models",
            params={"limit": 1},
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )
    taken = f"{1000 * (time.monotonic() - began):.0f} ms"
    verdict = "answers" if response.status_code < 400 else f"answers {response.status_code}"
    return {constants.ENDPOINT: f"{verdict}, {taken}"}
