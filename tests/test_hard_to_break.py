"""What goes wrong around the program: disks, pipes, signals, damaged files, another run.

The long versions are commands: tests/fuzz_pictures.py, fuzz_weights.py and kill_runs.py.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from adacode_cli.images.picture import PictureError
from adacode_cli.images.read import read
from adacode_cli.model import checkpoint
from tests import fuzz_pictures, kill_runs
from tests.conftest import Command, make_photo, rows, tiny_model
from tests.mutants import mutant

ROOT = Path(__file__).parents[1]
PHOTOS = 3


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with photos and weights."""
    (tmp_path / "photos").mkdir()
    for number in range(PHOTOS):
        make_photo(60, 40, number).save(tmp_path / "photos" / f"{number}.png")
    model = tiny_model()
    checkpoint.save(tmp_path / "tiny.safetensors", model.config, model.state_dict())
    return tmp_path


def start(scene: Path, out: str | Path, *more: str, **streams: object) -> subprocess.Popen[str]:
    """Begin to restore the photos."""
    words = ["sr", "photos", "-o", str(out), "--weights", "tiny.safetensors", *more]
    return subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-m", "adacode_cli", *words],
        cwd=scene,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


def run(scene: Path, out: str | Path, check: int, *more: str, **streams: object) -> str:
    """Restore the photos; what was said on stderr."""
    with start(scene, out, *more, **streams) as process:
        told = str(process.communicate(timeout=120)[1])
    assert process.returncode == check, told
    assert "Traceback" not in told
    assert "Exception ignored" not in told
    return told


def errors(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith("adacode: error:")]


def whole_results(folder: Path) -> int:
    """How many results there are, each whole, and nothing else, hidden or not."""
    for path in folder.iterdir():
        with Image.open(path) as image:
            image.load()
            assert image.size == (240, 160)
    return len(list(folder.iterdir()))


def test_damaged_pictures_become_pictures_or_one_clear_error(tmp_path: Path) -> None:
    tally = fuzz_pictures.run(121, 7, fuzz_pictures.Limits(), tmp_path)
    assert tally.failures == []
    assert min(tally.outcomes["picture"], tally.outcomes["error"]) > 10


def test_a_folder_of_damaged_pictures_is_one_line_each(scene: Path) -> None:
    for number in range(40):
        made = mutant(number, seed=9)
        (scene / "photos" / made.name).write_bytes(made.data)
    (scene / "photos" / "0.png").write_bytes(b"")
    told = run(scene, "out", 1)
    names = [path.name for path in (scene / "photos").iterdir()]
    assert len(errors(told)) + len(list((scene / "out").iterdir())) == len(names)
    assert all(line.isprintable() for line in errors(told))


def test_damaged_weights_load_or_are_refused_and_run_nothing() -> None:
    command = [sys.executable, "-m", "tests.fuzz_weights", "--count", "80", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused .pth" in done.stdout


def test_stopped_runs_leave_nothing_half_and_the_next_completes() -> None:
    tally = kill_runs.run(4, 3)
    assert tally.failures == []
    assert tally.completed == 4


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_run_has_its_report_and_its_summary(
    number: signal.Signals, code: int, scene: Path
) -> None:
    for later in range(10, 30):
        make_photo(400, 300, later).save(scene / "photos" / f"{later}.png")
    # A shell's background job ignores Ctrl-C, and its children would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and under nohup
    with (scene / "told").open("w") as told:
        process = start(scene, "out", "--json", "--report", "r.json", stdout=told)
    with process:
        while not (scene / "told").stat().st_size:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        complaint = process.communicate(timeout=120)[1]
    assert process.returncode == code, complaint
    assert len(errors(complaint)) == 1
    pictures, summary = rows((scene / "told").read_text())
    assert 0 < summary["done"] == len(pictures) == len(list((scene / "out").iterdir()))
    assert summary["not_started"] == summary["total"] - len(pictures) > 0
    report = json.loads((scene / "r.json").read_text())
    assert (report["pictures"], report["summary"]["done"]) == (pictures, len(pictures))


def test_a_terminal_that_is_closed_ends_a_run_which_has_its_report(scene: Path) -> None:
    for later in range(10, 30):
        make_photo(400, 300, later).save(scene / "photos" / f"{later}.png")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ours, theirs = os.openpty()

    def live_there() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    more = {"start_new_session": True, "preexec_fn": live_there}
    with start(scene, "out", "--json", "--report", "r.json", **streams, **more) as process:
        os.close(theirs)
        received = b""
        while b'{"input"' not in received:
            received += os.read(ours, 65536)
        os.close(ours)
    assert process.returncode == 129
    report = json.loads((scene / "r.json").read_text())
    assert 0 < report["summary"]["done"] == len(list((scene / "out").iterdir()))
    assert report["summary"]["not_started"] > 0


def test_under_nohup_a_run_goes_on(scene: Path) -> None:
    with (scene / "told").open("w") as told:

        def ignore() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        process = start(scene, "out", stdout=told, preexec_fn=ignore)
    with process:
        while not (scene / "told").stat().st_size:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=120) == 0
    assert whole_results(scene / "out") == PHOTOS


