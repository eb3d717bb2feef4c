"""Pictures that are written by rows as they are computed, and never there as a whole."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import png
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from adacode_cli.images import write_png, write_tiff
from adacode_cli.images.formats import format_named
from adacode_cli.images.metadata import read_mark
from adacode_cli.images.picture import Metadata, Picture, PictureError, PictureInBands
from adacode_cli.images.read import read
from adacode_cli.images.write import Content, Encoding, encode, write
from adacode_cli.restore import folder as folder_module
from adacode_cli.restore.folder import FolderRun, Handling, LeftAlone, Process, Worker
from adacode_cli.restore.plan import Job
from adacode_cli.restore.result import Result, busy
from adacode_cli.restore.tiling import OnTile
from tests.conftest import environment, make_photo, tree

Base = ExifTags.Base
HEIGHTS = (1, 5, 2, 0, 11)  # of bands, again and again


def all_kinds(width: int, height: int, channels: int, depth: int) -> NDArray[Any]:
    """Rows that are flat, noisy, and smooth in every direction: a filter's case each."""
    rng = np.random.default_rng(width + channels)
    samples = rng.integers(0, 2**depth, (height, width, channels)).astype(np.int64)
    y, x = np.mgrid[:height, :width, :1][:2]
    waves = (np.sin(x / 9) + np.cos(y / 7) + 2) * 2 ** (depth - 2)
    kinds = {1: waves, 2: x * 3 % 2**depth, 3: y * 5 % 2**depth, 4: (x + y) % 7 == 0}
    for kind, values in kinds.items():
        chosen = np.arange(height) // 3 % 5 == kind
        samples[chosen] = np.broadcast_to(values, samples.shape)[chosen]
    return np.clip(samples, 0, 2**depth - 1).astype(np.uint8 if depth == 8 else np.uint16)


