"""Files that few programs write: pages of several sizes, floats, colours told by numbers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image

from adacode_cli.images.metadata import read_mark
from adacode_cli.images.picture import Animation, PictureError
from adacode_cli.images.read import decode, read
from adacode_cli.images.write import Encoding, write
from tests.conftest import make_photo

GAMMA, CODE_POINTS = struct.pack(">I", 100000), bytes((12, 13, 0, 1))


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with more chunks after its header."""
    added = b"".join(
        struct.pack(">I", len(content)) + kind + content + crc(kind + content)
        for kind, content in chunks
    )
    return png[:33] + added + png[33:]


def crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def chunks_of(path: Path) -> dict[bytes, bytes]:
    """A PNG's chunks before the pixels, by a reader of the test's own."""
    data, place, found = path.read_bytes(), 8, {}
    while (kind := data[place + 4 : place + 8]) != b"IDAT":
        (length,) = struct.unpack(">I", data[place : place + 4])
        found[kind] = data[place + 8 : place + 8 + length]
        place += 12 + length
    return found


def paged(path: Path) -> list[Image.Image]:
    """A TIFF of three pages of several sizes and kinds, with EXIF and GPS."""
    pages = [make_photo(12, 8), make_photo(20, 10, 1), make_photo(9, 16, 2).convert("L")]
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ansel"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "a lens"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    kept: dict[str, Any] = {"exif": exif.tobytes(), "dpi": (300, 300)}
    pages[0].save(path, save_all=True, append_images=pages[1:], **kept)
    return pages


def test_pages_of_several_sizes_are_marked_and_keep_exif(tmp_path: Path) -> None:
    pages = paged(tmp_path / "in.tif")
    found = decode((tmp_path / "in.tif").read_bytes(), "in.tif")
    assert write(found, tmp_path / "out.tif", Encoding(mark="sr 1")) == ()
    assert read_mark(tmp_path / "out.tif") == "sr 1"
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        first: Any = file.pages[0]
        assert first.tags["Artist"].value == "Ansel"
        assert first.tags["ExifTag"].value["LensModel"] == "a lens"
        assert first.tags["GPSTag"].value["GPSLatitudeRef"] == "N"
        assert first.tags["XResolution"].value == (300, 1)
        for page, original in zip(file.pages, pages, strict=True):
            assert np.array_equal(page.asarray(), np.asarray(original))
    with Image.open(tmp_path / "out.tif") as out:
        for number, original in enumerate(pages):
            out.seek(number)
            assert np.array_equal(np.asarray(out), np.asarray(original))


def test_the_largest_results_are_known_again(tmp_path: Path) -> None:
    # Of more pixels than Pillow opens by itself: as a header says, and nobody reads the rest.
    make_photo(16, 12).save(tmp_path / "in.png")
    write(read(tmp_path / "in.png"), tmp_path / "out.png", Encoding(mark="sr 1"))
    data = (tmp_path / "out.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 30000, 20000) + data[24:29]
    (tmp_path / "out.png").write_bytes(data[:12] + header + crc(header) + data[33:])
    assert read_mark(tmp_path / "out.png") == "sr 1"


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "avif", "jpg"])
def test_only_a_tiff_holds_pages(suffix: str, tmp_path: Path) -> None:
    paged(tmp_path / "in.tif")
    found = decode((tmp_path / "in.tif").read_bytes(), "in.tif")
    notes = write(found, tmp_path / f"out.{suffix}")
    assert any("only its first page" in note and "--format tif" in note for note in notes)
    with Image.open(tmp_path / f"out.{suffix}") as out:
        assert (out.size, getattr(out, "n_frames", 1)) == ((12, 8), 1)


def test_frames_become_pages(tmp_path: Path) -> None:
    frames = [make_photo(16, 12, seed) for seed in range(3)]
    frames[0].save(tmp_path / "in.png", save_all=True, append_images=frames[1:], duration=40)
    found = decode((tmp_path / "in.png").read_bytes(), "in.png")
    assert isinstance(found, Animation)
    write(found, tmp_path / "out.tif", Encoding(mark="sr 1"))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        for page, frame in zip(file.pages, frames, strict=True):
            assert np.array_equal(page.asarray(), np.asarray(frame))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint32", "uint64"])
