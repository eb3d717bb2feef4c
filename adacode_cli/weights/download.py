"""Weights at a web address, in our part of the cache that all Hub tools share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from huggingface_hub import constants
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import (
    HfHubHTTPError,
    WeakFileLock,
    get_session,
    hf_raise_for_status,
)

from adacode_cli.errors import WeightsError
from adacode_cli.weights import convert
from adacode_cli.weights.names import Address
from adacode_cli.weights.network import (
    announce,
    explained,
    megabytes,
    require_network,
)
from adacode_cli.weights.record import Record, kept_folder, sha256

LOCK = ".lock"  # stays when nothing came


@dataclass(frozen=True)
class WebWeights:
    """Weights at an address; ``label`` is what the user calls them."""

    address: Address
    label: str

    @property
    def origin(self) -> str:
        """The address without a password and without what follows a '?'."""
        parts = urlsplit(self.address.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

    def cached(self) -> Path | None:
        """The file to load, if it is here already. Asks nobody."""
        path = self.kept_path()
        record = Record.read(path)
        if not path.is_file() or record is None:
            return None
        wanted = self.address.sha256
        return path if wanted in (None, record.source_sha256) else None

    def kept_path(self) -> Path:
        """Where the file lies, as safetensors."""
        key = hashlib.sha256(self.address.url.encode()).hexdigest()[:16]
        name = Path(self.address.file)
        if convert.is_torch(name) or not name.suffix:
            name = name.with_suffix(".safetensors")
        return kept_folder() / "web" / key / name

    def fetch(self, *, fresh: bool = False) -> Path:
        """The file to load, downloaded and converted where needed. Raises ``WeightsError``.

        A download that was cut goes on where it stopped, also in another run. With ``fresh``
        what is here is replaced if it comes from other bytes than the address now has.
        """
        fresh = fresh and not constants.is_offline_mode()
        path = self.cached()
        if path and not fresh:
            return path
        require_network(self.label)
        kept = self.kept_path()
        kept.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(kept.parent / LOCK):
            if self.cached() and not fresh:  # by another process meanwhile
                return kept
            host = urlsplit(self.address.url).netloc.rpartition("@")[2]
            announce(f"{self.label}: asking {host} about it")
            with explained(self.label, host):
                size, tag = self.look_at()
                record = Record.read(kept)
                if self.cached() and record and tag and record.tag == tag:
                    return kept
                came = self.download(kept.parent, size, tag)
            self.settle(came, kept, tag)
        return kept

    def download(self, folder: Path, size: int | None, tag: str) -> Path:
        """Bring the bytes; what is there of them from an earlier attempt isn't asked for again."""
        unfinished = folder / f".{tag}.incomplete"
        came = folder / "arrived" / self.address.file
        announce(f"{self.label}: downloading {self.origin} ({megabytes(size)})")
        with unfinished.open("ab") as file:
            here = file.tell()
            if size is None or here > size or not tag:  # nothing tells whether they belong together
                file.truncate(here := 0)
            http_get(self.address.url, file, resume_size=here, expected_size=size)
        came.parent.mkdir(exist_ok=True)
        unfinished.replace(came)
        return came

    def look_at(self) -> tuple[int | None, str]:
        """The size and a word that changes when the bytes do, as far as they are told."""
        url, response = self.address.url, None
        for _ in range(10):
            response = get_session().head(
                url,
                headers={"Accept-Encoding": "identity"},
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
                follow_redirects=False,
            )
            if not response.has_redirect_location:
                break
            url = urljoin(url, response.headers["Location"])
            if urlsplit(url).scheme != "https" and self.address.url.startswith("https:"):
                raise WeightsError(f"{self.label}: refused, it leads to an unencrypted address")
        assert response is not None
        try:
            hf_raise_for_status(response)
        except HfHubHTTPError:
            if response.status_code != 405:  # some servers only know GET
                raise
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() and response.is_success else None
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        word = f"{version} {size}".encode()
        return size, hashlib.sha256(word).hexdigest()[:12] if version else ""

    def settle(self, came: Path, kept: Path, tag: str) -> None:
        """Check what came and give it its name. What isn't right is removed."""
        digest = sha256(came)
        try:
            if self.address.sha256 not in (None, digest):
                raise WeightsError(
                    f"{self.label}: what came has the SHA-256 {digest},"
                    f" not {self.address.sha256}; it was removed"
                )
            if convert.is_torch(came):
                convert.keep(came, kept, self.origin, tag)
            else:
                convert.read_whole(came)
                came.replace(kept)
                Record(self.origin, digest, digest, tag).write(kept)
        finally:
            came.unlink(missing_ok=True)

    def expected(self, path: Path) -> str | None:
        """What the file must hash to: what it did when it came, or was converted."""
        record = Record.read(path)
        return record.sha256 if record else None

    def remove(self) -> list[Path]:
        """Take it out of the cache."""
        folder = self.kept_path().parent
        there = [path for path in folder.rglob("*") if path.is_file()]
        for file in there:
            file.unlink()
        return [path for path in there if path.name != LOCK]