def bands_of(samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Uneven bands, all in the same memory."""
    memory, top, number = np.empty_like(samples[: max(HEIGHTS)]), 0, 0
    while top < len(samples):
        band = samples[top : top + HEIGHTS[number % len(HEIGHTS)]]
        memory[: len(band)] = band
        yield memory[: len(band)]
        memory[:] = 77
        top, number = top + len(band), number + 1


def in_bands(picture: Picture) -> PictureInBands:
    """The same picture, bit by bit."""
    return replace(picture.in_bands(), bands=bands_of(picture.samples))


def in_their_order(decoded: Any) -> NDArray[Any]:
    """What OpenCV read as (H, W, C), red first."""
    decoded = decoded[..., None] if decoded.ndim == 2 else decoded
    return decoded[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[decoded.shape[2]]]


@pytest.fixture(params=[1 << 9, 1 << 19], ids=["many blocks", "few blocks"])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_png, "BLOCK", request.param)
    monkeypatch.setattr(write_tiff, "BLOCK", request.param)


@pytest.mark.usefixtures("_block")
@pytest.mark.parametrize("width", [1, 7, 4097])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_every_bit_comes_back(depth: int, channels: int, width: int, tmp_path: Path) -> None:
    samples = all_kinds(width, 43, channels, depth)
    for suffix in ("png", "tif"):
        write(in_bands(Picture(samples)), tmp_path / f"a.{suffix}")
        write(Picture(samples), tmp_path / f"b.{suffix}")
        by_rows, at_once = ((tmp_path / f"{n}.{suffix}").read_bytes() for n in "ab")
        assert by_rows == at_once
    _, _, rows, info = png.Reader(bytes=(tmp_path / "a.png").read_bytes()).read()
    found = np.array(list(rows)).reshape(43, width, -1)
    assert (info["bitdepth"], info["greyscale"]) == (depth, channels < 3)
    assert np.array_equal(found, samples)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif").reshape(samples.shape), samples)
    if channels != 2:  # which OpenCV doesn't tell from RGBA
        multiplied = (depth, channels) == (8, 4)  # its alpha, in a TIFF's colours
        for name in ("a.png",) if multiplied else ("a.png", "a.tif"):
            decoded = in_their_order(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED))
            assert np.array_equal(decoded, samples)
    if depth == 8:
        for name in ("a.png", "a.tif"):
            with Image.open(tmp_path / name) as image:
                assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_every_filter_has_its_rows() -> None:
    file, samples = io.BytesIO(), all_kinds(300, 200, 3, 8)
    write_png.write_png(file, Picture(samples).in_bands(), Image.Exif())
    chunks = png.Reader(bytes=file.getvalue()).chunks()
    packed = b"".join(content for kind, content in chunks if kind == b"IDAT")
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(200, 901)
    assert set(lines[:, 0]) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("height", [3, 600])  # one strip, or several
def test_a_large_tiff_has_offsets_of_64_bits(
    *, large: bool, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(write_tiff, "LARGEST", 1000)
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.Exif)[Base.LensModel] = "a lens with a long name"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (1.0, 2.0, 3.5)
    metadata = Metadata(b"profile" * 99, exif.tobytes(), b"<x:xmpmeta/>", (300.0, 150.0))
    samples, path = all_kinds(700, height, 3, 16), tmp_path / "a.tif"
    write(in_bands(Picture(samples, metadata)), path, Encoding(mark="by me"))
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff is large
        page: Any = file.pages[0]
        assert (len(page.dataoffsets) > 1) is (height > 3)
        assert page.tags["StripOffsets"].dtype == (16 if large else 4)
        assert page.dataoffsets[-1] + page.databytecounts[-1] == path.stat().st_size
        assert np.array_equal(page.asarray(), samples)
        assert page.tags["ExifTag"].value["LensModel"] == "a lens with a long name"
        assert page.tags["GPSTag"].value["GPSLatitude"] == (1, 1, 2, 1, 7, 2)
        assert page.tags["InterColorProfile"].value == metadata.icc_profile
        assert page.tags["XMP"].value == metadata.xmp
        assert page.tags["XResolution"].value == (300, 1)
    assert read_mark(path) == "by me"
    again = read(path)
    assert np.array_equal(again.samples, samples)
    assert again.metadata.dpi == (300, 150)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "gif", "bmp", "avif", "heic", "jxl"])
def test_other_formats_gather_the_rows(suffix: str, tmp_path: Path) -> None:
    samples = np.asarray(make_photo(40, 24).convert("RGBA")).astype(np.uint16) * 257
    picture = Picture(samples, Metadata(dpi=(72, 72)))
    notes = [
        write(content, tmp_path / f"{name}.{suffix}")
        for name, content in (("whole", picture), ("bands", in_bands(picture)))
    ]
    assert notes[0] == notes[1]
    assert "reduced to 8 bits" in notes[0]
    whole, bands = (read(tmp_path / f"{name}.{suffix}") for name in ("whole", "bands"))
    assert np.array_equal(whole.samples, bands.samples)
    assert np.array_equal(in_bands(picture).gathered().samples, samples)


def drawing() -> Image.Image:
    """Flat colours and words, which repeat."""
    image = Image.new("RGB", (900, 600), "white")
    draw = ImageDraw.Draw(image)
    for y in range(0, 600, 20):
        draw.text((10, y), "The quick brown fox jumps over the lazy dog. " * 3, fill=(20, 20, 40))
    return image


def enlarged_photo() -> Image.Image:
    """What results are like."""
    with Image.open(Path(__file__).parents[1] / "docs" / "photos" / "perched-osprey.jpg") as photo:
        return photo.convert("RGB").crop((0, 0, 400, 300)).resize((1200, 900))


@pytest.mark.parametrize("make", [drawing, enlarged_photo])
def test_a_png_is_as_small_as_it_should_be(make: Callable[[], Image.Image]) -> None:
    image, ours, theirs = make(), io.BytesIO(), io.BytesIO()
    image.save(theirs, "PNG", compress_level=4)
    encode(in_bands(Picture(np.asarray(image))), ours, format_named("png"), Encoding())
    assert len(ours.getvalue()) < 1.05 * len(theirs.getvalue())


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from adacode_cli.images.picture import PictureInBands
from adacode_cli.images.write import write

def bands(height):
    for top in range(0, height, 100):
        yield np.arange(top, top + 600000).astype(np.uint8).reshape(100, 2000, 3)

def most(height):
    write(PictureInBands((2000, height), 3, 8, bands(height)), Path(sys.argv[1]))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = most(3000)
print((most(30000) - before) / 1024)
"""


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_memory_does_not_grow_with_the_height(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    words = [sys.executable, "-c", MEMORY, str(path)]
    said = subprocess.run(words, check=True, capture_output=True, text=True, env=environment())
    assert float(said.stdout) < 30  # megabytes; the samples are 180
    with Image.open(path) as image:
        assert image.size == (2000, 30000)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((9, 8, 3), "9 of its 10 rows"),
        ((11, 8, 3), "more rows"),
        ((10, 7, 3), r"row 0 is \(7, 3\)"),
    ],
)
def test_rows_that_do_not_make_the_picture(
    shape: tuple[int, ...], says: str, suffix: str, tmp_path: Path
) -> None:
    bands = bands_of(np.zeros(shape, np.uint8))
    with pytest.raises(PictureError, match=rf"a\.{suffix}: can't be written \(.*{says}"):
        write(PictureInBands((8, 10), 3, 8, bands), tmp_path / f"a.{suffix}")
    assert tree(tmp_path) == []


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_what_was_there_stays_until_the_last_row(suffix: str, tmp_path: Path) -> None:
    path, samples = tmp_path / f"a.{suffix}", all_kinds(300, 900, 3, 8)
    path.write_bytes(b"what was there")

    def watching() -> Iterator[NDArray[Any]]:
        for band in bands_of(samples):
            assert path.read_bytes() == b"what was there"
            yield band

    write(replace(Picture(samples).in_bands(), bands=watching()), path)
    assert np.array_equal(read(path).samples, samples)
    assert tree(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_full_disk_leaves_nothing_and_ends_the_computing(suffix: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (3000, 300, 3), dtype=np.uint8)
    ended = []

    def bands() -> Iterator[NDArray[Any]]:
        try:
            yield from np.split(samples, 30)
        finally:
            ended.append(True)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6 // 2, limits[1]))
    try:
        with pytest.raises(PictureError, match=rf"a\.{suffix}: can't be written \("):
            write(PictureInBands((300, 3000), 3, 8, bands()), tmp_path / f"a.{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ended == [True]
    assert tree(tmp_path) == []


def run_folder(
    folder: Path, process: Process, **handling: Any
) -> tuple[dict[str, Result], list[tuple[str, int, int]]]:
    """Every picture in ``folder`` to out/; what became of each, and the progress."""
    jobs = [Job(p, folder / "out" / f"{p.stem}.png") for p in sorted(folder.iterdir())]
    results: dict[str, Result] = {}
    tiles: list[tuple[str, int, int]] = []

    def report(result: Result) -> None:
        results[result.source.name] = result

    def on_tile(job: Job, done: int, of: int) -> None:
        tiles.append((job.source.name, done, of))

    FolderRun(jobs, [Worker(process, "cpu")], Handling(**handling), report, on_tile).run()
    return results, tiles


ERRORS = {
    "arithmetic": FloatingPointError("the network's numbers went out of range"),
    "memory": MemoryError(),
    "device": RuntimeError("CUDA out of memory"),
    "system": OSError("gone"),
    "value": ValueError("no value"),
    "alone": LeftAlone("large enough"),
}


def test_an_error_in_the_middle_is_that_pictures_own(tmp_path: Path) -> None:
    for name in (*ERRORS, "good"):
        make_photo(600, 500).save(tmp_path / f"{name}.png")

    def process(picture: Picture, on_tile: OnTile) -> PictureInBands:
        assert picture.source is not None
        name = picture.source.stem

        def bands() -> Iterator[NDArray[Any]]:
            for number, band in enumerate(bands_of(picture.samples)):
                on_tile(number, 1000)
                if number == 100 and (error := ERRORS.get(name)):
                    raise error
                yield band

        return replace(picture.in_bands(), bands=bands(), notes=("noted",))

    results, tiles = run_folder(tmp_path, process)
    assert tree(tmp_path / "out") == ["good.png"]
    good = results.pop("good.png")
    assert (good.status, good.output_size, good.notes) == ("done", (600, 500), ("noted",))
    assert ("good.png", 120, 1000) in tiles
    alone = results.pop("alone.png")
    assert (alone.status, alone.notes) == ("skipped", ("large enough",))
    for name, result in results.items():
        error = ERRORS[name.removesuffix(".png")]
        assert (result.status, result.output_size, result.cause) == ("failed", None, error)
        assert result.error == f"{tmp_path / name}: {str(error) or 'MemoryError'}"


def test_results_are_told_in_the_order_of_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcde":
        make_photo(40, 30).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    written = []

    def slow(content: Content, path: Path, encoding: Encoding, *, replace: bool) -> tuple[str, ...]:
        time.sleep(0.5 if path.stem == "a" else 0)
        written.append(path.stem)
        return write(content, path, encoding, replace=replace)

    monkeypatch.setattr(folder_module, "write", slow)
    results, _ = run_folder(tmp_path, lambda picture, _: picture)
    assert written[0] == "b"  # ready before "a", and yet
    assert [result.source.stem for result in results.values()] == list("abcde")
    assert results["c.png"].status == "failed"


def test_computing_and_writing_overlap_and_count_once(tmp_path: Path) -> None:
    make_photo(60, 50).save(tmp_path / "a.png")
    results, _ = run_folder(tmp_path, lambda picture, _: in_bands(picture))
    spans = results["a.png"].timeline
    assert spans["compute"][0] <= spans["write"][0] < spans["compute"][1] <= spans["write"][1]
    assert results["a.png"].seconds == busy(spans.values())
    assert busy([(3, 5), (0, 1), (4, 4.5), (4.5, 7)]) == 5


@pytest.mark.parametrize("color_lock", [False, True])
def test_bands_make_the_same_files(*, color_lock: bool, tmp_path: Path) -> None:
    for name in ("whole", "bands"):
        (tmp_path / name).mkdir()
        make_photo(40, 30).convert("RGBA").save(tmp_path / name / "a.png")
        frames = [make_photo(24, 16, seed) for seed in range(3)]
        moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
        frames[0].save(tmp_path / name / "b.gif", duration=100, **moving)
    darker: dict[str, Process] = {
        "whole": lambda picture, _: replace(picture, samples=picture.samples // 2),
        "bands": lambda picture, _: in_bands(replace(picture, samples=picture.samples // 2)),
    }
    for name, process in darker.items():
        results, _ = run_folder(tmp_path / name, process, color_lock=color_lock)
        assert {result.status for result in results.values()} == {"done"}
    for name in ("a.png", "b.png"):
        whole, bands = (tmp_path / kind / "out" / name for kind in darker)
        assert whole.read_bytes() == bands.read_bytes()


STREAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from adacode_cli.images import write
from adacode_cli.images.formats import format_named
from adacode_cli.images.picture import PictureInBands
from adacode_cli.restore.folder import FolderRun, Handling, Worker
from adacode_cli.restore.plan import Job

how, form, source, output = sys.argv[1:]
write.IN_MEMORY = 0 if how == "on disk" else write.IN_MEMORY

def process(picture, on_tile):
    def bands():
        for number in range(300):
            if how == "failing" and number == 200:
                raise FloatingPointError("out of range")
            if how == "interrupted" and number == 200:
                os.kill(os.getpid(), signal.SIGINT)
            yield np.full((10, 500, 3), number % 256, np.uint8)
    return PictureInBands((500, 3000), 3, 8, bands())

def report(result):
    print(result.status, result.error, file=sys.stderr)

jobs = [Job(Path(source), Path(output))]
handling = Handling(stream_format=format_named(form))
FolderRun(jobs, [Worker(process, "cpu")], handling, report, lambda *_: None).run()
"""


def run_script(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    make_photo(8, 8).save(tmp_path / "in.png")
    command = [sys.executable, "-c", STREAM, words[0], words[1], str(tmp_path / "in.png"), words[2]]
    return subprocess.run(command, check=False, capture_output=True, env=environment())


@pytest.mark.parametrize("how", ["in memory", "on disk"])
@pytest.mark.parametrize("form", ["png", "tif", "webp"])
def test_standard_output(how: str, form: str, tmp_path: Path) -> None:
    done = run_script(tmp_path, how, form, "-")
    assert done.stderr == b"done None\n"
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (500, 3000)
        assert image.convert("RGB").getpixel((0, 2559)) == (255, 255, 255)


@pytest.mark.parametrize("form", ["png", "tif"])
def test_a_stream_that_fails_has_no_byte(form: str, tmp_path: Path) -> None:
    done = run_script(tmp_path, "failing", form, "-")
    assert done.stdout == b""
    assert done.stderr == f"failed {tmp_path / 'in.png'}: out of range\n".encode()


@pytest.mark.parametrize("form", ["png", "tif"])
def test_an_interrupt_leaves_nothing_unfinished(form: str, tmp_path: Path) -> None:
    done = run_script(tmp_path, "interrupted", form, str(tmp_path / "out" / f"a.{form}"))
    assert b"KeyboardInterrupt" in done.stderr
    assert tree(tmp_path / "out") == []
