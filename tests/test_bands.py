"""A picture in bands is the whole picture: for every network, at any size, within memory."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor

from adacode_cli.errors import UsageError
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import Task, official_config
from adacode_cli.model.swin import SwinBlock
from adacode_cli.restore.bands import store
from adacode_cli.restore.bands.banded import Banded, stored
from adacode_cli.restore.bands.foresight import with_foresight
from adacode_cli.restore.bands.run import Run, bands, settle
from adacode_cli.restore.bands.statistics import squares
from adacode_cli.restore.bands.store import ScratchError, Store
from adacode_cli.restore.mirror import pad
from adacode_cli.restore.reconstruction.reconstruct import encode
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.tiling import Tiling, parse_tiling
from adacode_cli.restore.way import NoRoomError, Way, persevere
from adacode_cli.weights.catalogue import BUNDLED, load_model
from tests.conftest import tiny_config, tiny_model

CPU = torch.device("cpu")
SIZES = [(1, 1), (3, 5), (7, 16), (33, 31), (90, 41)]
OFFICIAL: list[tuple[Task, int]] = [("sr", 4), ("sr", 2), ("inpaint", 1), ("reconstruct", 1)]


def restorer_of(
    model: AdaCode, tiling: Tiling | None = None, precision: torch.dtype = torch.float32
) -> Restorer:
    return Restorer(model, CPU, precision, tiling)


def photo(channels: int, height: int, width: int) -> Tensor:
    """Smooth and busy, with holes where there is a fourth channel."""
    torch.manual_seed(height * width)
    image = torch.rand(channels, height, width)
    if channels == 4:
        image[3] = (image[3] > 0.7).float()
    return image


def assert_same_picture(ours: Tensor, theirs: Tensor) -> None:
    """At 8 bits: a level apart in one sample of a thousand, at most."""
    levels = [(255 * x.clamp(0, 1)).round() for x in (ours, theirs)]
    apart = (levels[0] - levels[1]).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() <= 1e-3


def small_official(task: Task, scale: int, *, scaled: bool = False) -> AdaCode:
    """A published network, narrower; by the rule of the parity files, or ``scaled`` into range."""
    config = replace(official_config(task, scale), widths=(32, 32, 64, 64))
    model = AdaCode(config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if not scaled and tensor.dim() > 1:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
            elif "norm" in name and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
        drawn = model(torch.rand(1, 3, 64 // scale, 64 // scale)).image
        model.decoder.out.weight.mul_(0.25 / drawn.std())  # type: ignore[union-attr, operator]
        model.decoder.out.bias.fill_(0.5)  # type: ignore[union-attr, operator]
    return model


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("task", "scale"), [("sr", 4), ("sr", 2), ("inpaint", 1)])
def test_lite_networks_in_bands_are_exact(task: Task, scale: int, size: tuple[int, int]) -> None:
    config = tiny_config(task, scale)
    config = replace(config, encoder_depths=(1, 2), deep_skip=True, subpixel=True)
    torch.manual_seed(0)
    model = AdaCode(replace(config, fine_skip=scale < 4)).eval()
    for name, tensor in model.decoder.named_parameters():
        if "subpixel.conv.weight" in name or "free" in name:  # 0 at first
            tensor.data.normal_(std=0.1)
    image = photo(config.in_channels, *size)
    whole = restorer_of(model, Tiling(rows=0)).restore(image)
    assert whole.shape == (3, scale * size[0], scale * size[1])
    for rows in (8, 24, 101):
        assert_same_picture(restorer_of(model, Tiling(rows=rows)).restore(image), whole)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("task", "scale"), OFFICIAL)
def test_published_networks_in_bands_are_exact(task: Task, scale: int, scaled: bool) -> None:  # noqa: FBT001
    model = small_official(task, scale, scaled=scaled)
    image = photo(3, 200 // scale + 3, 120 // scale + 1)
    whole = restorer_of(model, Tiling(rows=0)).restore(image)
    for rows in (16, 72):
        assert_same_picture(restorer_of(model, Tiling(rows=rows)).restore(image), whole)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_networks_in_bands_are_exact(name: str) -> None:
    model = load_model(name)
    image = photo(model.config.in_channels, 96, 50)
    whole = restorer_of(model, Tiling(rows=0)).restore(image)
    assert_same_picture(restorer_of(model, Tiling(rows=40)).restore(image), whole)


def test_codes_and_weights_in_bands_are_the_whole_ones() -> None:
    model = small_official("sr", 4)
    batch = photo(3, 64, 48)[None]
    with torch.no_grad():
        whole, noted = model(batch), model(stored(batch))
        parts = [rows for _, rows in bands([noted.indices, noted.weight_map], 3)]
    indices, weights = (torch.cat(column, dim=-2) for column in zip(*parts, strict=True))
    assert (indices == whole.indices).float().mean() > 0.999
    assert torch.allclose(weights, whole.weight_map, rtol=1e-3, atol=1e-2)


def test_a_run_may_begin_anywhere() -> None:
    model = tiny_model()
    batch = photo(3, 40, 24)[None]
    with torch.no_grad():
        whole = model(batch).image
        for start in (1, 50, 159):
            rest = [rows for _, (rows,) in bands([model(stored(batch)).image], 16, start)]
            assert torch.allclose(torch.cat(rest, dim=-2), whole[..., start:, :], atol=1e-6)


def test_nothing_is_computed_twice() -> None:
    """Every convolution sees each of its rows once, however the picture is cut up."""
    model = tiny_model()
    noted = model(stored(photo(3, 64, 16)[None]))
    run = Run([noted.image])
    done: dict[Banded, int] = {}

    def counted(key: Banded, do: Any, top: int, bottom: int, rows: list[Tensor]) -> Tensor:
        done[key] = done.get(key, 0) + bottom - top
        return do(top, bottom, rows)

    for banded in run.order:
        banded.step = banded.step._replace(compute=partial(counted, banded, banded.step.compute))
    with torch.no_grad():
        for top in range(0, 256, 32):
            run.band(top, top + 32)
    assert all(count == banded.height for banded, count in done.items() if not banded.free)


def test_no_window_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where bands end inside of windows nor when another statistic is taken."""
    rows: Counter[SwinBlock] = Counter()
    band = SwinBlock.band

    def counted(block: SwinBlock, x: Tensor, above: int, below: int) -> Tensor:
        rows[block] += x.shape[2]
        return band(block, x, above, below)

    monkeypatch.setattr(SwinBlock, "band", counted)
    monkeypatch.setattr(store, "BAND", 0)  # the least: 8 rows at once
    restorer_of(small_official("sr", 4), Tiling(rows=40)).restore(photo(3, 96, 24))
    assert len(rows) == 48  # the encoder's and the weight map's
    assert set(rows.values()) == {48}  # of stride 8: half of the input's


