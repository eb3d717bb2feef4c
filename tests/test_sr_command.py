"""`adacode sr` as people and scripts use it: real files, a real process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from torch import Tensor

from adacode_cli.cli.commands import COMMANDS, Commands
from adacode_cli.evaluation.metrics import gradient_magnitude, grid, luma, psnr_y
from adacode_cli.evaluation.score import bicubic
from adacode_cli.training.damage import to_tensor
from adacode_cli.training.dataset import load_photo
from adacode_cli.weights.catalogue import BUNDLED
from tests.conftest import Command, make_photo

EXAMPLE = Path(__file__).parents[1] / "docs" / "photos" / "perched-osprey.jpg"


def test_a_photo_comes_back_four_times_larger_beside_itself(
    tmp_path: Path, adacode: Command
) -> None:
    make_photo(40, 30).save(tmp_path / "in.png")
    done = adacode("sr", "in.png", "--scale", "4")
    assert done.stdout == "in_x4.png\n"
    assert "lite-x4 on" in done.stderr
    with Image.open(tmp_path / "in_x4.png") as out:
        assert (out.size, out.mode) == ((160, 120), "RGB")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "in_x4.png"]


def sharpness(picture: Tensor) -> float:
    """The mean gradient of the luma."""
    return gradient_magnitude(luma(picture)[None, None]).mean().item()


def test_a_real_photo_is_sharper_than_by_bicubic_and_has_no_grid(
    tmp_path: Path, adacode: Command
) -> None:
    clean = Image.fromarray(load_photo(EXAMPLE)[160:416, 440:696])
    clean.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "small.jpg", quality=85)
    adacode("sr", "small.jpg")
    truth = to_tensor(np.asarray(clean))
    ours = to_tensor(load_photo(tmp_path / "small_x4.png"))
    theirs = bicubic(load_photo(tmp_path / "small.jpg"), 4)
    assert 1.05 * sharpness(theirs) < sharpness(ours) < 1.1 * sharpness(truth)
    assert grid(ours) < 0.2
    assert psnr_y(ours, truth, 4) > psnr_y(theirs, truth, 4) - 1


def test_bands_are_the_same_picture(tmp_path: Path, adacode: Command) -> None:
    photo = make_photo(60, 90).convert("L")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.save(tmp_path / "in.png")
    adacode("sr", "in.png", "-o", "whole.png", "--tile", "off", "--precision", "fp32")
    for name in ("banded.png", "banded.tif"):
        adacode("sr", "in.png", "-o", name, "--tile", "64", "--precision", "fp32")
    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "banded.png") as banded:
        assert whole.mode == banded.mode == "LA"
        assert whole.size == banded.size == (240, 360)
        apart = np.abs(np.asarray(whole, np.int16) - np.asarray(banded, np.int16))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 1e-3
    with Image.open(tmp_path / "banded.png") as png, Image.open(tmp_path / "banded.tif") as tif:
        assert np.array_equal(np.asarray(png), np.asarray(tif))
    done = adacode("sr", "in.png", "-o", "x.png", "--tile", "7", check=2)
    assert "--tile 7" in done.stderr
    done = adacode("sr", "in.png", "-o", "x.png", "--tile-stats", "some", check=2)
    assert "exact or sampled" in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_orientation_and_transparency_survive(tmp_path: Path, adacode: Command) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    make_photo(40, 24).save(tmp_path / "turned.jpg", exif=exif)
    cut_out = make_photo(32, 32).convert("RGBA")
    mask = Image.new("L", (32, 32), 0)
    mask.paste(255, (8, 8, 24, 24))
    cut_out.putalpha(mask)
    cut_out.save(tmp_path / "cut.png")
    adacode("sr", "turned.jpg", "cut.png", "-o", "out")
    with Image.open(tmp_path / "out" / "turned_x4.png") as out:
        assert out.size == (96, 160)
        assert out.getexif().get(ExifTags.Base.Orientation, 1) == 1
    with Image.open(tmp_path / "out" / "cut_x4.png") as out:
        assert out.mode == "RGBA"
        alpha = np.asarray(out.getchannel("A"))
    assert alpha[48:80, 48:80].min() > 240
    assert alpha[:20].max() < 15


def test_a_folder_is_finished_in_spite_of_a_bad_file(tmp_path: Path, adacode: Command) -> None:
    folder = tmp_path / "my photos"
    folder.mkdir()
    for number in range(3):
        make_photo(16, 16, number).save(folder / f"{number} é.png")
    (folder / "1 broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture, and none is meant")
    done = adacode("sr", "my photos", "-o", "out", check=1)
    assert done.stdout.splitlines() == [f"out/{n} é_x4.png" for n in range(3)]
    problems = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(problems) == 1
    assert "1 broken.png" in problems[0]
    again = adacode("sr", "my photos", "-o", "out", check=1)
    assert again.stdout == ""
    assert "3 done before" in again.stderr
    (folder / "1 broken.png").unlink()
    for _ in range(2):
        adacode("sr", "my photos")
    assert len(list(folder.glob("*.png"))) == 6


def test_a_result_is_not_overwritten_unless_forced(tmp_path: Path, adacode: Command) -> None:
    make_photo(16, 16).save(tmp_path / "a.png")
    (tmp_path / "a_x4.png").write_text("precious")
    done = adacode("sr", "a.png", check=1)
    assert "--force" in done.stderr
    assert (tmp_path / "a_x4.png").read_text() == "precious"
    adacode("sr", "a.png", "--force")
    with Image.open(tmp_path / "a_x4.png") as out:
        assert out.size == (64, 64)
    assert "is an input" in adacode("sr", "a.png", "-o", "a.png", "--force", check=1).stderr
    with Image.open(tmp_path / "a.png") as original:
        assert original.size == (16, 16)
    result = (tmp_path / "a_x4.png").read_bytes()
    adacode("sr", "a.png", "../" + tmp_path.name + "/a_x4.png", "--force", check=1)
    assert (tmp_path / "a_x4.png").read_bytes() == result


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("sr", "missing.png"), 1, "no such file"),
        (("sr", "a.png", "--scale", "1"), 2, "above 1"),
        (("sr", "a.png", "--scale", "nan"), 2, "no size"),
        (("sr", "a.png", "--scale", "4", "--width", "100"), 2, "exclude each other"),
        (("sr", "a.png", "--fit", "100"), 2, "1920x1080"),
        (("sr", "a.png", "--compare", "sheet.jpg"), 2, ".png"),
        (("eval", ".", "--sheet", "missing/s.png"), 2, "missing"),
        (("eval", ".", "--perceptual", "a.png"), 1, "a.png"),
        (("sr", "a.png", "--weights", "nothing"), 1, "lite-x4"),
        (("sr", "a.png", "--weights", "lite-inpaint"), 1, "for inpaint, not for sr"),
        (("sr", "a.png", "--width", "64", "--weights", "lite-inpaint"), 1, "not for sr"),
        (("sr", "a.png", "--device", "cuda:7"), 1, "CUDA devices"),
        (("sr", "a.png", "--device", "abacus"), 2, "abacus"),
        (("sr", "a.png", "--precision", "fp8"), 2, "fp8"),
        (("sr", "a.png", "-o", "out.xyz.jpg", "b.png"), 2, "several inputs"),
        (("sr", "empty"), 2, "no picture"),
        (("sr", "*.jpg"), 1, "no picture fits"),
        (("sr", "full", "-o", "out.png"), 2, "what a folder or a pattern holds goes to a folder"),
        (("eval", "empty"), 1, "no photo"),
    ],
)
def test_a_mistake_is_one_clear_line(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path, adacode: Command
) -> None:
    make_photo(16, 16).save(tmp_path / "a.png")
    make_photo(16, 16).save(tmp_path / "b.png")
    for folder in ("empty", "full"):
        (tmp_path / folder).mkdir()
    make_photo(16, 16).save(tmp_path / "full" / "a.png")
    before = sorted(tmp_path.iterdir())
    done = adacode(*words, check=code)
    problems = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(problems) == 1
    assert says in problems[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


def test_ctrl_c_ends_with_130_and_leaves_no_half_file(tmp_path: Path) -> None:
    make_photo(1200, 1200).save(tmp_path / "large.png")
    command = [sys.executable, "-m", "adacode_cli", "sr", str(tmp_path / "large.png")]
    root = EXAMPLE.parents[2]
    # A shell's background job ignores Ctrl-C, and its children would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert "lite-x4 on" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        assert "interrupted" in run.stderr.read()
    assert run.returncode == 130
    assert [p.name for p in tmp_path.iterdir()] == ["large.png"]


def test_scores_have_a_bicubic_row(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "clean").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "clean" / "osprey.jpg")
    done = adacode("eval", "clean", "--damage", "bicubic", "--sheet", "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * 320 + 2 * 8
    assert "bicubic" in done.stdout
    assert "PSNR-Y" in done.stdout


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from adacode_cli.cli.main import app\n"
        "pictures = ['sr'], ['inpaint'], ['reconstruct'], ['inspect']\n"
        "for words in ([], *pictures, ['train', 'codebook'], ['weights', 'push'], ['doctor']):\n"
        "    result = CliRunner().invoke(app, [*words, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "heavy = {'torch', 'numpy', 'cv2', 'PIL', 'accelerate', 'huggingface_hub'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_restoring_needs_no_compiler_no_hub_and_no_opencv(tmp_path: Path) -> None:
    """PyTorch imports its compiler for little things, which takes as long as PyTorch.

    The Hub's client and OpenCV take a fifth of it.
    """
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    code = (
        "import sys\n"
        "from adacode_cli.cli.main import app\n"
        "app(['sr', 'in.png', '-o', 'out.png', '--quiet'], standalone_mode=False)\n"
        "heavy = {'torch._dynamo', 'torch._inductor', 'sympy', 'huggingface_hub.hf_api', 'cv2'}\n"
        "heavy |= {f'adacode_cli.cli.{other}' for other in ('train', 'eval', 'inpaint', 'bench')}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    without = {"ADACODE_CONFIG": str(tmp_path / "none.toml")}  # a file is checked by all commands
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, **without}
    )
    assert (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_it_is_said_to_be(name: str) -> None:
    command = Commands()[name]
    assert command.name == name
    assert command.help


def test_every_bundled_model_has_its_card() -> None:
    for bundled in BUNDLED.values():
        card = Path(__file__).parents[1] / "weights" / f"{bundled.name}.md"
        assert bundled.path.stat().st_size < 40e6
        assert "bicubic" in card.read_text()
