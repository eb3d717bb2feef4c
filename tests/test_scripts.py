"""Scripts: JSON, pipes, exit codes, settings, completion, and the README's own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from PIL import Image

from adacode_cli import __version__
from adacode_cli.cli import known, problems
from adacode_cli.cli.commands import Commands
from adacode_cli.cli.config import commands_of
from adacode_cli.cli.main import app
from adacode_cli.cli.report import tell, tell_time
from adacode_cli.device import PRECISIONS
from adacode_cli.restore.folder import Worker, own_format
from adacode_cli.training.stages import PRESETS
from tests.conftest import Command, environment, make_photo, rows, tree

ROOT = Path(__file__).parents[1]
GROUPS = {"train", "weights"}
TINY = ("--weights", "tiny.safetensors")
pytestmark = pytest.mark.usefixtures("tiny_weights")


def test_every_picture_is_an_object_of_json(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(12, 8).save(tmp_path / "in" / "a.png")
    make_photo(12, 8).convert("CMYK").save(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "c.png").write_bytes(b"nothing")
    make_photo(12, 8).save(tmp_path / "in" / "d.png")
    words = ("sr", "in", "-o", "out", *TINY, "--json", "--report", "r.json")
    done = adacode(*words, "--quiet", check=1)
    pictures, summary = rows(done.stdout)
    by_name = {Path(p["input"]).name: p for p in pictures}
    assert set(by_name) == {"a.png", "b.jpg", "c.png", "d.png"}
    assert by_name["a.png"]["input_size"] == [12, 8]
    assert by_name["a.png"]["output_size"] == [48, 32]
    assert by_name["a.png"]["device"] == "cpu"
    assert by_name["a.png"]["seconds"] > 0
    assert len(by_name["a.png"]["weights_sha256"]) == 64
    assert "CMYK" in by_name["b.jpg"]["warnings"][0]
    assert by_name["c.png"]["status"] == "failed"
    assert "c.png" in by_name["c.png"]["error"]
    assert (summary["done"], summary["failed"], summary["total"]) == (3, 1, 4)
    assert [line for line in done.stderr.splitlines() if "error" not in line] == []
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["summary"]["failed"] == 1
    assert len(written["pictures"]) == 4
    adacode("sr", "in", "-o", "out", *TINY, "--report", "r.csv", check=1)
    with (tmp_path / "r.csv").open(newline="") as file:
        table = {Path(row["input"]).name: row for row in csv.DictReader(file)}
    assert [table[n]["status"] for n in ("a.png", "c.png")] == ["skipped", "failed"]


def test_a_report_has_names_that_are_no_text(tmp_path: Path, adacode: Command) -> None:
    name = os.fsdecode(b"bad\xff.png")
    try:
        make_photo(12, 8).save(tmp_path / name)
    except OSError:
        pytest.skip("NOT TESTED: every name is text on this file system")
    adacode("sr", name, "-o", "out", *TINY, "--json", "--report", "r.csv")
    adacode("sr", name, "-o", "out", *TINY, "--report", "r.json", "--skip-existing")
    with (tmp_path / "r.csv").open(newline="", errors="surrogateescape") as file:
        assert [row["input"] for row in csv.DictReader(file)] == [name]
    assert json.loads((tmp_path / "r.json").read_text())["pictures"][0]["input"] == name
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name, "out", "r.csv", "r.json", "tiny.safetensors"}


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    name = f"{'r' * 260}.csv"
    done = adacode("sr", "a.png", "-o", "out", *TINY, "--report", name, check=1)
    assert f"{name}: the report can't be written (" in done.stderr
    assert tree(tmp_path) == ["a.png", "out/a_x4.png", "tiny.safetensors"]


def test_the_first_failure_can_end_it(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").write_bytes(b"nothing")
    for number in range(1, 40):
        make_photo(12, 8).save(tmp_path / "in" / f"{number:02}.png")
    done = adacode("sr", "in", "-o", "out", *TINY, "--fail-fast", "--json", check=1)
    _, summary = rows(done.stdout)
    assert summary["failed"] == 1
    assert summary["not_started"] > 30


@pytest.mark.parametrize("word", ["png", "webp"])
def test_standard_input_to_standard_output(word: str, tmp_path: Path) -> None:
    photo = make_photo(12, 8)
    photo.save(tmp_path / "a.png")
    words = [sys.executable, "-m", "adacode_cli", "sr", "-", *TINY, "--format", word]
    done = subprocess.run(
        words,
        input=(tmp_path / "a.png").read_bytes(),
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=environment(),
    )
    found = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.shape == (32, 48, 3)
    assert done.stdout.startswith({"png": b"\x89PNG", "webp": b"RIFF"}[word])
    assert tree(tmp_path) == ["a.png", "tiny.safetensors"]


def run_in(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """The command in an interpreter of its own, which alone heeds such variables."""
    command = [sys.executable, "-m", "adacode_cli", *words]
    env = environment(**variables)
    return subprocess.run(command, capture_output=True, check=False, cwd=folder, env=env)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["cp1252", "ascii", "no locale"],
)
def test_words_that_an_encoding_lacks_are_written_otherwise(
    variables: dict[str, str], tmp_path: Path
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    done = run_in(tmp_path, "sr", "a.png", *TINY, "--dry-run", **variables)
    assert (done.returncode, b"a.png 12" in done.stdout) == (0, True), done.stderr
    assert rb"\u2192 a_x4.png 48" in done.stdout
    done = run_in(tmp_path, "bench", "--help", **variables)
    assert (done.returncode, b"convolutions" in done.stdout) == (0, True), done.stderr
    assert run_in(tmp_path, "weights", "list", **variables).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: names are text there")
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_a_name_that_is_no_text_keeps_its_bytes_in_any_encoding(
    encoding: str, tmp_path: Path
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/a\xe9.png"))
    words = ("sr", ".", *TINY, "--dry-run")
    done = run_in(tmp_path, *words, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"a\xe9.png ")


def test_a_result_is_told_in_an_encoding_that_lacks_its_name(tmp_path: Path) -> None:
    make_photo(12, 8).save(tmp_path / "日本.png")
    done = run_in(tmp_path, "sr", "日本.png", *TINY, PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout) == (0, rb"\u65e5\u672c_x4.png" + b"\n")
    assert (tmp_path / "日本_x4.png").is_file()


def test_a_program_without_standard_streams_starts(tmp_path: Path) -> None:
    code = "import sys; sys.stdout = sys.stderr = None; import adacode_cli.cli.main"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TESTED: no /dev/full here")
@pytest.mark.parametrize(
    "words", [(), ("--help",), ("sr", "--help"), ("config",), ("weights", "list"), ("--version",)]
)
def test_a_full_disk_is_one_line_for_help_too(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adacode_cli", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
            env=environment(),
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert b"standard output: can't be written (No space left on device)" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TESTED: no /dev/full here")
def test_an_error_that_cannot_be_told_ends_as_it_would(tmp_path: Path) -> None:
    words = ("--debug", "sr", "a.png", "b.png", "-o", "x.png")
    command = [sys.executable, "-m", "adacode_cli", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stderr=full, check=False, cwd=tmp_path, env=environment())
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("source", "suffix"),
    [("a.jpg", "jpg"), ("a.ppm", "ppm"), ("-", "jpg"), ("-", "webp"), ("-", "ppm")],
)
def test_the_same_format_goes_to_standard_output(source: str, suffix: str, tmp_path: Path) -> None:
    photo = tmp_path / f"a.{suffix}"
    make_photo(12, 8).save(photo)
    done = subprocess.run(
        [sys.executable, "-m", "adacode_cli", "sr", source, "-o", "-", *TINY, "--format", "same"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=environment(),
    )
    with Image.open(io.BytesIO(done.stdout)) as result, Image.open(photo) as before:
        assert result.size == (48, 32)
        assert result.format == ("PNG" if suffix == "ppm" else before.format)


def test_a_float_tiff_and_a_phones_double_jpeg_are_the_same_from_standard_input() -> None:
    double = io.BytesIO()
    first, second = make_photo(12, 8), make_photo(12, 8, 1)
    first.save(double, format="MPO", save_all=True, append_images=[second])
    assert own_format(Path("-"), double.getvalue()).name == "JPEG"
    _, floats = cv2.imencode(".tif", np.zeros((8, 12, 3), np.float32))
    assert own_format(Path("-"), floats.tobytes()).name == "TIFF"


def run_with_closed(
    folder: Path, closed: str, *words: str, data: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command with some streams closed by a shell, such as '>&-'."""
    script = f'exec "$@" {closed}'
    command = [sys.executable, "-m", "adacode_cli", *words]
    return subprocess.run(
        ["sh", "-c", script, "sh", *command],
        input=data,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(),
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_files_are_restored_with_any_stream_closed(closed: str, tmp_path: Path) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    make_photo(12, 8).save(tmp_path / "b.png")
    done = run_with_closed(tmp_path, closed, "sr", "a.png", "b.png", "-o", "out", *TINY)
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == ["a_x4.png", "b_x4.png"]
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            image.load()
            assert image.size == (48, 32)
    assert done.stdout == ("" if ">&-" in closed.split() else "out/a_x4.png\nout/b_x4.png\n")


@pytest.mark.parametrize(
    ("closed", "words", "told"),
    [
        ("<&-", ("-", "-o", "b.png"), "standard input: closed"),
        ("<&-", ("-",), "standard input: closed"),
        (">&-", ("-",), "standard output: closed"),
        (">&-", ("a.png", "-o", "-"), "standard output: closed"),
    ],
)
def test_a_closed_stream_that_is_needed_is_one_line(
    closed: str, words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    done = run_with_closed(tmp_path, closed, "sr", *words, *TINY)
    assert done.returncode == 1
    assert done.stderr.startswith(f"adacode: error: {told}")
    assert done.stderr.count("\n") == 1
    assert tree(tmp_path) == ["a.png", "tiny.safetensors"]


def test_an_error_that_nobody_can_read_still_has_its_exit_code(tmp_path: Path) -> None:
    assert run_with_closed(tmp_path, "2>&-", "sr", "missing.png", *TINY).returncode == 1
    assert run_with_closed(tmp_path, "2>&-", "sr", "--nonsense").returncode == 2


def test_settings_of_a_person(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "config.toml").write_text(
        'device = "cpu"\nquiet = true\n[sr]\nweights = "tiny.safetensors"\nformat = "webp"\n'
    )
    assert adacode("sr", "a.png").stdout == "a_x4.webp\n"
    assert adacode("sr", "a.png", "--format", "bmp").stdout == "a_x4.bmp\n"
    shown = adacode("config").stdout
    assert shown.startswith(f"# {tmp_path / 'config.toml'}\n")
    assert re.search(r'\[sr\]\ndevice = "cpu" .*\nformat = "webp"', shown)
    (tmp_path / "config.toml").write_text('colour = "blue"\n')
    assert "'colour'" in adacode("sr", "a.png", check=2).stderr
    (tmp_path / "config.toml").write_text("[sr\n")
    assert "config.toml" in adacode("sr", "a.png", check=2).stderr


def test_variables_win_over_the_file(
    tmp_path: Path, adacode: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "config.toml").write_text('[sr]\nformat = "webp"\n')
    monkeypatch.setenv("ADACODE_FORMAT", "tif")
    monkeypatch.setenv("ADACODE_WEIGHTS", "tiny.safetensors")
    assert adacode("sr", "a.png").stdout == "a_x4.tif\n"
    assert adacode("sr", "a.png", "--format", "gif").stdout == "a_x4.gif\n"
    assert 'format = "tif"  # ADACODE_FORMAT' in adacode("config").stdout


def test_a_file_is_checked_for_every_command_whichever_runs(
    tmp_path: Path, adacode: Command
) -> None:
    make_photo(8, 8).save(tmp_path / "a.png")
    (tmp_path / "config.toml").write_text("[train.restoration]\nsteps = 3\n")
    adacode("sr", "a.png", "--dry-run")
    (tmp_path / "config.toml").write_text("[train.restoration]\nstairs = 3\n")
    told = adacode("sr", "a.png", "--dry-run", check=2).stderr
    assert "train restoration has no setting 'stairs'" in told


def test_a_commands_table_is_no_other_commands_option(tmp_path: Path, adacode: Command) -> None:
    """'weights' is a group of commands, and an option of others."""
    make_photo(8, 8).save(tmp_path / "a.png")
    (tmp_path / "config.toml").write_text('[weights.push]\nlicense = "cc0-1.0"\n')
    assert adacode("sr", "a.png").stdout == "a_x4.png\n"
    shown = adacode("config").stdout.splitlines()[1:]
    assert [line.partition("  #")[0] for line in shown] == ["[weights.push]", 'license = "cc0-1.0"']


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sr]\nscale = [1, 2]", "[sr] scale = [1, 2]: write a number"),
        ("[sr]\nlossless = 1", "[sr] lossless = 1: write true or false"),
        ("[sr]\nscale = 2024-01-01", '[sr] scale = "2024-01-01": write a number'),
        ("[sr]\ncompare = 3", "[sr] compare = 3: write a path in quotes"),
        ("[sr]\nweights = true", "[sr] weights = true: write a text in quotes"),
        ("[sr]\nwidth = 1.5", "[sr] width = 1.5: write a whole number"),
        ("[reconstruct]\nonly = [[3]]", "[reconstruct] only = [[3]]: write a text in quotes"),
        ("quiet = 1.5", "toml: quiet = 1.5: write true or false"),
        ("hub-repo = 7", "toml: hub-repo = 7: write a text in quotes"),
    ],
)
def test_a_value_of_a_wrong_kind_is_named_with_its_file_and_table(
    text: str, says: str, tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "config.toml").write_text(text)
    for words in (("config",), ("sr", "a.png")):
        [told] = adacode(*words, check=2).stderr.splitlines()
        assert f"{tmp_path / 'config.toml'}: " in told
        assert says in told


