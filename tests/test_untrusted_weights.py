"""A file of weights may be anything: the first thing wrong with it is named, nothing is run."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.checkpoint import CheckpointError
from adacode_cli.weights import names
from adacode_cli.weights.catalogue import BUNDLED, PUBLISHED, load_model, source
from adacode_cli.weights.record import agrees, git_sha1, sha256
from tests.conftest import Command, tiny_model
from tests.published_layout import filled_state
from tests.test_parity import SMALL
from tests.test_published_files import Bomb

Header = dict[str, Any]
BIAS = "encoder.first.bias"


def sound(path: Path) -> Path:
    """A file that loads."""
    model = tiny_model()
    checkpoint.save(path, model.config, model.state_dict())
    return path


def rewrite(path: Path, change: Callable[[Header], None]) -> None:
    """Change the header of a safetensors file and leave its tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def set_config(**fields: Any) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        config = json.loads(header["__metadata__"]["adacode"])
        header["__metadata__"]["adacode"] = json.dumps({**config, **fields})

    return change


def set_entry(**fields: Any) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header[BIAS] |= fields

    return change


def set_metadata(text: str) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header["__metadata__"]["adacode"] = text

    return change


BOOK = {"name": "a", "codes": 16, "dim": 4}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_config(scale=3), "scale is 3"),
        (set_config(scale="4"), "scale"),
        (set_config(widths=[10**12, 8, 8, 16]), "widths has 1000000000000"),
        (set_config(widths=[4096, 4096, 4096, 4096]), "it should have"),
        (set_config(widths=[4, 8]), "widths"),
        (set_config(widths=["a", 8, 8, 16]), "widths has 'a'"),
        (set_config(encoder_depths=[10**9, 1]), "encoder_depths"),
        (set_config(decoder_depths=[1]), "decoder_depths"),
        (set_config(codebooks=[BOOK] * 1000), "codebooks has 1000"),
        (set_config(codebooks=[{**BOOK, "codes": 1 << 40}]), "codes has"),
        (set_config(codebooks=[{**BOOK, "more": 1}]), "more"),
        (set_config(family="official"), "it should have|missing|no network"),
        (set_config(surprise=1), "surprise"),
        (set_metadata("[]"), "not an AdaCode configuration"),
        (set_metadata("[" * 100_000), "recursion"),
        (set_metadata("{"), "Expecting"),
        (set_entry(dtype="I32"), "'encoder.first.bias' holds int32"),
        (set_entry(dtype="F128"), "not a readable safetensors file"),
        (set_entry(shape=[2, 4]), "has shape"),
        (set_entry(shape=[1 << 62]), "not a readable safetensors file"),
        (set_entry(data_offsets=[0, 1 << 60]), "not a readable safetensors file"),
        (lambda header: header.pop("__metadata__"), "has no 'adacode' metadata"),
    ],
)
def test_a_lying_header_is_named(
    change: Callable[[Header], None], says: str, tmp_path: Path
) -> None:
    path = sound(tmp_path / "lying.safetensors")
    rewrite(path, change)
    with pytest.raises(CheckpointError, match=says) as refused:
        load_model(path)
    assert "lying.safetensors" in str(refused.value)


def test_a_header_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    for length in (1 << 62, (1 << 64) - 1, 100):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(CheckpointError, match="not a readable"):
            load_model(path)


