"""Weights go to the Hub, with a card that says what they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, constants, get_token

from adacode_cli.errors import UsageError, WeightsError
from adacode_cli.weights import convert, names
from adacode_cli.weights.card import Entry, read_means, write_card
from adacode_cli.weights.describe import describe
from adacode_cli.weights.hub import API
from adacode_cli.weights.network import (
    OFF,
    SIGN_IN,
    announce,
    explained,
    megabytes,
)

CARD = "README.md"
SHOWABLE = ("PNG", "JPEG", "WEBP", "GIF")  # pictures that browsers show


@dataclass(frozen=True)
class Parcel:
    """What is to be published: files by their names in the repository, and the card.

    sheets: the card's picture, if it has one, by its name there.
    """

    repo: str
    files: dict[str, Path]
    card: str
    sheets: dict[str, Path]


def pack(
    files: list[Path], repo: str, scores: Path | None, sheet: Path | None, license_name: str
) -> Parcel:
    """Check everything and write the card; nothing is sent.

    Raises ``CheckpointError`` for a file that wouldn't load, ``UsageError`` for words that
    don't go together.
    """
    place = names.parse_hub(names.HUB + repo.removeprefix(names.HUB))
    if place.file or place.revision != constants.DEFAULT_REVISION:
        raise UsageError(f"{repo}: give a repository, owner/name")
    inside = {names.safe_file(path.with_suffix(".safetensors").name): path for path in files}
    if len(inside) < len(files):
        counts = Counter(path.stem for path in files)
        raise UsageError(f"two files would both be called {counts.most_common(1)[0][0]}")
    sheets = {f"details.{picture_format(sheet)}": sheet} if sheet else {}
    for path in files:
        if convert.is_torch(path):
            raise UsageError(f"{path}: only safetensors go out; 'adacode weights convert' it first")
        convert.read_whole(path)
    entries = [Entry(name, describe(path)) for name, path in inside.items()]
    means = read_means(scores) if scores else {}
    card = write_card(place.repo, entries, means, next(iter(sheets), None), license_name)
    return Parcel(place.repo, inside, card, sheets)


def picture_format(path: Path) -> str:
    """What a picture is, as names of such files end. Raises for none that a card can show."""
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture")
    try:
        with Image.open(path, formats=SHOWABLE) as picture:
            return str(picture.format).lower()
    except UnidentifiedImageError as error:
        raise UsageError(
            f"{path}: no {', '.join(SHOWABLE)} picture; 'adacode eval --sheet' writes one"
        ) from error


def send(parcel: Parcel, *, private: bool, force: bool) -> list[str]:
    """Create the repository if need be and commit all at once; returns the names that load.

    What the repository has already is replaced only with ``force``; its card is left as it
    is without. Raises ``WeightsError``.
    """
    label = f"{names.HUB}{parcel.repo}"
    if constants.is_offline_mode():
        raise WeightsError(f"{label}: can't be published, {OFF}; --dry-run shows the card")
    if not get_token():
        raise WeightsError(f"{label}: the Hub wants to know who you are; {SIGN_IN}")
    total = sum(path.stat().st_size for path in parcel.files.values())
    announce(f"{label}: publishing at {constants.ENDPOINT} ({megabytes(total)})")
    with explained(label, constants.ENDPOINT):
        API.create_repo(parcel.repo, private=private or None, exist_ok=True)
        held = set(API.list_repo_files(parcel.repo))
        taken = sorted(held & parcel.files.keys())
        if taken and not force:
            raise WeightsError(f"{label}: holds {', '.join(taken)} already; --force replaces it")
        additions = operations(parcel, with_card=force or CARD not in held)
        if CARD in held and not force:
            announce(f"{label}: its card is left as it is; --force replaces it")
        API.create_commit(parcel.repo, additions, commit_message=message(parcel))
    return [f"{label}/{name}" for name in parcel.files]


def operations(parcel: Parcel, *, with_card: bool) -> list[CommitOperationAdd]:
    """The commit's parts."""
    files = {**parcel.files, **parcel.sheets}
    parts = [CommitOperationAdd(name, path) for name, path in files.items()]
    if with_card:
        parts.append(CommitOperationAdd(CARD, parcel.card.encode()))
    return parts


def message(parcel: Parcel) -> str:
    """What the repository's history says."""
    return f"Add {', '.join(parcel.files)}"
