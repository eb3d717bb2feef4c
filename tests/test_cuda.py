"""What a GPU makes of pictures: a CPU's pictures, in whatever memory it has."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from adacode_cli.device import keep_fp32_exact
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import Task, official_config
from adacode_cli.model.norm import GroupNorm, sums_pay
from adacode_cli.model.swin import apart_in_whole, order
from adacode_cli.restore.bands import store
from adacode_cli.restore.bands.store import Store
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import Tiling
from adacode_cli.restore.transfer import fetched, on_host, sent
from adacode_cli.weights.catalogue import BUNDLED, load_model
from tests.conftest import Command, make_photo
from tests.processes import FORKS, run_command
from tests.published_layout import filled_state
from tests.test_bands import OFFICIAL, overflowing, small_official

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="NOT TESTED: this machine has no CUDA device"
)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
Squeezed = Callable[..., CompletedProcess[str]]


@pytest.fixture(autouse=True)
def as_the_program() -> Iterator[None]:
    """Exact float32 in each test, and all of the memory after it."""
    keep_fp32_exact()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def picture(channels: int, height: int, width: int) -> Tensor:
    """A photo, with a hole where there is a fourth channel."""
    rgb = np.array(make_photo(width, height)).transpose(2, 0, 1)
    image = torch.from_numpy(rgb).float() / 255
    if channels == 3:
        return image
    hole = torch.zeros(1, height, width)
    hole[:, height // 3 : height // 2, width // 4 : width // 2] = 1
    return torch.cat([image * (1 - hole), hole])


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * (a - b).square().mean().clamp(min=1e-12).log10().item()


def assert_alike(ours: Restorer, theirs: Restorer, image: Tensor) -> None:
    """At 8 bits a level apart, but for a sample of a thousand.

    Two codes may be equally near to rounding: those few are anyone's choice, and then the
    pictures only nearly the same.
    """
    a, b = ours(image), theirs(image)
    assert ours.notes == theirs.notes == []
    differing = (ours.indices != theirs.indices).float().mean()
    apart = ((255 * a).round() - (255 * b).round()).abs()
    assert differing <= 2e-3
    if differing == 0:
        assert (apart <= 1).float().mean() >= 0.999, f"{apart.max():.0f} levels apart"
    assert psnr(a, b) > 40


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_network_draws_what_it_draws_on_a_cpu(name: str) -> None:
    ours = Restorer(load_model(name), CUDA, torch.float32)
    theirs = Restorer(load_model(name), CPU, torch.float32)
    assert_alike(ours, theirs, picture(ours.model.config.in_channels, 45, 61))


@pytest.mark.parametrize("name", BUNDLED)
def test_half_precision_is_near(name: str) -> None:
    model = load_model(name)
    image = picture(model.config.in_channels, 45, 61)
    exact = Restorer(model, CUDA, torch.float32)(image)
    for precision in (torch.bfloat16, torch.float16):
        restorer = Restorer(model, CUDA, precision)
        near = restorer(image)
        assert restorer.notes == []
        assert psnr(near[:3], exact[:3]) > 35, precision


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_network_in_bands_draws_the_same(name: str) -> None:
    model = load_model(name)
    whole, banded = (Restorer(model, CUDA, torch.float32, Tiling(rows)) for rows in (0, 40))
    assert_alike(banded, whole, picture(model.config.in_channels, 96, 50))


@pytest.mark.parametrize(("task", "scale"), OFFICIAL)
def test_a_published_network_in_bands_draws_the_same(task: Task, scale: int) -> None:
    model = small_official(task, scale, scaled=True)
    whole, banded = (Restorer(model, CUDA, torch.float32, Tiling(rows)) for rows in (0, 72))
    assert_alike(banded, whole, picture(3, 200 // scale + 3, 120 // scale + 1))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_published_network_computes_what_it_computes_on_a_cpu(
    precision: torch.dtype, tmp_path: Path
) -> None:
    path = tmp_path / "x4_g.pth"
    torch.save({"params": filled_state(official_config("sr", 4))}, path)
    model, batch = load_model(path).requires_grad_(False), picture(3, 48, 32)[None]
    with torch.no_grad():
        theirs = model(batch)
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            ours = model.to(CUDA)(batch.to(CUDA))
    allowed = 1e-4 if precision == torch.float32 else 0.1
    for a, b in ((ours.features.z, theirs.features.z), (ours.weight_map, theirs.weight_map)):
        assert (a.float().cpu() - b).norm() / b.norm() < allowed
    assert torch.isfinite(ours.image).all()
    if precision == torch.float32:
        assert (ours.indices.cpu() == theirs.indices).float().mean() > 0.998


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_wherever_maps_are_kept_the_picture_is_the_same(
    precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the GPU, in the host's memory, in files."""
    restorer = Restorer(small_official("sr", 4), CUDA, precision, Tiling(rows=40))
    image = picture(3, 60, 40)
    assert Store((1, 32, 8, 8), CUDA).memory.device.type == "cuda"  # type: ignore[union-attr]
    on_gpu = restorer.restore(image)
    monkeypatch.setattr(store, "ON_GPU", 0)
    used = Store.used
    in_memory = restorer.restore(image)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    assert torch.equal(in_memory, on_gpu)
    assert torch.equal(restorer.restore(image), on_gpu)
    assert Store.used == used


