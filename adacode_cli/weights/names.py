"""What a word for weights means, before anything is looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

from adacode_cli.errors import UsageError

HUB = "hf:"
PAGE = re.compile(r"^/?([^/]+/[^/]+)(?:/(?:blob|resolve)/([^/]+)/(.+))?/?$")
SCHEME = re.compile(r"[a-zA-Z][\w+.-]*://")
REVISION = re.compile(r"[\w./-]+")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class HubName:
    """A file in a repository of the Hub; without ``file``, the weights it holds."""

    repo: str
    file: str | None = None
    revision: str = constants.DEFAULT_REVISION

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        pin = "" if self.revision == constants.DEFAULT_REVISION else f"@{self.revision}"
        return f"{HUB}{self.repo}{file}{pin}"


@dataclass(frozen=True)
class Address:
    """A file anywhere on the web, and the SHA-256 it must have, if the user gave one.

    Raises ``UsageError`` if its name could lead out of the cache.
    """

    url: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        safe_file(self.file)

    @property
    def file(self) -> str:
        """The file's own name."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name or "weights"

    def __str__(self) -> str:
        return self.url


def is_network_name(word: str) -> bool:
    """Whether ``word`` can only be understood as something from the network."""
    return word.startswith(HUB) or SCHEME.match(word) is not None


def parse(word: str) -> HubName | Address:
    """'hf:owner/repo[/file][@revision]' or a web address. Raises ``UsageError``."""
    return parse_hub(word) if word.startswith(HUB) else parse_address(word)


def parse_hub(word: str) -> HubName:
    """'hf:owner/repo[/file][@revision]' in its parts."""
    place, at, revision = word.removeprefix(HUB).lstrip("/").rpartition("@")
    if not at:
        place, revision = revision, constants.DEFAULT_REVISION
    owner, _, rest = place.partition("/")
    repo, _, file = rest.partition("/")
    if not owner or not repo or not revision:
        raise UsageError(f"{word}: write hf:owner/repo, hf:owner/repo/file or …@revision")
    return hub_name(f"{owner}/{repo}", file or None, revision)


def hub_name(repo: str, file: str | None, revision: str) -> HubName:
    """A ``HubName`` whose parts can't lead anywhere else."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(f"{repo!r} can't be a repository of the Hub; write owner/repo") from error
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"{revision!r} is no revision; give a branch, a tag or a commit")
    return HubName(repo, file and safe_file(file), revision)


def safe_file(name: str) -> str:
    """``name`` itself. Raises ``UsageError`` if it could lead out of the folder it goes to."""
    parts = name.replace("\\", "/").split("/")
    if not name.isprintable() or ":" in name or {"", ".", ".."} & set(parts):
        raise UsageError(f"{name!r}: refused, such a file name could lead out of the cache")
    return name


def parse_address(word: str) -> HubName | Address:
    """A web address, or the Hub's name behind the address of one of its pages.

    Weights may come without encryption only from this machine, or if '#sha256=…' says what
    they must be.
    """
    try:
        parts = urlsplit(word)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{word}: no address ({error})") from error
    if not word.isprintable() or " " in word:
        raise UsageError(f"{word}: no address; write a space as %20")
    digest = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment)
    if parts.fragment and not digest:
        raise UsageError(f"{word}: after # there can only be sha256= and 64 hexadecimal digits")
    if parts.scheme not in {"https", "http"}:
        raise UsageError(f"{word}: weights come by https:// alone, not by {parts.scheme}://")
    if not parts.hostname:
        raise UsageError(f"{word}: the address names no machine")
    if hub := parse_page(word):
        return hub
    if parts.scheme == "http" and not digest and parts.hostname not in LOOPBACK:
        raise UsageError(f"{word}: use https://, or add #sha256=… so that it can be checked")
    url = parts._replace(fragment="").geturl()
    return Address(url, digest[1].lower() if digest else None)


def parse_page(word: str) -> HubName | None:
    """The name behind a page of the Hub: https://huggingface.co/owner/repo[/blob/rev/file]."""
    for site in ("https://huggingface.co", "https://hf.co", constants.ENDPOINT):
        page = PAGE.match(urlsplit(word.removeprefix(site)).path)
        if word.startswith(f"{site}/") and page:
            file = unquote(page[3]) if page[3] else None
            return hub_name(page[1], file, unquote(page[2] or constants.DEFAULT_REVISION))
    return None
