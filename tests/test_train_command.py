"""adacode train as a photographer's assistant would use it: folders in, weights out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.training.dataset import find_photos, load_photo, usable
from adacode_cli.training.figures import read_log
from adacode_cli.training.recipes import Run
from adacode_cli.training.settings import Settings, read_toml
from adacode_cli.training.states import States
from tests.conftest import Command, environment, make_photo, tree

QUICK = ("--batch", "2", "--patch", "64", "--workers", "0", "--codes", "16")


@pytest.fixture
def forty(tmp_path: Path) -> Path:
    """Forty photos in two classes of different sizes, mixed in format and shape."""
    for number in range(40):
        folder = tmp_path / "forty" / ("cats" if number % 4 else "dogs") / "more"
        folder.mkdir(parents=True, exist_ok=True)
        kind = "jpg" if number % 3 else "png"
        make_photo(80 + 4 * number, 160 - 2 * number, seed=number).save(folder / f"{number}.{kind}")
    return tmp_path / "forty"


def test_all_three_stages_in_order(forty: Path, tmp_path: Path, adacode: Command) -> None:
    few = ("--steps", "120", "--learning-rate", "2e-3")
    words = ("train", "all", forty, *few, *QUICK, "-o", tmp_path / "runs")
    weights = Path(adacode(*words).stdout.strip())
    assert weights == tmp_path / "runs" / "sr-x4" / "finetune.best.safetensors"
    model = AdaCode.from_file(weights)
    assert (model.config.task, model.config.scale) == ("sr", 4)
    assert [book.name for book in model.config.codebooks] == ["cats", "dogs"]
    # 120 steps: 15 % for two codebooks, 20 % for the prior, 65 % for the restoration
    assert {s: AdaCode.from_file(f).config.task for s, f in stage_files(tmp_path / "runs")} == {
        "cats": "reconstruct",
        "dogs": "reconstruct",
        "prior": "reconstruct",
        "sr-x4": "sr",
    }
    for name in ("curves.png", "sheets/finetune-00000070.png"):
        with Image.open(tmp_path / "runs" / "sr-x4" / name) as picture:
            assert min(picture.size) > 200
    # Again: nothing is left to do, and the same is told.
    assert adacode(*words).stdout.strip() == str(weights)
    log = read_log(tmp_path / "runs" / "sr-x4" / "log.jsonl")
    assert max(r["step"] for r in log if r["stage"] == "finetune") == 70


def stage_files(runs: Path) -> list[tuple[str, Path]]:
    """The weights of each stage by the name of its folder."""
    names = ("codebook", "representation", "finetune")
    return sorted((p.parent.name, p) for n in names for p in runs.rglob(f"{n}.safetensors"))


def test_the_loss_falls_and_the_score_rises(forty: Path, tmp_path: Path, adacode: Command) -> None:
    words = ("--steps", "150", "--learning-rate", "2e-3", "--checkpoint-every", "2s")
    adacode("train", "codebook", forty / "cats", *words, *QUICK, "-o", tmp_path / "run")
    log = read_log(tmp_path / "run" / "log.jsonl")
    losses = [r["reconstruction"] for r in log if "reconstruction" in r]
    scores = [r["valid/psnr"] for r in log if "valid/psnr" in r]
    assert losses[-1] < 0.8 * losses[0]
    assert len(scores) >= 2
    assert scores[-1] > scores[0]
    best = checkpoint.load(tmp_path / "run" / "codebook.best.safetensors")
    assert json.loads(best.metadata["training"])["valid/psnr"] in scores
    assert len(States(tmp_path / "run", "codebook", keep=2).paths()) <= 2
    assert list((tmp_path / "run" / "tensorboard" / "codebook").iterdir())


def test_a_kill_leaves_a_checkpoint_that_loads(forty: Path, tmp_path: Path) -> None:
    words = ["train", "codebook", forty, "-o", tmp_path / "run", "--for", "10m", *QUICK]
    words += ["--checkpoint-every", "0.2s"]
    command = [sys.executable, "-m", "adacode_cli", *map(str, words)]
    for times in range(3):
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as run:
            deadline, before = time.monotonic() + 120, newest(tmp_path)
            while newest(tmp_path) <= before and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.05 * times)
            run.send_signal(signal.SIGKILL)
        state = States(tmp_path / "run", "codebook", keep=2).latest()
        assert state is not None
        assert state["step"] > before
        assert AdaCode.from_file(tmp_path / "run" / "codebook.safetensors")


def newest(folder: Path) -> int:
    """The step of the newest whole state."""
    states = (folder / "run" / "states").glob("codebook-*.state")
    return max((int(p.stem.rpartition("-")[2]) for p in states), default=0)


def test_a_damaged_state_gives_way_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = States(tmp_path, "codebook", keep=2)
    for step in (1, 2, 3):
        states.save({"run": "", "step": step}, step)
    older, newer = states.paths()
    assert [older.name, newer.name] == ["codebook-00000002.state", "codebook-00000003.state"]
    whole = newer.read_bytes()
    for damaged in (whole[:100], b"", b"no state"):
        newer.write_bytes(damaged)
        assert states.latest() == {"run": "", "step": 2}
        assert capsys.readouterr().err.endswith("; an older one is tried\n")
    others: tuple[object, ...] = ({"weight": torch.ones(2)}, torch.ones(2), [])
    for other in others:
        torch.save(other, newer)
        assert states.latest() == {"run": "", "step": 2}
        assert "no state of a training run" in capsys.readouterr().err
    older.unlink()
    assert states.latest() is None
    assert "an older one" not in capsys.readouterr().err


def test_settings_come_from_a_file_and_options(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "my.toml").write_text(
        "batch = 3\npatch = 48\nsteps = 9\n[losses]\ncommitment = 0.2\n"
    )
    words = ("train", "codebook", photos / "cats", "--settings", "my.toml", "--codes", "8")
    weights = Path(
        adacode(*words, "--steps", "2", "--loss", "reconstruction=2", "-o", "run").stdout.strip()
    )
    story = json.loads(checkpoint.load(tmp_path / weights).metadata["training"])
    assert story["settings"]["batch"] == 3
    assert story["settings"]["steps"] == story["step"] == 2
    assert story["losses"]["reconstruction"] == 2
    written = read_toml(tmp_path / "run" / "settings.toml")
    assert (written["patch"], written["steps"]) == (48, 2)
    (tmp_path / "bad.toml").write_text("batches = 3\n")
    wrong = adacode("train", "codebook", photos, "--settings", "bad.toml", check=2)
    assert "no setting is called 'batches'" in wrong.stderr
    (tmp_path / "bad.toml").write_text('batch = "many"\n')
    assert "batch is 'many'" in adacode(*words[:3], "--settings", "bad.toml", check=2).stderr
    (tmp_path / "bad.toml").write_text("preset = 3\n")
    refused = adacode(*words[:3], "--settings", "bad.toml", check=2).stderr
    assert "preset is 3; it should be lite or official" in refused
    assert "use lite or official" in adacode(*words[:3], "--preset", "big", check=2).stderr


def test_photos_that_cannot_be_used_are_listed_and_skipped(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    (photos / "cats" / "broken.png").write_bytes(b"no picture")
    make_photo(20, 20).save(photos / "cats" / "small.png")
    damaged = photos / "cats" / "half.png"
    make_photo(96, 96).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:3000])
    few = ("--steps", "12", "--batch", "2", "--patch", "64", "--codes", "8", "--workers", "0")
    done = adacode("train", "codebook", photos / "cats", *few, "-o", tmp_path / "run")
    listed = (tmp_path / "run" / "skipped.txt").read_text()
    assert "broken.png: unreadable" in listed
    assert "20×20 is smaller than a patch of 64" in listed
    assert "skipped: 2 photos, see " in done.stderr
    assert done.stderr.count("half.png") == 1


def test_photos_that_the_commands_read_are_trained_on(tmp_path: Path) -> None:
    floats = np.random.default_rng(0).random((96, 96, 3), np.float32)
    tifffile.imwrite(tmp_path / "float.tif", floats, photometric="rgb")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "large.png")  # more than Pillow opens itself
    kept, skipped = usable(find_photos(tmp_path), smallest=64)
    assert ([p.name for p in kept], skipped) == (["float.tif", "large.png"], {})
    assert load_photo(tmp_path / "float.tif").shape == (96, 96, 3)


def test_a_device_of_everyones_settings_is_trainings_too(tmp_path: Path) -> None:
    assert Settings(steps=1, device="cuda:1").device == "cuda:1"
    with pytest.raises(UsageError, match="no device is called 'cuda:x'"):
        Run(tmp_path, tmp_path / "run", Settings(steps=1, device="cuda:x"))


def test_a_refused_run_leaves_the_earlier_ones_files(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    make_photo(20, 20).save(photos / "cats" / "small.png")
    words = ("train", "codebook", photos / "cats", *QUICK, "--steps", "1", "-o", tmp_path / "run")
    adacode(*words)
    before = {p: (tmp_path / "run" / p).read_bytes() for p in tree(tmp_path / "run")}
    (photos / "cats" / "other.png").write_bytes(b"no picture")
    assert "another run" in adacode(*words, "--seed", "1", check=2).stderr
    assert before == {p: (tmp_path / "run" / p).read_bytes() for p in tree(tmp_path / "run")}


def test_a_broken_photo_is_skipped_where_a_run_is_validated(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    damaged = photos / "dogs" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    words = ("train", "codebook", photos / "cats", *QUICK, "--steps", "1", "-o", tmp_path / "run")
    done = adacode(*words, "--valid", photos / "dogs")
    assert done.stderr.count("0.png") == 1
    assert done.stdout.strip().endswith("codebook.best.safetensors")


WITHOUT_CUDA = pytest.mark.skipif(
    torch.cuda.is_available(), reason="this machine has what is asked for"
)


@pytest.mark.parametrize(
    ("option", "word", "code", "told"),
    [
        pytest.param("--device", "cuda", 1, "this machine has 0 CUDA devices", marks=WITHOUT_CUDA),
        ("--device", "gpu", 2, "no device is called 'gpu'; use auto"),
        ("--precision", "foo", 2, "no precision is called 'foo'; use auto, fp32, bf16 or fp16"),
    ],
)
def test_what_is_missing_or_means_nothing_is_an_error_before_anything_is_written(
    option: str, word: str, code: int, told: str, photos: Path, tmp_path: Path, adacode: Command
) -> None:
    words = ("train", "codebook", photos / "cats", *QUICK, "--steps", "1", "-o", tmp_path / "run")
    assert told in adacode(*words, option, word, check=code).stderr
    assert not (tmp_path / "run").exists()


def test_a_prior_goes_on_from_an_earlier_one(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    few = ("--batch", "2", "--patch", "64", "--workers", "0", "--learning-rate", "1e-6")
    books = [
        adacode("train", "codebook", photos / n, *few, "--steps", "1", "-o", n).stdout.strip()
        for n in ("cats", "dogs")
    ]
    words = ("train", "representation", photos, *few, "--codebooks", *books, "--seed")
    first = adacode(*words, "1", "--steps", "1", "-o", "first").stdout.strip()
    again = ("2", "--steps", "0", "--start-from", first)
    second = adacode(*words, *again, "-o", "second").stdout.strip()
    ours, theirs = (checkpoint.load(tmp_path / f).state for f in (first, second))
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    one = ("train", "representation", photos, *few, "--codebooks", books[0], "--steps", "0")
    refused = adacode(*one, "--start-from", first, check=1).stderr
    assert "not a prior made of these codebooks" in refused


def test_codes_and_priors_that_do_not_fit_are_refused(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    few = ("--steps", "1", "--batch", "2", "--patch", "48")
    book = adacode(
        "train", "codebook", photos / "cats", *few, "-o", tmp_path / "cats"
    ).stdout.strip()
    other = adacode(
        "train", "codebook", photos / "dogs", *few, "-o", tmp_path / "dogs"
    ).stdout.strip()
    wide = checkpoint.load(Path(other))
    fields = {**wide.config.to_dict(), "widths": [3, 8, 8, 16]}
    odd = AdaCode(type(wide.config).from_dict(fields))
    checkpoint.save(tmp_path / "odd.safetensors", odd.config, odd.state_dict())
    two = ("train", "representation", photos, *few, "--codebooks", book)
    assert "with 16 channels" in adacode(*two, "odd.safetensors", check=1).stderr
    assert "two codebooks of one name" in adacode(*two, book, check=1).stderr
    prior = adacode(*two, other, "-o", tmp_path / "prior").stdout.strip()
    three = ("train", "restoration", photos, *few, "--prior", prior)
    assert "sr ×3" in adacode(*three, "--scale", "3", check=2).stderr
    assert "inpaint ×4" in adacode(*three, "--task", "inpaint", "--scale", "4", check=2).stderr
    assert (
        "of the lite preset"
        in adacode(*three, "--preset", "official", "--patch", "64", check=1).stderr
    )
    assert "such as 64" in adacode(*three, "--task", "inpaint", check=2).stderr
    inpaint = (*three, "--task", "inpaint", "--patch", "64", "-o", tmp_path / "holes")
    holes = adacode(*inpaint).stdout.strip()
    assert AdaCode.from_file(holes).config.in_channels == 4


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_full_disk_keeps_the_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    words = ["train", "codebook", photos, "-o", tmp_path / "run", *QUICK]
    run = [sys.executable, "-m", "adacode_cli", *map(str, words)]
    subprocess.run([*run, "--steps", "2"], check=True, env=environment(), timeout=120)
    limited = f"ulimit -f 100; exec {' '.join(run)} --steps 4"
    full = subprocess.run(
        ["bash", "-c", limited], check=False, env=environment(), text=True, capture_output=True
    )
    assert full.returncode == 1
    assert full.stderr.count("can't be saved") == 1
    state = States(tmp_path / "run", "codebook", keep=2).latest()
    assert state is not None
    assert state["step"] == 2
    assert not list((tmp_path / "run").rglob("*.unfinished"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_out_of_memory_says_which_batch_to_try(photos: Path, tmp_path: Path) -> None:
    words = ["train", "codebook", photos, "-o", tmp_path / "run", "--steps", "2", "--workers", "0"]
    run = [sys.executable, "-m", "adacode_cli", *map(str, words), "--batch", "4096", "--patch"]
    limited = f"ulimit -v 5000000; exec {' '.join(run)} 72"
    done = subprocess.run(
        ["bash", "-c", limited], check=False, env=environment(), text=True, capture_output=True
    )
    assert done.returncode == 1
    assert "try --batch 2048" in done.stderr.splitlines()[-1]


def test_the_official_network_makes_a_step_of_every_stage(
    photos: Path, tmp_path: Path, adacode: Command, squeeze_file: Path
) -> None:
    for path in photos.rglob("*.png"):
        make_photo(72, 64, seed=len(path.name)).save(path)
    few = ("--preset", "official", "--steps", "1", "--batch", "1", "--patch", "64", "--workers")
    words = (*few, "0", "--perceptual", squeeze_file, "--precision", "fp32")
    books = [
        adacode("train", "codebook", photos / n, *words, "--codes", "16", "-o", n).stdout.strip()
        for n in ("cats", "dogs")
    ]
    prior = adacode(
        "train", "representation", photos, *words, "--codebooks", *books, "-o", "prior"
    ).stdout.strip()
    adacode("train", "restoration", photos, *words, "--prior", prior, "--finetune", "0", "-o", "x4")
    log = {name: read_log(tmp_path / name / "log.jsonl") for name in ("cats", "prior", "x4")}
    assert log["x4"][-1]["stage"] == "restoration"
    told = json.loads(
        checkpoint.load(tmp_path / "x4" / "restoration.safetensors").metadata["training"]
    )
    assert told["step"] == 1
    assert told["settings"]["perceptual"] == Path(squeeze_file).name  # no folder of this machine
    assert {"adversarial", "contrast", "style", "code_style"} <= told["losses"].keys()
    state = torch.load(tmp_path / "cats" / "states" / "codebook-00000001.state", weights_only=True)
    assert state["adversary"]
    assert state["head"]


def test_a_budget_that_makes_no_sense_leaves_nothing(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    done = adacode("train", "codebook", photos, "--for", "soon", check=2)
    assert "soon" in done.stderr
    assert not (tmp_path / "runs").exists()
