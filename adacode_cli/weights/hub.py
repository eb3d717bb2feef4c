"""Weights in a repository of the Hugging Face Hub, in the cache that all Hub tools share."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    NotASafetensorsRepoError,
    SafetensorsParsingError,
)
from huggingface_hub.file_download import repo_folder_name

from adacode_cli import __version__
from adacode_cli.errors import WeightsError
from adacode_cli.weights import convert
from adacode_cli.weights.names import HubName, safe_file
from adacode_cli.weights.network import (
    announce,
    explained,
    megabytes,
    require_network,
)
from adacode_cli.weights.record import Record, agrees, is_digest, kept_folder, record_of

API = HfApi(library_name="adacode", library_version=__version__)
SHOWN = 12  # files named in an error
SAFE_TAG = re.compile(r"[\w-]{1,128}")  # an ETag names a file in the cache


@dataclass(frozen=True)
class HubWeights:
    """Weights of a repository.

    label: what the user calls them. wanted: which files to take, the first that is there,
    where the name tells none. strict: whether nothing else will do.
    """

    name: HubName
    label: str
    wanted: tuple[str, ...] = (constants.SAFETENSORS_SINGLE_FILE,)
    strict: bool = False

    @property
    def origin(self) -> str:
        """Where they come from, for people."""
        return f"{constants.ENDPOINT}/{self.name.repo}"

    def cached(self) -> Path | None:
        """The file to load, if it is here already. Asks nobody."""
        raw = self.downloaded()
        if raw is None or not convert.is_torch(raw):
            return raw
        kept = self.converted_path(raw)
        return kept if kept.is_file() and Record.read(kept) else None

    def fetch(self, *, fresh: bool = False) -> Path:
        """The file to load, fetched and converted where needed.

        ``fresh`` asks the Hub even if it is here. Raises ``WeightsError``.
        """
        raw = None if fresh and not constants.is_offline_mode() else self.downloaded()
        raw = raw or self.download()
        if not convert.is_torch(raw):
            return raw
        kept = self.converted_path(raw)
        if kept.is_file() and Record.read(kept):
            return kept
        return convert.keep(raw, kept, f"{self.origin}: {raw.name}")

    def downloaded(self) -> Path | None:
        """The file as the repository has it, if it is in the cache."""
        for file in self.candidates():
            path = try_to_load_from_cache(self.name.repo, file, revision=self.name.revision)
            if isinstance(path, str):
                return Path(path)
        return None

    def candidates(self) -> Iterable[str]:
        """The files that the name may mean, by what is known without asking."""
        if self.name.file:
            return [self.name.file]
        commit = self.cached_commit()
        listing = self.listing_file(commit) if commit else None
        if listing and listing.is_file():
            file = self.pick(json.loads(listing.read_text()))
            return [file] if file else []
        if constants.is_offline_mode() and not self.strict and commit:
            snapshot = self.storage() / "snapshots" / commit
            here = weights_among(path.name for path in snapshot.iterdir())
            return [*self.wanted, *(here if len(here) == 1 else [])]
        return self.wanted

    def storage(self) -> Path:
        """The repository's folder in the Hub's cache."""
        folder = repo_folder_name(repo_id=self.name.repo, repo_type="model")
        return Path(constants.HF_HUB_CACHE) / folder

    def cached_commit(self) -> str | None:
        """The commit that the revision meant when it was last asked for, if that is here."""
        ref = self.storage() / "refs" / self.name.revision
        commit = ref.read_text().strip() if ref.is_file() else self.name.revision
        return commit if (self.storage() / "snapshots" / commit).is_dir() else None

    def listing_file(self, commit: str) -> Path:
        """Where the names of a commit's files are remembered."""
        return kept_folder() / "repositories" / self.storage().name / f"{commit}.json"

    def converted_path(self, raw: Path) -> Path:
        """Where the safetensors form of a torch file lies; ``raw`` is in a commit's snapshot."""
        snapshots = self.storage() / "snapshots"
        commit, *parts = raw.relative_to(snapshots).parts
        folder = kept_folder() / "converted" / self.storage().name / commit
        return folder.joinpath(*parts).with_suffix(".safetensors")

    def download(self) -> Path:
        """Ask the Hub, and bring the file into its cache. Raises ``WeightsError``."""
        require_network(self.label)
        announce(f"{self.label}: asking {constants.ENDPOINT} about {self.name.repo}")
        with explained(self.label, constants.ENDPOINT):
            file = self.name.file or self.choose(self.list_files())
            try:
                size, digest = self.look_at(file)
            except EntryNotFoundError as error:
                held = shorten(self.list_files())
                raise WeightsError(
                    f"{self.label}: {self.origin} holds no {file}; it holds {held}"
                ) from error
            announce(f"{self.label}: downloading {file} from {self.origin} ({megabytes(size)})")
            path = Path(
                hf_hub_download(
                    self.name.repo,
                    file,
                    revision=self.name.revision,
                    library_name="adacode",
                    library_version=__version__,
                )
            )
        self.check(path, digest)
        return path

    def list_files(self) -> list[str]:
        """What the repository holds; remembered, since a commit never changes."""
        info = API.model_info(
            self.name.repo, revision=self.name.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        names = [sibling.rfilename for sibling in info.siblings or []]
        if info.sha and is_digest(info.sha):
            listing = self.listing_file(info.sha)
            listing.parent.mkdir(parents=True, exist_ok=True)
            unfinished = listing.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(names))
            unfinished.replace(listing)
        return names

    def pick(self, names: list[str]) -> str | None:
        """The weights that are meant among a repository's files, if that is clear."""
        for file in self.wanted:
            if file in names:
                return file
        found = weights_among(names)
        return safe_file(found[0]) if len(found) == 1 and not self.strict else None

    def choose(self, names: list[str]) -> str:
        """``pick``, or a ``WeightsError`` that names the files."""
        if file := self.pick(names):
            return file
        found = weights_among(names)
        if self.strict:
            problem = f"holds neither {' nor '.join(self.wanted)}; it holds {shorten(names)}"
        elif found:
            problem = f"holds several weights; add one to the name: {shorten(found)}"
        else:
            problem = f"holds no AdaCode weights; it holds {shorten(names)}"
        raise WeightsError(f"{self.label}: {self.origin} {problem}")

    def look_at(self, file: str) -> tuple[int | None, str]:
        """The file's size and hash; nothing comes that isn't AdaCode's or isn't safe to keep."""
        url = hf_hub_url(self.name.repo, file, revision=self.name.revision)
        about = get_hf_file_metadata(url, library_name="adacode", retry_on_errors=True)
        for value in (about.etag, about.commit_hash):
            if value and not SAFE_TAG.fullmatch(value):
                raise WeightsError(f"{self.label}: refused, {value!r} can't name a file in a cache")
        if file.endswith(".safetensors"):
            self.refuse_others(file)
        return about.size, about.etag or ""

    def refuse_others(self, file: str) -> None:
        """Raise ``WeightsError`` for a model of something else, by its first kilobytes."""
        try:
            head = API.parse_safetensors_file_metadata(
                self.name.repo, file, revision=self.name.revision
            )
        except (SafetensorsParsingError, NotASafetensorsRepoError, ValueError) as error:
            raise WeightsError(f"{self.label}: {file} is no readable safetensors file") from error
        if "adacode" not in head.metadata:
            held = shorten(self.list_files())
            raise WeightsError(
                f"{self.label}: {file} isn't an AdaCode network; {self.origin} holds {held}"
            )

    def check(self, path: Path, digest: str) -> None:
        """Remove what doesn't hash to the Hub's record, and raise ``WeightsError``."""
        if not is_digest(digest):
            return
        if not agrees(path, digest):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise WeightsError(
                f"{self.label}: what came isn't what {self.origin} announced (its hash is"
                " another); it was removed, try again"
            )
        if not path.is_symlink():
            note = self.digest_file(path)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(digest)

    def expected(self, path: Path) -> str | None:
        """What a cached file must hash to: the Hub's own record, or ours of a conversion."""
        if record := Record.read(path):
            return record.sha256
        # The cache names a file's bytes by the hash that the Hub announced.
        if path.is_symlink():
            digest = path.readlink().name
        else:
            note = self.digest_file(path)
            digest = note.read_text() if note.is_file() else ""
        return digest if is_digest(digest) else None

    def digest_file(self, path: Path) -> Path:
        """Where a hash is remembered if the cache has no links, and so no place for it."""
        inner = path.relative_to(self.storage() / "snapshots")
        return kept_folder() / "repositories" / self.storage().name / f"{inner}.hash"

    def remove(self) -> list[Path]:
        """Take the file out of the cache, and its bytes where no other commit has them."""
        raw = self.downloaded()
        if raw is None:
            return []
        removed = [raw]
        if convert.is_torch(raw):
            kept = self.converted_path(raw)
            removed += [p for p in (kept, record_of(kept)) if p.exists()]
        blob = raw.resolve()
        for path in removed:
            path.unlink()
        others = (self.storage() / "snapshots").rglob("*")
        if blob.is_file() and not any(other.resolve() == blob for other in others):
            blob.unlink()
        return removed


def weights_among(names: Iterable[str]) -> list[str]:
    """The files that could be weights."""
    return sorted(n for n in names if n.endswith(".safetensors") or convert.is_torch(Path(n)))


def shorten(names: list[str]) -> str:
    """A list for an error: the first few, and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(sorted(names)[:SHOWN]) or "nothing") + more