def test_every_depth_has_the_same_tones(kind: str, tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 24 * 16 * 3).round().reshape(16, 24, 3)
    white = 65535 if kind.startswith("f") else 1
    samples = levels.astype(kind if white == 1 else np.float64) / white
    if white == 1:
        samples = levels.astype(kind) * (np.iinfo(kind).max // 65535)
    tifffile.imwrite(tmp_path / "in.tif", samples.astype(kind), photometric="rgb")
    picture = read(tmp_path / "in.tif")
    assert picture.depth == 16
    assert np.abs(picture.samples - levels).max() <= (32 if kind == "float16" else 0)
    assert not picture.notes


def test_light_beyond_white_is_cut_off_and_said(tmp_path: Path) -> None:
    bright = np.full((16, 24, 3), 3, np.float32)
    tifffile.imwrite(tmp_path / "in.tif", bright, photometric="rgb")
    picture = read(tmp_path / "in.tif")
    assert picture.samples.min() == 65535
    assert any("cut off" in note for note in picture.notes)


def test_deep_gray_whose_zero_is_white(tmp_path: Path) -> None:
    deep: NDArray[np.uint16] = np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 170
    tifffile.imwrite(tmp_path / "in.tif", 65535 - deep, photometric="miniswhite")
    assert np.array_equal(read(tmp_path / "in.tif").samples[..., 0], deep)
    tifffile.imwrite(tmp_path / "cmyk.tif", np.zeros((8, 8, 4), np.uint32), photometric=5)
    with pytest.raises(PictureError, match="SEPARATED: only gray and RGB"):
        read(tmp_path / "cmyk.tif")


@pytest.mark.parametrize("moving", [False, True])
def test_what_a_png_says_of_its_colours_stays_with_it(*, moving: bool, tmp_path: Path) -> None:
    photo = make_photo(16, 12)
    photo.save(tmp_path / "plain.png", save_all=moving, append_images=[make_photo(16, 12, 1)])
    chunks = (b"gAMA", GAMMA), (b"cICP", CODE_POINTS)
    (tmp_path / "in.png").write_bytes(with_chunks((tmp_path / "plain.png").read_bytes(), *chunks))
    found = decode((tmp_path / "in.png").read_bytes(), "in.png")
    assert isinstance(found, Animation) is moving
    for encoding in (Encoding(), Encoding(strip_metadata=True)):
        assert write(found, tmp_path / "out.png", encoding) == ()
        kept = chunks_of(tmp_path / "out.png")
        assert (kept[b"gAMA"], kept[b"cICP"]) == (GAMMA, CODE_POINTS)
    (note,) = write(found, tmp_path / "out.webp")
    assert "cICP and gAMA" in note


def test_a_profile_overrules_gamma_and_plain_srgb_needs_no_word(tmp_path: Path) -> None:
    make_photo(16, 12).save(tmp_path / "plain.png")
    plain = (tmp_path / "plain.png").read_bytes()
    srgb = (b"gAMA", struct.pack(">I", 45455))
    (tmp_path / "a.png").write_bytes(with_chunks(plain, srgb))
    assert write(read(tmp_path / "a.png"), tmp_path / "a.jpg") == ()
    (tmp_path / "b.png").write_bytes(with_chunks(plain, (b"sRGB", b"\0"), (b"gAMA", GAMMA)))
    assert read(tmp_path / "b.png").metadata.png_colour is None
    (tmp_path / "c.png").write_bytes(with_chunks(plain, (b"cICP", b"short")))
    assert read(tmp_path / "c.png").metadata.png_colour is None


def test_a_tiff_without_a_resolution_gets_none(tmp_path: Path) -> None:
    make_photo(16, 12).save(tmp_path / "in.tif")
    tifffile.imwrite(tmp_path / "unit.tif", np.zeros((12, 16, 3), np.uint8), photometric="rgb")
    for name in ("in.tif", "unit.tif"):  # no tags; and one to one, without a unit
        picture = read(tmp_path / name)
        assert picture.metadata.dpi is None
        write(picture, tmp_path / "out.png")
        assert b"pHYs" not in chunks_of(tmp_path / "out.png")


@pytest.mark.parametrize("suffix", ["bmp", "gif"])
def test_lost_exif_is_said(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ansel"
    make_photo(16, 12).save(tmp_path / "in.jpg", exif=exif)
    notes = write(read(tmp_path / "in.jpg"), tmp_path / f"out.{suffix}", Encoding(mark="sr 1"))
    assert any("EXIF can't be kept" in note for note in notes)
    stripped = Encoding(mark="sr 1", strip_metadata=True)
    assert write(read(tmp_path / "in.jpg"), tmp_path / f"out.{suffix}", stripped) == ()
