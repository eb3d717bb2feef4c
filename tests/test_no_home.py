"""Users whom the machine gives no home folder, as containers' are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from adacode_cli.no_home import give_cache, private_folder
from tests.conftest import make_photo, tree
from tests.processes import FORKS, know_nobody, run_command

HIDDEN = ("HOME", "XDG_", "HF_", "HUGGING", "ADACODE_")
pytestmark = pytest.mark.skipif(
    os.name == "nt" or not FORKS, reason="NOT TESTED: users are known otherwise there"
)


def test_without_a_home_the_cache_is_among_the_temporary_files(tmp_path: Path) -> None:
    make_photo(8, 8).save(tmp_path / "a.png")
    (tmp_path / "temporary").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    env["TMPDIR"] = str(tmp_path / "temporary")
    for words, says in (
        ("sr a.png --fidelity 0.5", "a_x4.png\n"),
        ("weights list", "lite-x4@0.5 "),
        ("weights verify lite-x4", "lite-x4: whole\n"),
        ("config", "no home folder"),
    ):
        done = run_command(words.split(), tmp_path, env, know_nobody)
        assert (done.returncode, says in done.stdout) == (0, True), done.stderr
    places = {path.split("/")[0] for path in tree(tmp_path)}
    assert places == {"a.png", "a_x4.png", "temporary"}
    [own] = (tmp_path / "temporary").iterdir()
    assert own.stat().st_mode & 0o777 == 0o700


def test_what_another_may_write_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = private_folder()
    assert private_folder() == own
    own.chmod(0o777)
    assert private_folder() != own
    own.rmdir()
    own.symlink_to(tmp_path)
    assert private_folder() != own
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert private_folder() == Path(os.devnull)


def test_who_has_a_place_for_the_cache_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, place in (("HF_HOME", "/somewhere"), ("XDG_CACHE_HOME", "/else"), ("HOME", "/home")):
        for other in ("HF_HOME", "XDG_CACHE_HOME", "HOME"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, place)
        give_cache()
        assert os.environ.get("HF_HOME") == (place if name == "HF_HOME" else None)
