"""What a terminal is shown: a bar, names that it can't obey, lines that can be copied."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adacode_cli.cli import problems
from adacode_cli.cli.progress import picture_bar
from adacode_cli.training.dataset import tell_skipped
from adacode_cli.visible import visible
from tests.conftest import environment, make_photo

TINY = ("--weights", "tiny.safetensors")
CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
TITLE = "title\x1b]0;PWNED\x07.png"
pytestmark = [
    pytest.mark.usefixtures("tiny_weights"),
    pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: no pseudo-terminals there"),
]


def on_terminal(folder: Path, *words: str, **variables: str) -> str:
    """What a terminal receives from the command."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "adacode_cli", *words]
    env = environment(TERM="xterm", **variables)
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=folder, env=env)
    os.close(theirs)
    received = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody writes any more
        while piece := os.read(ours, 65536):
            received += piece
    os.close(ours)
    assert process.wait() == 0, received
    return received.decode()


def test_names_are_no_commands_to_a_terminal_and_paths_are_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = [TITLE, "[]close[b]ok.png", "[@x=f(1 2)].png", "new\nline.png", "w" * 120 + ".png"]
    for name in names:
        make_photo(12, 8).save(tmp_path / "in" / name)
    told = on_terminal(tmp_path, "sr", "in", "-o", "out", *TINY, COLUMNS="60")
    lines = CONTROL.sub("", told).replace("\r", "\n").split("\n")
    assert "\x1b" not in "".join(lines)
    assert r"out/title\x1b]0;PWNED\x07_x4.png" in lines
    assert r"out/new\nline_x4.png" in lines
    assert f"out/{'w' * 120}_x4.png" in lines
    bars = [line for line in lines if " % " in line]
    assert bars
    for bar in bars:
        assert re.match(r" *\d+ % .+ \d+:\d\d:\d\d (\d|-):[-\d]{2}:[-\d]{2}  *", bar), bar
        assert len(bar) <= 60


def test_an_object_of_json_is_one_line_of_a_terminal(tmp_path: Path) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    told = CONTROL.sub("", on_terminal(tmp_path, "sr", "a.png", *TINY, "--json", COLUMNS="20"))
    objects = [line for line in told.replace("\r", "\n").split("\n") if line.startswith("{")]
    picture, summary = map(json.loads, objects)
    assert (picture["output"], summary["summary"]["done"]) == ("a_x4.png", 1)


def test_a_bar_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with picture_bar(2) as bar:
        bar.on_tile(Path("[b]bold [@x=f(1 2)].png"), 1, 2)
        bar.progress.refresh()
        bar.finished(Path(TITLE))
        bar.progress.refresh()
    shown = CONTROL.sub("", screen.getvalue())
    assert "tile 1 of 2 of [b]bold [@x=f(1 2)].png" in shown
    assert r"title\x1b]0;PWNED\x07.png" in shown


class Screen(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_file_gets_no_bar_though_colours_are_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with picture_bar(1) as bar:
        bar.finished(Path("a.png"))
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no  such   file.png", "no  such   file.png"),
        ("new\nline\t.png", r"new\nline\t.png"),
        ("\x1b[31mred\x9b0m", r"\x1b[31mred\x9b0m"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("日本\u3000é 👨\u200d👩.png", "日本\u3000é 👨\u200d👩.png"),
        ("[b]x", "[b]x"),
    ],
)
def test_what_is_shown_of_a_name(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert visible(text) == shown
    problems.complain(f"{text}: no such file")
    assert capsys.readouterr().err == f"adacode: error: {shown}: no such file\n"


def test_training_shows_names_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    tell_skipped(OSError(f"{TITLE}: broken"))
    assert capsys.readouterr().err == "adacode: title\\x1b]0;PWNED\\x07.png: broken; skipped\n"


def test_the_lines_of_a_librarys_words_become_one(capsys: pytest.CaptureFixture[str]) -> None:
    library, ours = RuntimeError("CUDA error: none\n  here\n"), ValueError("a\nb.png: broken")
    problems.complain(f"a\nb.png: {library}", library)
    ours.__cause__ = ours  # as by "raise" of an error within its own "except"
    problems.complain(str(ours), ours)
    assert capsys.readouterr().err.splitlines() == [
        r"adacode: error: a\nb.png: CUDA error: none here",
        r"adacode: error: a\nb.png: broken",
    ]