def test_what_fits_some_commands_is_theirs_alone(tmp_path: Path, adacode: Command) -> None:
    """--codes is a number for train, and a file for reconstruct; --tile is a word, or a number."""
    (tmp_path / "config.toml").write_text(
        'codes = 64\ntile = 512\n[reconstruct]\nonly = "scenes"\n'
    )
    shown = adacode("config").stdout
    tables = dict(part.split("]\n", 1) for part in shown.split("[")[1:])
    assert "codes = 64 " in tables["train.codebook"]
    assert "codes" not in tables["reconstruct"]
    assert 'only = "scenes" ' in tables["reconstruct"]
    make_photo(8, 8).save(tmp_path / "a.png")
    adacode("reconstruct", "a.png", "--dry-run")


@pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: users are known otherwise there")
def test_a_user_without_a_home_has_no_settings(tmp_path: Path) -> None:
    make_photo(8, 8).save(tmp_path / "a.png")
    env = environment(HF_HOME=str(tmp_path))
    for name in ("HOME", "XDG_CONFIG_HOME", "ADACODE_CONFIG"):
        env.pop(name, None)
    nobody = "import os, runpy; os.getuid = lambda: 2**31 - 5\n"
    program = "runpy.run_module('adacode_cli', run_name='__main__')"
    command = [sys.executable, "-c", nobody + program]
    for words, says in ((("config",), "no home folder"), (("sr", "a.png", *TINY), "a_x4.png")):
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, check=False, cwd=tmp_path, env=env
        )
        assert (done.returncode, says in done.stdout) == (0, True), done.stderr


