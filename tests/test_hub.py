"""Weights from a Hub: a real client, a real server on loopback, the command as a process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData
from PIL import Image
from safetensors.torch import save

from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import CodebookConfig
from adacode_cli.weights.network import reason
from tests.conftest import make_photo, tiny_config, tiny_model
from tests.hub import Fault, Hub, running, sha256
from tests.processes import run_command
from tests.published_layout import filled_state
from tests.test_parity import SMALL
from tests.test_published_files import Bomb

ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]
FAR = {"HF_ENDPOINT": "https://huggingface.co"}  # not on this machine
PIECE = 10 * 1024 * 1024  # bytes that huggingface_hub reads at once


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running() as hub:
        yield hub


def environment(hub: Hub, home: Path) -> dict[str, str]:
    """Nothing of this machine's own Hub settings, and plain HTTP instead of Xet."""
    hidden = ("HF_", "HUGGING", "ADACODE_", "HTTP", "ALL_PROXY")
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(hidden)}
    ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return {**kept, **ours, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def adacode(tmp_path: Path, hub: Hub) -> Run:
    """Run the command against the hub, in ``tmp_path``; keywords are environment variables."""

    def run(*words: str | Path, check: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        env = {**environment(hub, tmp_path / "home"), **more}
        done = run_command([str(word) for word in words], tmp_path, env)
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert hub.token not in done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small model as a file's bytes."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    model = tiny_model()
    story = {"training": json.dumps({"stage": "finetune", "step": 7})}
    checkpoint.save(path, model.config, model.state_dict(), story)
    return path.read_bytes()


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model whose file comes in more than one piece."""
    path = tmp_path_factory.mktemp("big") / "big.safetensors"
    model = AdaCode(replace(tiny_config(), codebooks=(CodebookConfig("a", 1 << 16, 48),)))
    checkpoint.save(path, model.config, model.state_dict())
    assert PIECE < path.stat().st_size < 2 * PIECE
    return path.read_bytes()


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("adacode: error:")]


def only_problem(done: subprocess.CompletedProcess[str]) -> str:
    assert len(problems(done)) == 1, done.stderr
    return problems(done)[0]


def hub_files(home: Path) -> list[str]:
    """Everything in the caches that is no lock."""
    return sorted(
        str(p.relative_to(home))
        for p in home.rglob("*")
        if p.is_file() and not p.name.endswith(".lock")
    )


def test_weights_are_fetched_once_said_before_and_used_without_asking(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"README.md": b"# small", "model.safetensors": tiny})
    pulled = adacode("weights", "pull", "hf:someone/small")
    path = Path(pulled.stdout.strip())
    assert path.read_bytes() == tiny
    assert path.is_relative_to(tmp_path / "home" / "hub" / "models--someone--small")
    asking, downloading = pulled.stderr.splitlines()
    assert "asking" in asking
    assert hub.url in asking
    assert f"({len(tiny) / 1e6:.1f} MB)" in downloading
    assert hub.url in downloading
    hub.forget()
    make_photo(16, 16).save(tmp_path / "a.png")
    done = adacode("sr", "a.png", "--weights", "hf:someone/small")
    assert "hf:someone/small on" in done.stderr
    assert "asking" not in done.stderr
    with Image.open(tmp_path / "a_x4.png") as image:
        assert image.size == (64, 64)
    assert adacode("weights", "path", "hf:someone/small").stdout.strip() == str(path)
    assert adacode("weights", "verify", "hf:someone/small").stdout == "hf:someone/small: whole\n"
    told = json.loads(adacode("weights", "info", "hf:someone/small", "--json").stdout)
    assert (told["sha256"], told["training"]["step"]) == (sha256(tiny), 7)
    listed = json.loads(adacode("weights", "list", "--json").stdout)
    found = [item["name"] for item in listed if item["where"].startswith(hub.url)]
    assert found == ["hf:someone/small/model.safetensors"]
    assert hub.lines() == []


def test_the_only_weights_are_meant_and_remembered(hub: Hub, adacode: Run, tiny: bytes) -> None:
    hub.repo("someone/one", {"README.md": b"#", "sub/mine.safetensors": tiny})
    first = adacode("weights", "pull", "hf:someone/one").stdout
    hub.forget()
    assert adacode("weights", "path", "hf:someone/one").stdout == first
    assert hub.lines() == []
    hub.repos["someone/one"].commit({"other.safetensors": tiny})
    refused = adacode("weights", "pull", "hf:someone/one", check=1)
    assert "other.safetensors, sub/mine.safetensors" in only_problem(refused)
    adacode("weights", "pull", "hf:someone/one/sub/mine.safetensors")


def test_a_page_of_the_hub_is_as_good_as_its_name(hub: Hub, adacode: Run, tiny: bytes) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    page = f"{hub.url}/someone/small/blob/main/model.safetensors"
    assert adacode("weights", "pull", page).stdout == (
        adacode("weights", "path", "hf:someone/small").stdout
    )


def test_a_download_goes_on_after_a_cut(hub: Hub, adacode: Run, big: bytes) -> None:
    hub.repo("someone/big", {"model.safetensors": big})
    hub.faults.append(Fault(rf"^GET /{sha256(big)}", cut_after=PIECE + 1000))
    done = adacode("weights", "pull", "hf:someone/big")
    assert Path(done.stdout.strip()).read_bytes() == big
    assert [asked.range for asked in hub.downloads] == [None, f"bytes={PIECE}-"]


def test_a_slow_and_a_stalled_connection_are_waited_for(
    hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    hub.faults.append(Fault(r"^GET /[0-9a-f]{64}", pause=3))
    hub.faults.append(Fault(r"^GET /[0-9a-f]{64}", slow=True, pause=0.01))
    done = adacode("weights", "pull", "hf:someone/small", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert Path(done.stdout.strip()).read_bytes() == tiny
    assert len(hub.downloads) == 2


def test_a_revision_is_pinned(hub: Hub, adacode: Run, tiny: bytes) -> None:
    repo = hub.repo("someone/moving", {"model.safetensors": tiny})
    first = repo.refs["v1"] = repo.refs["main"]
    other = tiny_model("sr", 2)
    newer = save(
        {k: v.contiguous() for k, v in other.state_dict().items()},
        {"adacode": json.dumps(other.config.to_dict())},
    )
    repo.commit({"model.safetensors": newer})
    for revision, expected in (("@v1", tiny), (f"@{first}", tiny), ("", newer)):
        path = adacode("weights", "pull", f"hf:someone/moving{revision}").stdout.strip()
        assert Path(path).read_bytes() == expected
    hub.forget()
    pinned = adacode("weights", "path", f"hf:someone/moving@{first}").stdout.strip()
    assert Path(pinned).read_bytes() == tiny
    assert hub.lines() == []
    assert "no such revision" in only_problem(
        adacode("weights", "pull", "hf:someone/moving@v9", check=1)
    )


def test_offline_uses_what_is_here_and_asks_nobody(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    make_photo(16, 16).save(tmp_path / "a.png")
    for words, env in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})):
        missed = adacode("sr", "a.png", "--weights", "hf:someone/small", *words, check=1, **env)
        assert "the network is off" in only_problem(missed)
        missed = adacode("sr", "a.png", "--weights", "official-x4", *words, check=1, **env)
        assert "the network is off" in only_problem(missed)
    assert hub.lines() == []
    adacode("weights", "pull", "hf:someone/small")
    hub.forget()
    adacode("sr", "a.png", "--weights", "hf:someone/small", "--offline")
    adacode("weights", "pull", "hf:someone/small", "--offline")
    assert hub.lines() == []


def test_a_gated_repository_opens_with_the_token_and_only_the_hub_sees_it(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/gated", {"model.safetensors": tiny}, gated=True)
    refused = adacode("weights", "pull", "hf:someone/gated", check=1)
    assert "gated" in only_problem(refused)
    assert "HF_TOKEN" in only_problem(refused)
    adacode("weights", "pull", "hf:someone/gated", HF_TOKEN=hub.token)
    assert hub.asked[-1].authorization == f"Bearer {hub.token}"
    assert {asked.authorization for asked in hub.asked_files} == {None}
    assert all(hub.token not in p.read_text("latin1") for p in tmp_path.rglob("*") if p.is_file())


def test_the_hubs_warnings_are_said_once_and_without_secrets() -> None:
    code = (
        "import logging\n"
        "from adacode_cli.cli import problems\n"
        "from adacode_cli.weights import catalogue\n"
        "problems.show_logs()\n"
        "catalogue.source('official-x4').origin\n"  # brings the Hub's client
        "log = logging.getLogger('huggingface_hub.file_download')\n"
        "log.warning('slow: https://a.b/c?X-Amz-Signature=secret')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.count("slow") == 1
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("name", "fault", "says"),
    [
        ("hf:someone/nothing", None, "no such repository"),
        ("hf:someone/private", None, "no such repository"),
        ("hf:someone/small/no.safetensors", None, "it holds README.md, model.safetensors"),
        ("hf:someone/small@v9", None, "no such revision"),
        ("hf:someone/small", Fault("models/someone/small", 9, 403), "forbids it"),
        ("hf:someone/small", Fault("models/someone/small", 9, 500), "in trouble (500)"),
        (
            "hf:someone/small",
            Fault("models/someone/small", 9, 429, {"Retry-After": "77"}),
            "try again in 77 s",
        ),
        ("hf:someone/text", None, "holds no AdaCode weights; it holds README.md, notes.txt"),
        ("hf:someone/bert", None, "isn't an AdaCode network"),
        ("hf:someone/junk", None, "no readable safetensors file"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(
    name: str, fault: Fault | None, says: str, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"README.md": b"#", "model.safetensors": tiny})
    hub.repo("someone/private", {"model.safetensors": tiny}, private=True)
    hub.repo("someone/text", {"README.md": b"#", "notes.txt": b"nothing"})
    bert = save({"embeddings.weight": torch.zeros(600, 10)}, {"format": "pt"})
    hub.repo("someone/bert", {"model.safetensors": bert})
    hub.repo("someone/junk", {"model.safetensors": b"<html>" * 1000})
    hub.faults.extend([fault] if fault else [])
    refused = adacode("weights", "pull", name, check=1)
    assert says in only_problem(refused)
    assert refused.stdout == ""
    assert hub.downloads == []


def test_a_token_that_is_not_accepted_is_said_and_not_shown(tmp_path: Path, hub: Hub) -> None:
    hub.repo("someone/text", {"README.md": b"#"})
    wrong = "hf_wrongwrongwrongwrongwrong"
    done = subprocess.run(
        [sys.executable, "-m", "adacode_cli", "--debug", "weights", "pull", "hf:someone/text"],
        env={**environment(hub, tmp_path / "home"), "HF_TOKEN": wrong},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "accept the token" in done.stderr
    assert "Traceback" in done.stderr  # it was asked for
    assert wrong not in done.stderr


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(status: int, hub: Hub, adacode: Run, tiny: bytes) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    hub.faults.append(Fault("^HEAD", 1, status, {"Retry-After": "0"}))
    done = adacode("weights", "pull", "hf:someone/small/model.safetensors")
    assert Path(done.stdout.strip()).read_bytes() == tiny


def test_bytes_with_another_hash_are_not_kept(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    changed = bytearray(tiny)
    changed[-1] ^= 1
    hub.faults.append(Fault(r"^GET /[0-9a-f]{64}", body=bytes(changed)))
    refused = adacode("weights", "pull", "hf:someone/small", check=1)
    assert "its hash is another" in only_problem(refused)
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    hub.faults.clear()
    path = Path(adacode("weights", "pull", "hf:someone/small").stdout.strip())
    blob = path.resolve()
    blob.write_bytes(bytes(changed))
    damaged = adacode("weights", "verify", check=1)
    assert "hf:someone/small/model.safetensors: DAMAGED" in damaged.stdout
    assert "lite-x4: whole" in damaged.stdout
    adacode("weights", "rm", "hf:someone/small")
    assert not path.exists()
    assert not blob.exists()
    adacode("weights", "path", "hf:someone/small", check=1)


def test_a_cache_without_links_knows_the_hashes_too(hub: Hub, adacode: Run, tiny: bytes) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    env = {"HF_HUB_DISABLE_SYMLINKS": "1"}
    path = Path(adacode("weights", "pull", "hf:someone/small", **env).stdout.strip())
    assert not path.is_symlink()
    assert "whole" in adacode("weights", "verify", "hf:someone/small", **env).stdout
    path.write_bytes(tiny[:-1] + b"x")
    adacode("weights", "verify", "hf:someone/small", check=1, **env)


def test_a_full_disk_is_said_and_leaves_nothing_half(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    hub.blobs["mine.safetensors"] = tiny
    for name in ("hf:someone/small", f"{hub.files_url}/mine.safetensors"):
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        run = f"{limit} from adacode_cli.cli.main import app; app(['weights', 'pull', {name!r}])"
        done = subprocess.run(
            [sys.executable, "-c", run],
            env=environment(hub, tmp_path / "home"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "can't be kept whole (File too large" in only_problem(done)
        assert not list((tmp_path / "home").rglob("*.safetensors"))
        adacode("weights", "pull", name)
        adacode("weights", "rm", name)


def test_names_in_a_repository_cannot_leave_the_cache(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    for number, evil in enumerate(
        ("../../../evil.safetensors", "/evil.safetensors", "a\\..\\..\\evil.safetensors")
    ):
        hub.repo(f"someone/bad{number}", {evil: tiny})
        refused = adacode("weights", "pull", f"hf:someone/bad{number}", check=2)
        assert "refused" in only_problem(refused)
    hub.repo("someone/small", {"model.safetensors": tiny})
    for headers in (
        {"ETag": '"../../../evil"', "X-Repo-Commit": "a" * 40},
        {"ETag": '"abc"', "X-Repo-Commit": "../../evil"},
    ):
        hub.faults.append(Fault("^HEAD", 1, 200, headers))
        refused = adacode("weights", "pull", "hf:someone/small", check=1)
        assert "refused" in only_problem(refused)
    for word in ("hf:someone/../../x", "hf:a/b/../../../x.safetensors", "hf:a/b@../../x"):
        adacode("weights", "pull", word, check=2)
    assert not [p for p in tmp_path.rglob("*") if "evil" in p.name]


def test_a_published_network_comes_from_the_configured_repository_and_is_converted_once(
    tmp_path: Path, hub: Hub, adacode: Run
) -> None:
    torch.save({"params": filled_state(SMALL)}, tmp_path / "theirs.pth")
    theirs = (tmp_path / "theirs.pth").read_bytes()
    hub.repo("lab/adacode", {"README.md": b"#", "AdaCode_SR_X4_model_g.pth": theirs})
    done = adacode("weights", "pull", "official-x4", ADACODE_HUB_REPO="lab/adacode")
    path = Path(done.stdout.strip())
    assert path.suffix == ".safetensors"
    assert path.is_relative_to(tmp_path / "home")
    stored = checkpoint.load(path)
    assert stored.metadata["source_sha256"] == sha256(theirs)
    before = path.stat().st_mtime_ns
    hub.forget()
    make_photo(16, 16).save(tmp_path / "a.png")
    adacode("sr", "a.png", "--weights", "official-x4", ADACODE_HUB_REPO="lab/adacode")
    verified = adacode("weights", "verify", "official-x4", ADACODE_HUB_REPO="lab/adacode")
    assert verified.stdout == "official-x4: whole\n"
    assert hub.lines() == []
    assert path.stat().st_mtime_ns == before
    missing = adacode("weights", "pull", "official-x2", check=1, ADACODE_HUB_REPO="hf:lab/adacode")
    assert "official-x2.safetensors nor AdaCode_SR_X2_model_g.pth" in only_problem(missing)
    adacode("weights", "list", ADACODE_HUB_REPO="lab/adacode")
    adacode("weights", "rm", "official-x4", ADACODE_HUB_REPO="lab/adacode")
    assert not path.exists()


def test_without_a_repository_the_release_is_asked_through_the_proxy(adacode: Run) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000).decode().splitlines()[0])
                connection.sendall(b"HTTP/1.1 503 no\r\n\r\n")

        thread = Thread(target=refuse)
        thread.start()
        proxy = f"http://user:passw0rd@127.0.0.1:{server.getsockname()[1]}"
        refused = adacode("weights", "pull", "official-x4", check=1, HTTPS_PROXY=proxy)
        thread.join(10)
    assert asked == ["CONNECT github.com:443 HTTP/1.1"]
    assert "github.com" in only_problem(refused)
    assert "passw0rd" not in refused.stderr


@pytest.mark.skipif(find_spec("socksio") is not None, reason="what the proxy takes is here")
@pytest.mark.parametrize("name", ["hf:owner/repo", "https://example.com/m.safetensors"])
def test_a_socks_proxy_without_its_package_is_one_line(name: str, adacode: Run) -> None:
    words = ("weights", "pull", name)
    refused = adacode(*words, check=1, NO_PROXY="", HTTPS_PROXY="socks5://127.0.0.1:9", **FAR)
    assert f"{name}: a SOCKS proxy is set" in only_problem(refused)
    assert "pip install 'httpx[socks]'" in refused.stderr


def test_what_only_a_setting_mends_is_not_to_be_tried_again(adacode: Run) -> None:
    refused = adacode("weights", "pull", "hf:owner/repo", check=1, HF_ENDPOINT="nonsense")
    assert "HF_ENDPOINT must be an address such as https://hugging" in only_problem(refused)
    assert "try again" not in refused.stderr
    told = reason(OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "the.hub")
    assert told.endswith("its certificate isn't trusted here; SSL_CERT_FILE can name one that is")
    assert reason(OSError("reset"), "the.hub").endswith("; try again")


def test_an_address_is_fetched_once_goes_on_in_another_run_and_can_be_pinned(
    tmp_path: Path, hub: Hub, adacode: Run, big: bytes
) -> None:
    hub.blobs["big.safetensors"] = big
    url = f"{hub.files_url}/big.safetensors"
    hub.faults.append(Fault("^GET", 1, cut_after=PIECE + 5))
    hub.faults.append(Fault("^GET", 99, status=404))
    cut = adacode("weights", "pull", url, check=1)
    assert "404" in only_problem(cut)
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    hub.faults.clear()
    hub.forget()
    pinned = f"{url}#sha256={sha256(big)}"
    path = Path(adacode("weights", "pull", pinned).stdout.strip())
    assert path.read_bytes() == big
    assert [a.range for a in hub.downloads if "GET" in a.line] == [f"bytes={PIECE}-"]
    hub.forget()
    assert adacode("weights", "path", url).stdout.strip() == str(path)
    assert adacode("weights", "verify", url).stdout == f"{url}: whole\n"
    assert adacode("weights", "path", f"{url}#sha256={'0' * 64}", check=1).stdout == ""
    assert hub.lines() == []
    adacode("weights", "rm", url)
    assert hub_files(tmp_path / "home") == []
    refused = adacode("weights", "pull", f"{url}#sha256={'0' * 64}", check=1)
    assert sha256(big) in only_problem(refused)
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_where_nothing_came_there_is_nothing_to_remove(hub: Hub, adacode: Run) -> None:
    url = f"{hub.files_url}/missing.safetensors"
    adacode("weights", "pull", url, check=1)
    done = adacode("weights", "rm", url)
    assert (done.stdout, "isn't in the cache" in done.stderr) == ("", True)


def test_what_an_address_sends_is_not_kept_unless_it_is_weights(
    tmp_path: Path, hub: Hub, adacode: Run
) -> None:
    hub.blobs["page.safetensors"] = b"<html>please sign in</html>" * 100
    trace = tmp_path / "trace"
    torch.save({"params": Bomb(trace)}, tmp_path / "bomb.pth")
    hub.blobs["bomb.pth"] = (tmp_path / "bomb.pth").read_bytes()
    hub.repo("someone/bomb", {"bomb.pth": hub.blobs["bomb.pth"]})
    for name in (
        f"{hub.files_url}/page.safetensors",
        f"{hub.files_url}/bomb.pth",
        "hf:someone/bomb",
    ):
        for _ in range(2):
            refused = adacode("weights", "pull", name, check=1)
            assert "safetensors file" in only_problem(refused) or "refused" in only_problem(refused)
    assert not trace.exists()
    kept = [name for name in hub_files(tmp_path / "home") if "assets" in name]
    assert [name for name in kept if "repositories" not in name] == []


def test_two_processes_at_once_leave_whole_weights(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    torch.save({"params": filled_state(SMALL)}, tmp_path / "theirs.pth")
    hub.blobs["theirs.pth"] = (tmp_path / "theirs.pth").read_bytes()
    hub.repo("someone/small", {"model.safetensors": tiny})
    hub.repo("someone/pth", {"theirs.pth": hub.blobs["theirs.pth"]})
    hub.faults.append(Fault("^GET /[0-9a-f]{64}", 99, slow=True, pause=0.002))
    names = ("hf:someone/small", "hf:someone/pth", f"{hub.files_url}/theirs.pth")
    command = [sys.executable, "-m", "adacode_cli", "weights", "pull", *names]
    runs = [
        subprocess.Popen(
            command, env=environment(hub, tmp_path / "home"), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0] == outputs[1]
    done = adacode("weights", "verify", *names)
    assert done.stdout.count(": whole\n") == 3
    assert not [name for name in hub_files(tmp_path / "home") if "unfinished" in name]
    gets = [a for a in hub.asked_files if a.line == "GET /theirs.pth"]
    assert len(gets) == 1


def test_a_killed_download_leaves_nothing_by_its_name_and_the_next_completes(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    hub.repo("someone/small", {"model.safetensors": tiny})
    hub.faults.append(Fault(r"^GET /[0-9a-f]{64}", 2, slow=True, pause=0.2))
    command = [sys.executable, "-m", "adacode_cli", "weights", "pull", "hf:someone/small"]
    with subprocess.Popen(
        command, env=environment(hub, tmp_path / "home"), stderr=subprocess.DEVNULL
    ) as run:
        while not hub.downloads:
            assert run.poll() is None
            time.sleep(0.05)
        run.kill()
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    hub.faults.clear()
    path = adacode("weights", "pull", "hf:someone/small").stdout.strip()
    assert Path(path).read_bytes() == tiny


def test_what_was_published_loads_again_and_says_what_it_is(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    (tmp_path / "mine.safetensors").write_bytes(tiny)
    make_photo(64, 32).save(tmp_path / "sheet.png")
    mine = {"PSNR-Y": 25.1, "PSNR hole": None}  # as of holes filled without an error
    means = {"mean": {"bicubic": {"PSNR-Y": 24.9}, "mine": mine}, "photos": {}}
    (tmp_path / "scores.json").write_text(json.dumps(means))
    words = ("weights", "push", "mine.safetensors", "--repo", "me/mine", "--scores", "scores.json")
    card = adacode(*words, "--sheet", "sheet.png", "--dry-run").stdout
    assert "HF_TOKEN" in only_problem(adacode(*words, check=1))
    assert hub.lines() == []
    done = adacode(*words, "--sheet", "sheet.png", HF_TOKEN=hub.token)
    assert done.stdout == "hf:me/mine/mine.safetensors\n"
    repo = hub.repos["me/mine"]
    files = repo.commits[repo.refs["main"]]
    assert files["mine.safetensors"] == tiny
    assert files["details.png"] == (tmp_path / "sheet.png").read_bytes()
    assert files["README.md"].decode() == card.rstrip("\n") + "\n"
    told = ModelCard(card)
    assert isinstance(told.data, ModelCardData)
    assert told.data.library_name == "adacode"
    assert {"super-resolution", "adacode"} <= set(told.data.tags or [])
    [result] = told.data.eval_results or []
    assert (result.metric_type, result.metric_value) == ("PSNR-Y", 25.1)
    for said in ("details.png", sha256(tiny), '"step": 7', "--weights hf:me/mine"):
        assert said in told.content
    make_photo(16, 16).save(tmp_path / "a.png")
    adacode("sr", "a.png", "--weights", "hf:me/mine")
    again = adacode(*words, check=1, HF_TOKEN=hub.token)
    assert "--force" in only_problem(again)
    adacode(*words, "--force", HF_TOKEN=hub.token)


def test_a_cards_picture_is_a_picture_whatever_it_is_called(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    (tmp_path / "mine.safetensors").write_bytes(tiny)
    (tmp_path / "s.toml").write_text("steps = 3\n")
    make_photo(64, 32).save(tmp_path / "sheet.tif")
    make_photo(64, 32).save(tmp_path / "sheet", format="JPEG")
    words = ("weights", "push", "mine.safetensors", "--repo", "me/mine", "--dry-run", "--sheet")
    for sheet in ("s.toml", "sheet.tif", "mine.safetensors"):
        refused = adacode(*words, sheet, check=2)
        assert f"{sheet}: no PNG" in only_problem(refused)
        assert refused.stdout == ""
    assert "no such picture" in only_problem(adacode(*words, "none.png", check=1))
    assert "](details.jpeg)" in adacode(*words, "sheet").stdout
    assert hub.lines() == []


def test_publishing_offline_is_told_as_such(
    tmp_path: Path, hub: Hub, adacode: Run, tiny: bytes
) -> None:
    (tmp_path / "mine.safetensors").write_bytes(tiny)
    words = ("weights", "push", "mine.safetensors", "--repo", "me/mine", "--offline")
    told = only_problem(adacode(*words, check=1, HF_TOKEN=hub.token))
    assert "hf:me/mine: can't be published, the network is off" in told
    assert "pull" not in told
    assert "library_name: adacode" in adacode(*words, "--dry-run").stdout
    assert hub.lines() == []


def test_only_weights_that_load_are_published(tmp_path: Path, hub: Hub, adacode: Run) -> None:
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    torch.save({"params": filled_state(SMALL)}, tmp_path / "theirs.pth")
    push = ("weights", "push")
    adacode(*push, "junk.safetensors", "--repo", "me/x", check=1, HF_TOKEN=hub.token)
    adacode(*push, "theirs.pth", "--repo", "me/x", check=2, HF_TOKEN=hub.token)
    adacode(*push, "none.safetensors", "--repo", "me/x", check=1, HF_TOKEN=hub.token)
    adacode(*push, "junk.safetensors", "--repo", "me", check=2, HF_TOKEN=hub.token)
    assert hub.lines() == []


def test_the_doctor_asks_the_hub_only_if_told_to(hub: Hub, adacode: Run) -> None:
    report = json.loads(adacode("doctor", "--json").stdout)
    assert report["self-test"]["lite-x4"].startswith("passed")
    assert report["wrong"] == []
    assert hub.lines() == []
    report = json.loads(adacode("doctor", "--hub", "--json", HF_TOKEN=hub.token).stdout)
    assert report["hub"][hub.url].startswith("answers, ")
    assert report["environment"]["HF_TOKEN"] == "set"  # noqa: S105 its presence, not its value
    hub.close()
    silent = adacode("doctor", "--hub", check=1)
    assert "no whole answer" in only_problem(silent)
