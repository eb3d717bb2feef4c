"""Which models there are, and the file behind a name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adacode_cli.errors import EMPTY, UsageError
from adacode_cli.weights import between, convert, names

if TYPE_CHECKING:
    from adacode_cli.model.adacode import AdaCode
    from adacode_cli.model.checkpoint import Checkpoint
    from adacode_cli.model.config import AdaCodeConfig
    from adacode_cli.weights.download import WebWeights
    from adacode_cli.weights.hub import HubWeights

PACKAGE = Path(__file__).resolve().parents[1]
# In an installed package the weights lie within it; in a checkout, beside it.
FOLDERS = (PACKAGE / "bundled", PACKAGE.parent / "weights")
RELEASE = "https://github.com/kechunl/AdaCode/releases/download/v0-pretrain_models"


class Source(Protocol):
    """Where weights come from: a name of the catalogue, a file, a repository, an address."""

    @property
    def origin(self) -> str:
        """For people."""

    def cached(self) -> Path | None:
        """The file to load if it is here; asks nobody."""

    def fetch(self, *, fresh: bool = False) -> Path:
        """The file to load, brought here if need be; ``fresh`` asks for a newer one."""

    def expected(self, path: Path) -> str | None:
        """What the file must hash to, if anyone has said so."""

    def remove(self) -> list[Path]:
        """Take it out of the cache; returns what was removed."""


@dataclass(frozen=True)
class File:
    """A file of the user's own."""

    path: Path

    @property
    def origin(self) -> str:
        """Where it lies."""
        return str(self.path)

    def cached(self) -> Path | None:
        """The file, if it is there."""
        return self.path if self.path.is_file() else None

    def fetch(self, *, fresh: bool = False) -> Path:  # noqa: ARG002 nothing is fresher
        """The file. Raises ``FileNotFoundError``."""
        if not self.path.is_file():
            known = ", ".join([*BUNDLED, *PUBLISHED])
            raise FileNotFoundError(
                f"{self.path}: neither a file nor a model; there are {known},"
                " hf:owner/repo and https://…"
            )
        return self.path

    def expected(self, path: Path) -> str | None:  # noqa: ARG002 as for every source
        """Nothing: whoever made it may know."""
        return None

    def remove(self) -> list[Path]:
        """Never: it isn't ours. Raises ``ValueError``."""
        raise ValueError(f"{self.path}: isn't in the cache, so it isn't removed")


@dataclass(frozen=True)
class Bundled:
    """A model that ships with the program, and the SHA-256 of its file."""

    name: str
    task: str
    scale: int
    sha256: str

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Where its file lies. Raises ``FileNotFoundError`` if the installation lost it."""
        for folder in FOLDERS:
            path = folder / f"{self.name}.safetensors"
            if path.is_file():
                return path
        raise FileNotFoundError(f"{self.name}: its file is missing from this installation")

    @property
    def origin(self) -> str:
        """Where it comes from."""
        return "bundled"

    def cached(self) -> Path | None:
        """Its file, unless the installation lost it."""
        return next((f for d in FOLDERS if (f := d / f"{self.name}.safetensors").is_file()), None)

    def fetch(self, *, fresh: bool = False) -> Path:  # noqa: ARG002 nothing is fresher
        """Its file."""
        return self.path

    def expected(self, path: Path) -> str | None:  # noqa: ARG002 as for every source
        """What is written below."""
        return self.sha256

    def remove(self) -> list[Path]:
        """Never. Raises ``ValueError``."""
        raise ValueError(f"{self.name}: is part of the program, so it isn't removed")


@dataclass(frozen=True)
class Published:
    """A network of the paper, and the name of its file in the authors' release."""

    name: str
    task: str
    scale: int
    file: str

    @property
    def place(self) -> HubWeights | WebWeights:
        """A repository of the Hub where one is configured, else the authors' release."""
        from adacode_cli.weights.download import WebWeights
        from adacode_cli.weights.hub import HubWeights

        if repo := configured_hub_repo():
            wanted = (f"{self.name}.safetensors", self.file)
            return HubWeights(as_hub_name(repo), self.name, wanted, strict=True)
        return WebWeights(names.Address(f"{configured_release()}/{self.file}"), self.name)

    @property
    def origin(self) -> str:
        """Where it comes from."""
        return self.place.origin

    def cached(self) -> Path | None:
        """Its file as safetensors, if it was fetched."""
        return self.place.cached()

    def fetch(self, *, fresh: bool = False) -> Path:
        """Its file as safetensors; downloaded and converted once. Raises ``WeightsError``."""
        return self.place.fetch(fresh=fresh)

    def expected(self, path: Path) -> str | None:
        """What it hashed to when it was fetched: the authors published no hashes."""
        return self.place.expected(path)

    def remove(self) -> list[Path]:
        """Take it out of the cache."""
        return self.place.remove()