def test_a_large_picture_is_done_whole_where_there_is_room() -> None:
    restorer = Restorer(small_official("sr", 4), CUDA, torch.bfloat16)
    way = restorer.way(2048, 1024)
    assert (way.rows, way.on_cpu) == (2048, 256)


def test_a_tensor_comes_back_where_it_came_from() -> None:
    restorer = Restorer.load("lite-x4", "cuda")
    assert restorer.precision == torch.bfloat16
    image = picture(3, 12, 16)
    restored = restorer(image.to(CUDA))
    assert restored.device.type == "cuda"
    assert torch.equal(restored.cpu(), restorer(image))


@pytest.mark.parametrize("rows", [0, 32])
def test_what_overflows_is_computed_again(rows: int) -> None:
    model, image = overflowing(0), picture(3, 40, 16)
    with torch.no_grad():
        model.get_parameter("decoder.detail.6.conv.weight").mul_(1e7)  # beyond 65504
    exact = Restorer(model, CUDA, torch.float32).restore(image)
    restorer = Restorer(model, CUDA, torch.float16, Tiling(rows=rows))
    assert (restorer.restore(image) - exact).abs().mean() < 0.05
    assert restorer.notes == ["not finite in fp16 from row 0 on: computed in bf16"]


def leave(size: float) -> None:
    """From now on, this process may take so many bytes of the GPU."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(size / total)


def test_what_has_no_room_whole_is_done_in_bands() -> None:
    restorer = Restorer(load_model("lite-x4"), CUDA, torch.float32)
    image = picture(3, 300, 300)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    whole = restorer.restore(image)
    leave(0.6 * torch.cuda.max_memory_reserved())
    assert psnr(restorer.restore(image), whole) > 40
    assert restorer.notes
    assert all("computed in bands of" in note for note in restorer.notes), restorer.notes


@pytest.fixture
def squeezed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Squeezed:
    """Run the command in a process that may take so many bytes of the GPU."""
    if not FORKS:
        pytest.skip("NOT TESTED: processes aren't forked here")
    monkeypatch.setenv("ADACODE_CONFIG", str(tmp_path / "config.toml"))

    def run(size: int, *words: str) -> CompletedProcess[str]:
        return run_command(list(words), tmp_path, os.environ, partial(leave, size))

    return run


@pytest.mark.parametrize("megabytes", [2, 24])
def test_without_room_a_device_that_was_named_is_an_error(
    megabytes: int, tmp_path: Path, squeezed: Squeezed
) -> None:
    make_photo(200, 150).save(tmp_path / "in.png")
    done = squeezed(megabytes << 20, "sr", "in.png", "--device", "cuda", "--precision", "fp32")
    assert done.returncode == 1
    assert done.stdout == ""
    (error,) = (line for line in done.stderr.splitlines() if "error" in line)
    assert error.startswith("adacode: error: in.png: out of memory on cuda, even with bands of 8")
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]
    if fits := re.search(r"room for one (\d+) pixels wide", error):
        make_photo(int(fits[1]), 150).save(tmp_path / "small.png")
        words = ("sr", "small.png", "--device", "cuda", "--precision", "fp32")
        done = squeezed(megabytes << 20, *words)
        assert done.returncode == 0, done.stderr
    else:
        assert "there is room for none" in error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_normalise_as_pytorch_does(dtype: torch.dtype) -> None:
    layer = GroupNorm(32, 64).to(CUDA)
    x = (3 + torch.randn(2, 64, 61, 45, device=CUDA)).to(dtype, memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        assert sums_pay(x)
        found, wanted = layer(x), F.group_norm(x, 32, layer.weight, layer.bias)
    assert found.dtype == wanted.dtype
    assert (found - wanted).abs().max() < 1e-3


def test_bands_are_fetched_while_the_next_is_computed() -> None:
    """In order, whatever was still to be copied when something failed included."""
    made = [torch.full((3, 400, 500), float(n), device=CUDA) for n in range(4)]

    def failing() -> Iterator[Tensor]:
        yield from made
        raise RuntimeError("CUDA out of memory")

    fetching, seen = fetched(failing()), []
    for _ in made:
        tensor = next(fetching)
        assert tensor.device == CPU
        seen.append(tensor.mean().item())
    with pytest.raises(RuntimeError, match="out of memory"):
        next(fetching)
    assert seen == [0, 1, 2, 3]
    rows = torch.rand(3, 40, 50)[..., 10:30, :]
    assert torch.equal(on_host(sent(rows, CUDA)), rows)


def test_without_room_auto_goes_on_on_the_cpu_and_says_so(
    tmp_path: Path, squeezed: Squeezed
) -> None:
    make_photo(50, 30).save(tmp_path / "in.png")
    done = squeezed(2 << 20, "sr", "in.png")
    assert done.returncode == 0, done.stderr
    assert "in.png: out of memory on cuda: computed on the cpu, which is slower" in done.stderr
    with Image.open(tmp_path / "in_x4.png") as out:
        assert out.size == (200, 120)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("sr", "in.png"), "in_x4.png"),
        (("sr", "in.png", "--scale", "2", "--precision", "fp32", "--tile", "32"), "in_x2.png"),
        (("inpaint", "in.png", "--mask", "mask.png"), "in_inpainted.png"),
        (("reconstruct", "in.png", "--codes", "in.npz"), "in_reconstructed.png"),
    ],
)
def test_commands_draw_on_a_gpu(
    words: tuple[str, ...],
    output: str,
    tmp_path: Path,
    adacode: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADACODE_CONFIG", str(tmp_path / "config.toml"))
    make_photo(75, 50).save(tmp_path / "in.png")
    mask = Image.new("L", (75, 50), 0)
    ImageDraw.Draw(mask).rectangle((20, 15, 40, 30), fill=255)
    mask.save(tmp_path / "mask.png")
    done = adacode(*words, "--device", "cuda")
    assert done.stdout == f"{output}\n"
    kind = "float32" if "fp32" in words else "bfloat16"
    assert f"on cuda in {kind}" in done.stderr
    scale = {"in_x4.png": 4, "in_x2.png": 2}.get(output, 1)
    with Image.open(tmp_path / output) as out:
        assert out.size == (75 * scale, 50 * scale)
        assert np.asarray(out).std() > 10


def recorder(model: AdaCode) -> Restorer:
    return Restorer(model, CUDA, torch.bfloat16, replays=True)


def assert_replayed(restorer: Restorer) -> None:
    """Five pictures, of which the last two are replays, come out as a usual restorer's."""
    usual = Restorer(restorer.model, CUDA, torch.bfloat16)
    for share in (1.0, 0.8, 0.6, 0.4, 0.2):
        image = share * picture(3, 64, 72)
        found, wanted = restorer.restore_any(image), usual.restore_any(image)
        assert (found - wanted).abs().max() <= max(1.0, wanted.abs().max().item()) / 255
    assert restorer.replayer.recording is not None
    assert usual.replayer.recording is None
    assert restorer.notes == []