def test_a_torch_file_cannot_claim_more_than_it_holds(tmp_path: Path) -> None:
    state = filled_state(SMALL)
    state["out_conv.weight"] = torch.zeros(1).expand(1 << 40)
    torch.save({"params": state}, tmp_path / "vast.pth")
    with pytest.raises(CheckpointError, match="claim"):
        load_model(tmp_path / "vast.pth")
    torch.save({"params": {"a": 1, "b": "text"}}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="'a' in its 'params' is no tensor"):
        load_model(tmp_path / "odd.pth")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("../../evil", "x")
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch evil'\ntR.")
    with pytest.raises(CheckpointError, match=r"zip\.pth"):
        load_model(tmp_path / "zip.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["zip.pth"]


def test_the_command_refuses_in_one_line_and_runs_nothing(tmp_path: Path, adacode: Command) -> None:
    trace = tmp_path / "trace"
    torch.save({"params": Bomb(trace)}, tmp_path / "bomb.pth")
    path = sound(tmp_path / "nan.safetensors")
    stored = checkpoint.load(path)
    stored.state[BIAS].fill_(torch.nan)
    checkpoint.save(path, stored.config, stored.state)
    (tmp_path / "a.png").write_bytes(b"")
    for words, says in (
        (("sr", "a.png", "--weights", "bomb.pth"), "refused"),
        (("weights", "convert", "bomb.pth", "out.safetensors"), "refused"),
        (("weights", "convert", "nan.safetensors", "out.safetensors"), "not finite"),
        (("weights", "convert", "nan.safetensors", "out.pth"), "name it so"),
    ):
        done = adacode(*words, check=2 if "name it" in says else 1)
        [line] = [line for line in done.stderr.splitlines() if "error" in line]
        assert says in line
        assert "Traceback" not in done.stderr
    assert not trace.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_published_file_becomes_safetensors(tmp_path: Path, adacode: Command) -> None:
    torch.save({"params": filled_state(SMALL)}, tmp_path / "theirs.pth")
    adacode("weights", "convert", "theirs.pth", "ours.safetensors")
    before, after = (load_model(tmp_path / name) for name in ("theirs.pth", "ours.safetensors"))
    for ours, theirs in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    adacode("weights", "convert", "theirs.pth", "ours.safetensors", check=1)
    adacode("weights", "convert", "theirs.pth", "ours.safetensors", "--half", "--force")
    assert checkpoint.look(tmp_path / "ours.safetensors").dtypes == ("F16",)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("hf:a/b", names.HubName("a/b")),
        ("hf:a/b/", names.HubName("a/b")),
        ("hf://a/b/c.safetensors", names.HubName("a/b", "c.safetensors")),
        ("hf:a/b@v1", names.HubName("a/b", None, "v1")),
        ("hf:a/b/d/c.pth@refs/pr/1", names.HubName("a/b", "d/c.pth", "refs/pr/1")),
        ("https://huggingface.co/a/b", names.HubName("a/b")),
        ("https://hf.co/a/b/resolve/v1/c.pth", names.HubName("a/b", "c.pth", "v1")),
        ("https://x.org/m.pth", names.Address("https://x.org/m.pth")),
        ("http://x.org/m.pth#sha256=" + "A" * 64, names.Address("http://x.org/m.pth", "a" * 64)),
    ],
)
def test_a_name_means_one_thing(word: str, meaning: object) -> None:
    assert names.parse(word) == meaning


@pytest.mark.parametrize(
    "word",
    [
        "hf:",
        "hf:a",
        "hf:a/",
        "hf:a/b/../c",
        "hf:a/b/c\x1b.pth",
        "hf:a/b@",
        "hf:a/b@..",
        "hf:-a/b",
        "https://",
        "http://x.org/m.pth",
        "https://x.org/m.pth#main",
        "https://x.org/%2e%2e",
        "https://x.org:99999/m.pth",
        "https://[x/m.pth",
        "https://x.org/a b.pth",
    ],
)
def test_a_name_that_means_nothing_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        names.parse(word)


def test_an_address_of_another_kind_is_told_as_it_was_written() -> None:
    for word in ("ftp://example.com/x", "file:///tmp/x", "S3://bucket/x"):
        with pytest.raises(UsageError, match=f"^{word}: weights come by https:// alone, not by"):
            source(word)


def test_the_catalogue_knows_the_bundled_files_by_their_hashes() -> None:
    for name, entry in BUNDLED.items():
        found = sha256(entry.path)
        assert entry.sha256 == found, f"write {found} behind {name} in weights/catalogue.py"
        assert (entry.task, entry.scale) == (
            checkpoint.look(entry.path).config.task,
            checkpoint.look(entry.path).config.scale,
        )
    for name in (*BUNDLED, *PUBLISHED):
        assert source(name) is not None


def test_hashes_are_those_of_git_and_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    assert git_sha1(path) == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert agrees(path, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    assert not agrees(path, "0" * 64)