def test_a_variable_reaches_a_command_below_another(
    adacode: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a settings file, in which case only the command that runs is looked at."""
    monkeypatch.setenv("ADACODE_STEPS", "many")
    words = ("train", "restoration", "photos", "--prior", "prior.safetensors")
    assert "'many' is not a valid int" in adacode(*words, check=2).stderr


def test_all_help_can_be_read_in_80_columns(tmp_path: Path) -> None:
    """Rich takes [sr] for markup, and cuts words that are longer than a column."""
    program = typer.main.get_command(app)
    for names, command in commands_of(program):
        told = run_in(tmp_path, *names, "--help", COLUMNS="80").stdout.decode()
        for part in (command, *command.params):
            for word in (part.help or "").replace("\\[", "[").split():
                assert word in told, f"{' '.join(names)}: {part.help}"


@pytest.mark.parametrize("columns", [60, 76, 80, 120])
def test_help_fills_the_terminal_and_cuts_no_name(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name, command in Commands().items():
        for names, part in commands_of(command, name) if name in GROUPS else [((name,), command)]:
            part.main(["--help"], prog_name=" ".join(names), standalone_mode=False)
            told = capsys.readouterr().out
            text = re.split(r"\n(?:╭|Arguments:|Options:)", told, maxsplit=1)[0]
            for line, following in pairwise(map(str.strip, text.splitlines())):
                word = following.split(" ")[0]
                assert not line or not word or len(line) + len(word) > columns - 6, told
            for option in part.params:
                for word in (*option.opts, *option.secondary_opts):
                    if word.startswith("-"):
                        assert re.search(rf"{word}\b", told), f"{names}: {word}"
                    elif columns >= 76:
                        assert re.search(rf"│ [* ] +\[?{option.metavar.strip('[]')}", told), told


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_told_whatever_the_settings_say(word: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[sr\n")
    code = (
        "import sys\n"
        "from adacode_cli.cli.main import app\n"
        f"app([{word!r}], standalone_mode=False)\n"
        "assert not {'torch', 'numpy', 'PIL', 'rich'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment()
    )
    assert done.stdout == f"adacode {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    code = "from adacode_cli.cli.main import app; app(prog_name='adacode')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(_ADACODE_COMPLETE=f"source_{shell}"),
    )
    assert "adacode" in done.stdout
    words = {
        "COMP_WORDS": "adacode sr --skip",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "adacode sr --skip",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(_ADACODE_COMPLETE=f"complete_{shell}", **words),
    )
    assert "--skip-existing" in done.stdout


def completed(*words: str) -> set[str]:
    """What bash offers as the last of the words."""
    code = (
        "import sys\n"
        "from adacode_cli.cli.main import app\n"
        "try:\n    app(prog_name='adacode')\n"
        "finally:\n    assert 'torch' not in sys.modules\n"
    )
    typed = {"COMP_WORDS": " ".join(("adacode", *words)), "COMP_CWORD": str(len(words))}
    env = environment(_ADACODE_COMPLETE="complete_bash", **typed)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_shells_complete_what_options_take() -> None:
    assert completed("sr", "--format", "j") == {"jpg", "jxl"}
    assert completed("sr", "--device", "") == {"auto", "cpu", "cuda", "mps"}
    assert completed("inpaint", "--weights", "lite-x4") == {"lite-x4", "lite-x4-psnr"}
    assert completed("weights", "info", "official-i") == {"official-inpaint"}
    assert completed("weights", "pull", "lite-x2", "official-i") == {"official-inpaint"}
    assert completed("--version", "train", "all", "--task", "") == {"sr", "inpaint"}
    assert set(known.precisions()) == {"auto", *PRECISIONS}
    assert set(known.presets()) == set(PRESETS)


def test_a_line_is_written_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    # A launcher's processes share standard output, and don't buffer it.
    for name, say in (("stdout", tell), ("stderr", problems.print_line)):
        written: list[str] = []
        stream = io.StringIO()
        monkeypatch.setattr(stream, "write", written.append)
        monkeypatch.setattr(sys, name, stream)
        say("all of it")
        monkeypatch.undo()
        assert [text for text in written if text] == [
            f"{'adacode: ' * (name == 'stderr')}all of it\n"
        ]


@pytest.mark.parametrize(
    ("pixels", "pictures", "says"),
    [
        (96, 1, "1 picture of 96 pixels"),
        (1, 1, "1 picture of 1 pixel"),
        (12_000_000, 2, "2 pictures of 12.00 megapixels"),
    ],
)
def test_what_would_be_done_is_counted(
    pixels: int, pictures: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_time(Worker(lambda picture, _: picture, "cpu"), pixels, pictures, 1)
    told = capsys.readouterr().err
    assert told.startswith(f"adacode: {says}: about ")
    assert "about 0.0 s" not in told


def test_what_standard_input_is_called(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.jpg")

    def told(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "adacode_cli", "sr", "-", *TINY, *words]
        data = (tmp_path / "a.jpg").read_bytes()
        env = environment()
        done = subprocess.run(
            command, input=data, capture_output=True, check=False, cwd=tmp_path, env=env
        )
        assert done.returncode == code, done.stderr
        return (done.stdout + done.stderr).decode()

    assert "- 12×8 → - 48×32" in told("--dry-run")
    assert "standard input: is large enough" in told("--width", "6", "-o", "small.png")
    lossless = ("--format", "same", "--lossless")
    assert "error: standard input: jpg has no lossless form" in told(*lossless, code=1)
    error = adacode("sr", "a.jpg", "-o", "-", *lossless, *TINY, check=2).stderr
    assert "jpg has no lossless form" in error
    assert " on cpu" not in error  # before a model is loaded


def test_what_was_told_is_reported_though_a_word_is_wrong(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        make_photo(12, 8).save(tmp_path / "in" / f"{name}.png")
    words = ("sr", "in", *TINY, "--json", "--report", "r.json", "--precision", "foo")
    assert adacode(*words, check=2).stdout == ""
    assert not (tmp_path / "r.json").exists()
    make_photo(48, 32).save(tmp_path / "in" / "a_x4.png")  # by another: refused at once
    _, summary = rows(adacode(*words, check=2).stdout)[-2:]
    assert (summary["failed"], summary["not_started"]) == (1, 1)
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["failed"] == 1


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A shell script with the command of this checkout, in ``folder``."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    (bin_folder / "adacode").write_text(f'#!/bin/sh\nexec {sys.executable} -m adacode_cli "$@"\n')
    (bin_folder / "adacode").chmod(0o755)
    settings = environment(ADACODE_WEIGHTS=str(folder / "tiny.safetensors"))
    settings["PATH"] = f"{bin_folder}{os.pathsep}{settings['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=settings
    )


def readme_scripts() -> list[str]:
    """The shell scripts of the README's part about scripts."""
    text = (ROOT / "README.md").read_text()
    part = text.split("### In scripts", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", part, re.DOTALL)


def test_the_readmes_loop_leaves_nothing_of_a_photo_that_fails(tmp_path: Path) -> None:
    [loop] = [script for script in readme_scripts() if "for " in script]
    (tmp_path / "photos").mkdir()
    make_photo(12, 8).save(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"nothing")
    run_script(loop, tmp_path)
    assert tree(tmp_path / "one-by-one") == ["a_x4.png"]


def test_the_readmes_tree_has_every_module() -> None:
    told = (ROOT / "README.md").read_text().split("## The tree")[1]
    modules = [p.name for p in (ROOT / "adacode_cli").rglob("*.py") if p.name != "__init__.py"]
    assert [name for name in modules if name not in told] == []


def test_the_readmes_loop_and_pipeline(tmp_path: Path) -> None:
    scripts = readme_scripts()
    assert any("for " in s for s in scripts)
    assert any("xargs" in s for s in scripts)
    (tmp_path / "photos").mkdir()
    for name in ("a b.jpg", "c\nd.jpg", "-e.jpg"):
        make_photo(12, 8).save(tmp_path / "photos" / name)
    for script in scripts:
        done = run_script(script, tmp_path)
        assert done.returncode == 0, f"{script}\n{done.stderr}"
    expected = {"a b_x4.png", "c\nd_x4.png", "-e_x4.png"}
    folders = {p.parent for p in tmp_path.rglob("*_x4.png")}
    assert len(folders) >= 2
    for folder in folders:
        assert {p.name for p in folder.iterdir()} == expected