@pytest.mark.parametrize("name", ["lite-x4", "lite-x2"])
def test_the_third_picture_of_a_size_is_recorded_and_the_next_replayed(name: str) -> None:
    restorer = recorder(load_model(name))
    assert_replayed(restorer)
    restorer.restore(picture(3, 64, 64))
    assert restorer.replayer.recording is None


def test_the_published_network_is_recorded_with_what_a_cache_lets_go_of(tmp_path: Path) -> None:
    torch.save({"params": filled_state(official_config("sr", 4))}, tmp_path / "x4.pth")
    restorer = recorder(load_model(tmp_path / "x4.pth"))
    assert_replayed(restorer)
    assert restorer.replayer.recording is not None
    assert len(restorer.replayer.recording.constants) > 0
    order.cache_clear()
    apart_in_whole.cache_clear()
    torch.cuda.empty_cache()
    spoiled = [torch.full((1 << 20,), -1, device=CUDA) for _ in range(20)]
    assert_replayed(restorer)
    del spoiled


def test_a_network_that_was_elsewhere_is_recorded_anew() -> None:
    restorer = recorder(load_model("lite-x4"))
    assert_replayed(restorer)
    restorer.move_to(CPU)
    assert restorer.replayer.recording is None
    assert_replayed(restorer)