def test_what_is_kept_does_not_grow_with_the_height() -> None:
    model = tiny_model()

    def most_kept(height: int) -> int:
        run = Run([model(stored(photo(3, height, 16)[None])).image])
        most = 0
        with torch.no_grad():
            for top in range(0, 4 * height, 32):
                run.band(top, top + 32)
                most = max(most, sum(rows.numel() for rows in run.rows.values()))
        return most

    assert most_kept(400) == most_kept(100)


def test_between_bands_only_rows_that_the_next_one_reaches_take_memory() -> None:
    """A view of a few rows would hold the whole band."""
    run = Run([small_official("sr", 4)(stored(photo(3, 160, 16)[None])).image])
    held = []
    with torch.no_grad():
        for top in range(0, 512, 256):
            run.band(top, top + 256)
            maps = [rows for banded, rows in run.rows.items() if banded not in run.wanted]
            assert all(rows.untyped_storage().nbytes() == rows.nbytes for rows in maps)
            held.append(sum(rows.nbytes for rows in maps))
            tallest = max(rows.shape[-2] for rows in maps)
            assert tallest <= 4
    assert held[0] == held[1] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_that_memory_has_no_room_for_go_to_a_file(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_official("sr", 4)
    image = photo(3, 40, 24)
    in_memory = restorer_of(model, Tiling(rows=16), dtype).restore(image)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    assert torch.equal(restorer_of(model, Tiling(rows=16), dtype).restore(image), in_memory)


def test_files_take_two_maps_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read for the last time makes room for what comes from it."""
    files: WeakKeyDictionary[Store, int] = WeakKeyDictionary()
    most = 0
    write, let_go = Store.write, Store.let_go

    def watch(changed: Store) -> None:
        nonlocal most
        files[changed] = sum(os.fstat(f.fileno()).st_size for f in changed.files.values())
        most = max(most, sum(files.values()))

    def written(changed: Store, top: int, rows: Tensor) -> None:
        write(changed, top, rows)
        watch(changed)

    def gone(changed: Store, top: int) -> None:
        let_go(changed, top)
        watch(changed)

    monkeypatch.setattr(Store, "write", written)
    monkeypatch.setattr(Store, "let_go", gone)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    monkeypatch.setattr(store, "BAND", 0)
    restorer_of(small_official("sr", 4), Tiling(rows=16)).restore(photo(3, 96, 32))
    largest = 32 * 4 * (4 * 96) * (4 * 32)  # 32 channels of float32
    assert 2 * largest < most < 2.2 * largest
    assert not files  # they went with their stores


def test_rows_that_were_let_go_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    rows = torch.rand(1, 4, 64, 5)
    kept = Store(rows.shape, CPU)
    kept.write(0, rows[..., :30, :])
    kept.write(30, rows[..., 30:, :])
    kept.let_go(23)  # in files of 4 rows each
    assert torch.equal(kept.read(20, 64), rows[..., 20:, :])
    with pytest.raises(KeyError):
        kept.read(19, 21)


def test_rows_that_were_not_written_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    kept = Store((1, 4, 64, 5), CPU)
    kept.write(0, torch.rand(1, 4, 1, 5))
    with pytest.raises(EOFError, match="rows 0 to 3"):
        kept.read(0, 3)


def test_codes_are_found_without_decoding_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = []

    def watched(banded: Banded) -> Store:
        settled.append(banded.height)
        return settle(banded)

    monkeypatch.setattr("adacode_cli.restore.bands.noted.settle", watched)
    encode(restorer_of(small_official("sr", 4), Tiling(rows=16)), photo(3, 96, 32))
    assert settled == [48] * 4  # of the encoder's blocks; neither skips nor decoder


def test_a_network_that_is_noted_differently_is_refused() -> None:
    x, times = stored(photo(3, 8, 8)[None]), itertools.count()

    def note() -> list[Banded]:
        y = x * 2
        return [y + x if next(times) else y]

    with pytest.raises(RuntimeError, match="second time"):
        with_foresight(note)


def test_a_map_that_is_there_is_normalised_and_added_to_itself() -> None:
    image = photo(4, 20, 9)[None]
    norm = torch.nn.GroupNorm(2, 4)
    with torch.no_grad():
        normal = norm(stored(image)) * 2
        (_, (rows,)) = next(bands([normal + normal], 20))
        assert torch.allclose(rows, 4 * norm(image), atol=1e-5)


def test_a_disk_without_room_for_maps_is_told_before_it_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    restorer = restorer_of(small_official("sr", 4), Tiling(rows=16))
    with pytest.raises(ScratchError, match=r"no room .*0\.0 GB are free.*set TMPDIR"):
        restorer.restore(photo(3, 40, 24))


def test_room_is_asked_for_all_that_comes_less_what_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1300))
    store.check_room(1300, 0)
    store.check_room(2000, 1000)  # and one of 16 files
    with pytest.raises(ScratchError, match="feature maps"):
        store.check_room(1301, 0)
    with pytest.raises(ScratchError):
        store.check_room(2300, 1000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stores_give_back_what_they_took_and_know_their_statistics(dtype: torch.dtype) -> None:
    before = Store.used
    rows = (torch.randn(1, 8, 30, 20) * 3 + 100).to(dtype)
    kept = Store(rows.shape, CPU, dtype)
    assert Store.used == before + rows.nbytes
    for top in range(0, 30, 7):
        kept.write(top, rows[..., top : top + 7, :])
    assert torch.equal(kept.read(3, 21), rows[..., 3:21, :])
    mean, variance = kept.statistics(4)
    groups = rows.float().view(4, -1)
    assert torch.allclose(mean, groups.mean(1))
    assert torch.allclose(variance, groups.var(1, correction=0), rtol=1e-5)
    with pytest.raises(TypeError, match="is written as"):
        kept.write(0, rows.double())
    del kept
    assert Store.used == before


def test_sampled_statistics_are_near_the_exact_ones() -> None:
    model = small_official("sr", 4)
    y, x = torch.meshgrid(torch.arange(110), torch.arange(80), indexing="ij")
    image = torch.stack([(x / 7).sin(), (y / 5).cos(), ((x + y) / 9).sin()]) / 2 + 0.5
    exact = restorer_of(model, Tiling(rows=64)).restore(image)
    sampled = restorer_of(model, Tiling(rows=64, statistics="sampled")).restore(image)
    error = (sampled - exact).abs().mean()
    assert 0 < error < 0.25 * exact.std()


def test_a_sample_is_taken_from_all_over() -> None:
    rows = torch.arange(1000.0).view(1, 1, 1000, 1).expand(1, 1, 1000, 300)
    taken = squares(rows, 64)
    assert taken.shape[-1] == 64
    assert taken.min() < 150
    assert taken.max() > 850
    assert squares(rows[..., :50, :], 64).shape == (1, 1, 50, 300)


@pytest.mark.parametrize("wrong", ["4", "0", "-3", "1.5", "large"])
def test_bands_of_no_size_are_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"--tile {wrong}"):
        parse_tiling(wrong, "exact")


def test_what_tile_says_is_done() -> None:
    assert parse_tiling("off", "exact").rows_for("official", 9000, 9000) == 9000
    assert parse_tiling("64", "sampled") == Tiling(64, "sampled")
    automatic = parse_tiling("auto", "exact")
    assert automatic.rows_for("lite", 512, 512) == 512
    assert 8 <= automatic.rows_for("lite", 100_000, 100_000) < 100
    with pytest.raises(UsageError, match="--tile-stats"):
        parse_tiling("auto", "guessed")


def test_a_gpu_with_room_takes_more_at_once() -> None:
    automatic = parse_tiling("auto", "exact")
    assert automatic.rows_for("official", 4096, 4096) < 100
    assert automatic.rows_for("official", 4096, 4096, free=80 << 30) == 4096
    assert automatic.rows_for("official", 4096, 8192, free=80 << 30) == 256
    for family in ("lite", "official"):  # a small one no less than a CPU
        assert automatic.rows_for(family, 4096, 4096, free=1 << 29) == automatic.rows_for(
            family, 4096, 4096
        )


def test_padding_mirrors_and_can_be_forced() -> None:
    image = torch.arange(6.0).view(1, 1, 1, 6)
    assert pad(image, 4, always=False)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 5, 4]
    assert pad(image, 6, always=False).shape == (1, 1, 6, 6)
    assert pad(image, 6, always=True).shape == (1, 1, 6, 12)


def overflowing(value: float) -> AdaCode:
    """A network whose last convolution adds ``value``."""
    model = tiny_model()
    with torch.no_grad():
        model.get_parameter("decoder.detail.6.conv.bias").fill_(value)
    return model


def test_a_network_that_overflows_gives_an_error_and_no_picture() -> None:
    with pytest.raises(FloatingPointError, match="fp32"):
        restorer_of(overflowing(torch.inf))(torch.rand(3, 8, 8))


def test_what_overflows_in_half_precision_is_computed_again() -> None:
    model, image = overflowing(0), photo(3, 40, 16)
    with torch.no_grad():
        model.get_parameter("decoder.detail.6.conv.weight").mul_(1e7)  # beyond 65504
    exact = restorer_of(model).restore(image)
    restorer = Restorer(model, CPU, torch.float16, Tiling(rows=32))
    assert (restorer.restore(image) - exact).abs().mean() < 0.05
    assert restorer.notes == ["not finite in fp16 from row 0 on: computed in bf16"]


def test_each_step_out_of_memory_is_taken_once_and_said() -> None:
    said: list[str] = []

    def compute(way: Way, top: int) -> object:
        if way.device.type == "meta":
            while top < 64:
                if way.rows > 16 or top >= 32:
                    raise RuntimeError("can't allocate memory: you tried to allocate 9 bytes")
                yield torch.full((3, way.rows, 4), 1.0)
                top += way.rows
        while top < 64:
            yield torch.full((3, way.rows, 4), 2.0)
            top += way.rows

    way = Way(torch.device("meta"), torch.bfloat16, 64)
    rows = torch.cat(list(persevere(way, 64, compute, said.append)), dim=1)  # type: ignore[arg-type]
    assert rows[0, :, 0].tolist() == [1.0] * 32 + [2.0] * 32
    assert [line.split(":")[0] for line in said] == [
        "out of memory with bands of 64 rows",
        "out of memory with bands of 32 rows",
        "out of memory with bands of 16 rows",
        "out of memory on meta",
    ]
    with pytest.raises(MemoryError, match="even with bands of 8 rows"):
        list(persevere(replace(way, fixed=True), 64, compute, said.append))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("most", "said"),
    [(30, "; there is room for one 25 pixels wide"), (0, "; there is room for none")],
)
def test_the_last_word_on_memory_is_what_would_fit(
    most: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = Restorer(tiny_model(), CPU, torch.float32, Tiling(rows=32), fixed=True)
    compute = Restorer.rows_from

    def narrow(self: Restorer, image: Tensor, way: Way, top: int) -> Iterator[Tensor]:
        if image.shape[2] > most:
            raise RuntimeError("can't allocate memory: you tried to allocate 9 bytes")
        yield from compute(self, image, way, top)

    monkeypatch.setattr(Restorer, "rows_from", narrow)
    end = f"bands of 8 rows; try a smaller picture{said}"
    with pytest.raises(NoRoomError, match=end) as raised:
        restorer.restore(photo(3, 40, 100))
    assert "you tried to allocate 9 bytes" in str(raised.value.__cause__)


def test_a_try_that_fails_otherwise_changes_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(tiny_model(), CPU, torch.float32, Tiling(rows=8))

    def failing(_: Restorer, image: Tensor, __: Way, ___: int) -> Iterator[Tensor]:
        raise RuntimeError("out of memory" if image.shape[2] == 100 else "another trouble")
        yield

    monkeypatch.setattr(Restorer, "rows_from", failing)
    with pytest.raises(NoRoomError, match=r"bands of 8 rows; try a smaller picture$"):
        restorer.restore(photo(3, 40, 100))


def test_the_cpu_takes_as_much_at_once_as_it_would_have_by_itself() -> None:
    way: Way | None = Way(torch.device("meta"), torch.bfloat16, 4096, on_cpu=256)
    ways = []
    while way is not None and way.device.type == "meta":
        ways.append(way.rows)
        way = way.smaller()
    assert ways == [4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8]
    assert way is not None
    assert (way.device, way.precision, way.rows) == (CPU, torch.float32, 256)


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_a_network_that_a_gpu_has_no_room_for_waits_on_the_cpu(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, to, image = tiny_model(), AdaCode.to, photo(3, 40, 16)
    expected = restorer_of(tiny_model()).restore(image)

    def full(network: AdaCode, device: object) -> AdaCode:
        if torch.device(str(device)).type == "meta":
            raise RuntimeError(words)
        return to(network, device)  # type: ignore[call-overload]

    monkeypatch.setattr(AdaCode, "to", full)
    restorer = Restorer(model, torch.device("meta"), torch.bfloat16)
    assert torch.equal(restorer.restore(image), expected)
    assert restorer.notes[-1] == "out of memory on meta: computed on the cpu, which is slower"