def test_a_file_that_cannot_grow_is_one_error_each_and_no_file(scene: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    told = run(scene, "out", 1, preexec_fn=limit)
    assert len(errors(told)) == PHOTOS
    assert all("out/" in line for line in errors(told))
    assert whole_results(scene / "out") == 0
    run(scene, "out", 0)
    assert whole_results(scene / "out") == PHOTOS


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of 64 KiB at ``folder``."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED on a full disk: no tmpfs may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_error_each_and_no_half_file(scene: Path) -> None:
    with small_disk(scene / "out"):
        (scene / "out" / "filler").write_bytes(bytes(60_000))
        told = run(scene, "out", 1)
        assert len(errors(told)) == PHOTOS
        assert all("No space left" in line for line in errors(told))
        assert [path.name for path in (scene / "out").iterdir()] == ["filler"]


def test_a_place_that_cannot_be_written_is_said(scene: Path) -> None:
    if os.getuid():
        (scene / "out").mkdir(mode=0o555)
    out = scene / "out" if os.getuid() else Path("/proc/adacode")
    told = run(scene, out, 1)
    assert errors(told)
    assert all(str(out) in line for line in errors(told))


def test_an_input_that_vanishes_costs_only_itself(scene: Path) -> None:
    make_photo(500, 400).save(scene / "photos" / "0.png")
    with start(scene, "out") as process:
        assert process.stderr
        while " on cpu" not in process.stderr.readline():
            assert process.poll() is None
        (scene / "photos" / "2.png").unlink()
        told = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert len(errors(told)) == 1
    assert "2.png" in errors(told)[0]
    assert sorted(p.name for p in (scene / "out").iterdir()) == ["0_x4.png", "1_x4.png"]


@pytest.mark.parametrize("more", [(), ("--json",), ("-0",)])
def test_a_reader_that_goes_away_ends_the_run_without_noise(
    more: tuple[str, ...], scene: Path
) -> None:
    read, write = os.pipe()
    os.close(read)
    told = run(scene, "out", 1, "--report", "r.csv", *more, stdout=write)
    os.close(write)
    assert len(errors(told)) == 1
    assert "standard output: can't be written (Broken pipe)" in errors(told)[0]
    assert whole_results(scene / "out") >= 1
    with (scene / "r.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["status"] == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TESTED: no /dev/full here")
def test_results_that_cannot_be_told_are_an_error(scene: Path) -> None:
    with Path("/dev/full").open("w") as full:
        told = run(scene, "out", 1, "--report", "r.json", stdout=full)
    assert len(errors(told)) == 1
    assert "standard output: can't be written (No space left on device)" in errors(told)[0]
    assert "what was finished is kept" in errors(told)[0]
    assert whole_results(scene / "out") >= 1
    assert json.loads((scene / "r.json").read_text())["summary"]["done"] >= 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TESTED: no /dev/full here")
@pytest.mark.parametrize("size", [(8, 8), (200, 150)])  # less and more than Python's buffer
def test_a_picture_that_standard_output_has_no_room_for_is_one_line(
    size: tuple[int, int], scene: Path
) -> None:
    make_photo(*size).save(scene / "a.png")
    words = ("sr", "-", "--weights", "tiny.safetensors")
    read, write = os.pipe()
    os.close(read)
    with Path("/dev/full").open("w") as full:
        for stdout, reason in ((full.fileno(), "No space left on device"), (write, "Broken pipe")):
            with (scene / "a.png").open() as photo:
                done = subprocess.run(
                    [sys.executable, "-m", "adacode_cli", *words],
                    check=False,
                    stdin=photo,
                    stdout=stdout,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=scene,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            assert done.returncode == 1
            said = f"adacode: error: standard output: can't be written ({reason})"
            assert done.stderr.splitlines()[1:] == [said]
    os.close(write)


@pytest.mark.usefixtures("scene")
def test_a_broken_picture_from_standard_input_is_named_once(adacode: Command) -> None:
    done = adacode("sr", "-", "-o", "b.png", "--weights", "tiny.safetensors", check=1)
    assert errors(done.stderr)[0].startswith("adacode: error: standard input: ")


def test_a_full_pipe_is_waited_for(scene: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"x" * 4090)
    with start(scene, "out", stdout=write) as process:
        os.close(write)
        while not (scene / "out" / "0_x4.png").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        assert process.poll() is None  # it can't go on, and doesn't give up
        told = b""
        while piece := os.read(read, 4096):
            told += piece
        assert process.wait(120) == 0
    os.close(read)
    assert told[4090:].decode().splitlines() == [f"out/{n}_x4.png" for n in range(PHOTOS)]


def test_two_runs_into_one_folder_at_once_leave_whole_results(scene: Path) -> None:
    runs = [start(scene, "out") for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], told
    assert whole_results(scene / "out") == PHOTOS


def test_a_picture_without_pixels_is_refused(tmp_path: Path) -> None:
    made = mutant(452)  # a TIFF whose width became 0
    path = tmp_path / made.name
    path.write_bytes(made.data)
    with pytest.raises(PictureError, match=r"tif: broken picture: .* 0×43"):
        read(path)