# name, task, scale, SHA-256 of the file: one line a model
MODELS = """
lite-x4 sr 4 19ac1b3444fa75ab0558056bef2387298702365a072eb853dbbf680a4312680e
lite-x4-psnr sr 4 6af6262c1ef9f996a922302918a6ca1e65ff616f13e7c0b5bfe5769ae1b0e0ec
lite-x2 sr 2 ff4a7c09094b2c006e3339f340c12567f34126f45c05b71303c8b3588eb286bb
lite-x2-psnr sr 2 6e0030c4ce135cffc93546076b8e5a84f73cd7e20e8993fec42579f54d82b702
lite-inpaint inpaint 1 20fb4e996d756a1e5cf67a4bad2ca68118905b2438382b1935589d6eb295213f
lite-reconstruct reconstruct 1 ad01e247efcef0a5701f8e133616f7920fc46d8cee0a1ac3a2abcc19298c68ad
"""
BUNDLED = {
    name: Bundled(name, task, int(scale), digest)
    for name, task, scale, digest in map(str.split, MODELS.strip().splitlines())
}
PUBLISHED = {
    entry.name: entry
    for entry in (
        Published("official-x4", "sr", 4, "AdaCode_SR_X4_model_g.pth"),
        Published("official-x2", "sr", 2, "AdaCode_SR_X2_model_g.pth"),
        Published("official-inpaint", "inpaint", 1, "AdaCode_Inpaint_model_g.pth"),
        Published("official-reconstruct", "reconstruct", 1, "AdaCode_S2_model_g.pth"),
    )
}
CATALOGUE: dict[str, Bundled | Published] = {**BUNDLED, **PUBLISHED}


def configured_hub_repo() -> str | None:
    """The Hub's repository of the published networks; a settings file's word comes in here."""
    return os.environ.get("ADACODE_HUB_REPO") or None


def configured_release() -> str:
    """The address of the authors' release, or of a mirror of it."""
    return os.environ.get("ADACODE_RELEASE_URL", RELEASE).rstrip("/")


def as_hub_name(repo: str) -> names.HubName:
    """'owner/repo[@revision]', with or without 'hf:'."""
    return names.parse_hub(names.HUB + repo.removeprefix(names.HUB))


def default_for(task: str, scale: int) -> str | None:
    """The bundled model's name for a task and scale, if there is one."""
    return next((b.name for b in BUNDLED.values() if (b.task, b.scale) == (task, scale)), None)


def source(weights: str | Path) -> Source:
    """What a name, 'lite-x4@0.3', 'hf:owner/repo…', an address or a path means.

    Raises ``UsageError``.
    """
    word = str(weights)
    if not word:
        raise UsageError(f"weights: {EMPTY}")
    if word in CATALOGUE:
        return CATALOGUE[word]
    if mixed := between.parse(word, BUNDLED):
        return mixed
    if not names.is_network_name(word):
        return File(Path(weights))
    return elsewhere(word)


def elsewhere(word: str) -> HubWeights | WebWeights:
    """What a name of the network means; only then is there need of a client for it.

    Raises ``UsageError``.
    """
    from adacode_cli.weights.download import WebWeights
    from adacode_cli.weights.hub import HubWeights

    place = names.parse(word)
    if isinstance(place, names.HubName):
        return HubWeights(place, str(place))
    web = WebWeights(place, "")
    return WebWeights(place, web.origin)


def find(weights: str | Path) -> Path:
    """The file behind a name or a path, fetched if it comes from the network and isn't here.

    Raises ``FileNotFoundError`` or ``WeightsError``.
    """
    return source(weights).fetch()


def load_model(weights: str | Path) -> AdaCode:
    """The model behind a name, a file of ours or a published .pth. Raises ``CheckpointError``."""
    from adacode_cli.model.adacode import AdaCode

    path = find(weights)
    return AdaCode.from_checkpoint(read(path), path)


def what_for(weights: str | Path) -> Bundled | Published | AdaCodeConfig:
    """What knows the weights' task and scale: the catalogue, else a file's own configuration."""
    return CATALOGUE.get(str(weights)) or read_config(find(weights))


def read_config(path: Path) -> AdaCodeConfig:
    """What network a file holds. Raises ``CheckpointError``."""
    from adacode_cli.model import checkpoint

    return read(path).config if convert.is_torch(path) else checkpoint.look(path).config


def read(path: Path) -> Checkpoint:
    """A file of ours, or a published .pth. Raises ``CheckpointError``."""
    from adacode_cli.model import checkpoint
    from adacode_cli.weights import published

    return published.read(path) if convert.is_torch(path) else checkpoint.load(path)
