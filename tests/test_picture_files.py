"""What the files hold: depth, channels, profile, EXIF, XMP and frames, read by other libraries."""

from __future__ import annotations

import functools
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import png
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from adacode_cli.errors import UsageError
from adacode_cli.images.colour import lock_colour
from adacode_cli.images.formats import format_named
from adacode_cli.images.metadata import read_mark
from adacode_cli.images.picture import Animation, Picture, PictureError, to_samples
from adacode_cli.images.read import decode, read
from adacode_cli.images.read_deep import Silence
from adacode_cli.images.unfinished import remove_unfinished
from adacode_cli.images.write import Encoding, write
from adacode_cli.restore.picture import restore_picture
from adacode_cli.restore.restorer import Restorer
from tests.conftest import make_photo

Base = ExifTags.Base
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" note="kept"/></x:xmpmeta>'


def deep_samples(channels: int, seed: int = 0) -> NDArray[np.uint16]:
    """Random 16 bits: every bit must survive."""
    return np.random.default_rng(seed).integers(0, 65536, (13, 17, channels), dtype=np.uint16)


def png_samples(path: Path) -> NDArray[Any]:
    """(H, W, C) by pypng."""
    width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
    return np.array(list(rows)).reshape(height, width, info["planes"])


@functools.cache  # it holds the second in which it was made
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_survive_as_png_and_tiff(channels: int, tmp_path: Path) -> None:
    samples = deep_samples(channels)
    with (tmp_path / "in.png").open("wb") as file:
        writer = png.Writer(17, 13, greyscale=channels < 3, alpha=channels % 2 == 0, bitdepth=16)
        writer.write(file, samples.reshape(13, -1).tolist())
    picture = read(tmp_path / "in.png")
    assert (picture.depth, picture.gray) == (16, channels < 3)
    assert np.array_equal(picture.samples, samples)
    assert write(picture, tmp_path / "out.png") == ()
    assert np.array_equal(png_samples(tmp_path / "out.png"), samples)
    write(picture, tmp_path / "out.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif").reshape(13, 17, -1), samples)
    assert np.array_equal(read(tmp_path / "out.tif").samples, samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_pixels_by_way_of_floats_are_the_same(channels: int, depth: int) -> None:
    samples = deep_samples(channels) if depth == 16 else deep_samples(channels).astype(np.uint8)
    picture = Picture(samples)
    assert np.array_equal(picture.with_pixels(picture.rgb, picture.alpha).samples, samples)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_deep_tiffs_of_others(compression: str | None, orientation: int, tmp_path: Path) -> None:
    samples, path = deep_samples(3), tmp_path / "in.tif"
    if compression == "lzw":  # which tifffile leaves to a package we don't need
        samples = samples[..., :1]
        tags = {int(Base.Orientation): orientation}
        Image.fromarray(samples[..., 0]).save(path, compression="tiff_lzw", tiffinfo=tags)
    else:
        tag = (int(Base.Orientation), "H", 1, orientation, True)
        tifffile.imwrite(path, samples, photometric="rgb", compression=compression, extratags=[tag])
    turned = {1: samples, 3: samples[::-1, ::-1], 6: np.rot90(samples, -1)}[orientation]
    picture = read(path)
    assert np.array_equal(picture.samples, turned)
    assert picture.depth == 16


def test_alpha_that_is_multiplied_in_is_divided_out(tmp_path: Path) -> None:
    plain = deep_samples(4)
    plain[..., 3] = np.maximum(plain[..., 3], 20000)
    share = plain[..., 3:] / 65535
    stored = np.concatenate([np.rint(plain[..., :3] * share).astype(np.uint16), plain[..., 3:]], 2)
    for kind in ("assocalpha", "unspecified"):
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, stored, photometric="rgb", extrasamples=[kind])
    found = read(tmp_path / "assocalpha.tif").samples
    assert np.abs(found.astype(int) - plain).max() <= 2
    assert np.array_equal(read(tmp_path / "unspecified.tif").samples, stored[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int, tmp_path: Path) -> None:
    photo = make_photo(12, 7)
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    photo.save(tmp_path / "in.png", exif=exif)
    flips: dict[int, Any] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    assert np.array_equal(read(tmp_path / "in.png").samples, flips[orientation](np.asarray(photo)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif", "heic", "jxl"])
@pytest.mark.parametrize("depth", [8, 16])
def test_metadata_is_kept_and_true(suffix: str, depth: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Orientation] = "Camera", 6
    exif.get_ifd(ExifTags.IFD.Exif)[Base.ExifImageWidth] = 40
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    make_photo(40, 24).save(
        tmp_path / "in.jpg", exif=exif, xmp=XMP, dpi=(300, 300), icc_profile=srgb_profile()
    )
    picture = read(tmp_path / "in.jpg")
    if depth == 16:
        picture = Picture(picture.samples.astype(np.uint16) * 257, picture.metadata)
    out = tmp_path / f"out.{suffix}"
    write(picture, out, Encoding(mark="a b"))
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if suffix == "jxl":
        pytest.importorskip("pillow_jxl")
    with Image.open(out) as image:
        found = image.getexif()
        assert image.size == (24, 40)
        assert found[Base.Make] == "Camera"
        assert found.get(Base.Orientation, 1) == 1
        assert found[Base.ProcessingSoftware].rstrip("\0") == "adacode a b"
        assert found.get_ifd(ExifTags.IFD.Exif)[Base.ExifImageWidth] == 24
        assert found.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        dpi = image.info.get("dpi") or (found[Base.XResolution], found[Base.YResolution])
        assert [float(n) for n in dpi] == pytest.approx([300, 300], rel=1e-3)
        if suffix != "jxl":  # sRGB; and its plug-in doesn't read XMP
            assert image.info["icc_profile"] == srgb_profile()
            xmp = image.info["xmp"]
            assert b'note="kept"' in xmp
            assert b'tiff:Orientation="1"' in xmp
    write(picture, out, Encoding(strip_metadata=True))
    with Image.open(out) as image:
        assert Base.Make not in image.getexif()
        assert not image.info.get("xmp")
        assert ("icc_profile" in image.info) or suffix == "jxl"


def test_a_preview_of_the_unrestored_photo_is_dropped(tmp_path: Path) -> None:
    preview = io.BytesIO()
    make_photo(16, 16).save(preview, "JPEG")
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    ifd = exif.get_ifd(ExifTags.IFD.IFD1)
    ifd[Base.JpegIFOffset], ifd[Base.JpegIFByteCount] = 0, len(preview.getvalue())
    make_photo(16, 16).save(tmp_path / "in.jpg", exif=exif)
    write(read(tmp_path / "in.jpg"), tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as out:
        assert out.getexif()[Base.Make] == "Camera"
        assert not out.getexif().get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_every_frame_with_its_time(suffix: str, tmp_path: Path) -> None:
    frames = [make_photo(24, 16, seed).quantize(16).convert("RGB") for seed in range(3)]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(
        tmp_path / f"in.{suffix}",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 200, 300],
        loop=3,
        **options,
    )
    found = decode((tmp_path / f"in.{suffix}").read_bytes(), f"in.{suffix}")
    assert isinstance(found, Animation)
    assert found.durations == (100, 200, 300)
    for other in ("png", "webp", "gif"):
        write(found, tmp_path / f"out.{other}", Encoding(lossless=other == "webp"))
        with Image.open(tmp_path / f"out.{other}") as out:
            times = []
            for number, frame in enumerate(frames):
                out.seek(number)
                out.load()
                times.append(out.info["duration"])
                assert np.array_equal(np.asarray(out.convert("RGB")), np.asarray(frame))
            assert getattr(out, "n_frames", 1) == 3
            assert times == [100, 200, 300]
            shown = 4 if suffix == "gif" else 3
            assert out.info["loop"] == (shown - 1 if other == "gif" else shown)
    assert write(found, tmp_path / "out.jpg") == ("only its first frame is kept: JPEG has one",)


def test_a_moving_cut_out_stays_transparent(tmp_path: Path) -> None:
    frames = []
    for x in (0, 8):
        frame = Image.new("RGBA", (24, 16), (0, 0, 0, 0))
        frame.paste((200, 30, 40, 255), (x, 4, x + 8, 12))
        frames.append(frame)
    frames[0].save(
        tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=50, disposal=2
    )
    found = decode((tmp_path / "in.gif").read_bytes(), "in.gif")
    for suffix in ("gif", "png", "webp"):
        write(found, tmp_path / f"out.{suffix}", Encoding(lossless=suffix == "webp"))
        with Image.open(tmp_path / f"out.{suffix}") as out:
            for number, frame in enumerate(frames):
                out.seek(number)
                shown = np.asarray(out.convert("RGBA"))
                assert np.array_equal(shown[..., 3], np.asarray(frame)[..., 3])


def test_pages_of_a_tiff_stay_pages(tmp_path: Path) -> None:
    pages = [make_photo(12, 8), make_photo(20, 10, 1)]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    found = decode((tmp_path / "in.tif").read_bytes(), "in.tif")
    write(found, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert len(file.pages) == 2
    with Image.open(tmp_path / "out.tif") as out:
        out.seek(1)
        assert np.array_equal(np.asarray(out), np.asarray(pages[1]))


def test_ten_bits_of_avif_and_heic_are_kept(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1024, (16, 16, 3)).astype(np.uint16)
    options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100]
    assert cv2.imwrite(str(tmp_path / "in.avif"), values, options)
    again: Any = cv2.imread(str(tmp_path / "in.avif"), cv2.IMREAD_UNCHANGED)
    picture = read(tmp_path / "in.avif")
    assert picture.depth == 16
    assert np.abs(picture.samples / 65535 - again[..., ::-1] / 1023).max() < 1 / 30000
    pillow_heif = pytest.importorskip("pillow_heif")
    deep = pillow_heif.from_bytes("RGB;16", (16, 16), (values * 64).tobytes())
    deep.save(str(tmp_path / "in.heic"), quality=-1, chroma=444)
    picture = read(tmp_path / "in.heic")
    assert picture.depth == 16
    assert np.abs(picture.samples.astype(int) - values * 64).mean() < 256


def test_gray_avif_and_gray_palettes_are_gray(tmp_path: Path) -> None:
    gray = make_photo(16, 16).convert("L")
    gray.save(tmp_path / "a.avif", quality=100)
    gray.save(tmp_path / "b.gif")
    gray.convert("P").save(tmp_path / "c.png")
    for name in ("a.avif", "b.gif", "c.png"):
        picture = read(tmp_path / name)
        assert picture.gray, name
        assert np.abs(picture.samples[..., 0].astype(int) - np.asarray(gray)).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "heic", "jxl", "bmp"])
def test_lossless_is_lossless(suffix: str, tmp_path: Path) -> None:
    photo = make_photo(40, 24)
    picture = Picture(np.asarray(photo))
    write(picture, tmp_path / f"out.{suffix}", Encoding(lossless=True))
    assert np.array_equal(read(tmp_path / f"out.{suffix}").samples, picture.samples)


def test_opencv_is_silent_while_any_thread_decodes() -> None:
    before = cv2.utils.logging.getLogLevel()
    silent = cv2.utils.logging.LOG_LEVEL_SILENT
    with Silence():
        with Silence():
            pass
        assert cv2.utils.logging.getLogLevel() == silent
    assert cv2.utils.logging.getLogLevel() == before


def test_quality_changes_the_size(tmp_path: Path) -> None:
    picture = Picture(np.asarray(make_photo(96, 80)))
    for suffix in ("jpg", "webp", "avif", "heic", "jxl"):
        sizes = []
        for quality in (20, 90):
            write(picture, tmp_path / f"out.{suffix}", Encoding(quality=quality))
            sizes.append((tmp_path / f"out.{suffix}").stat().st_size)
        assert sizes[0] < sizes[1]


def test_wishes_that_a_format_cannot_grant() -> None:
    for encoding, suffix in (
        (Encoding(lossless=True), "jpg"),
        (Encoding(quality=0), "jpg"),
        (Encoding(quality=50, lossless=True), "webp"),
    ):
        with pytest.raises(UsageError):
            encoding.options(format_named(suffix))
    with pytest.raises(UsageError, match="png"):
        format_named("docx")


def test_a_wide_gamut_stays_in_its_profile_or_becomes_srgb(tmp_path: Path) -> None:
    # A profile with red and blue exchanged: whoever ignores it shows the wrong colour.
    source = Path(__file__).parent / "data" / "swapped.icc"
    profile = source.read_bytes()
    image = Image.new("RGB", (8, 8), (200, 40, 20))
    image.save(tmp_path / "in.png", icc_profile=profile)
    write(read(tmp_path / "in.png"), tmp_path / "kept.webp")
    with Image.open(tmp_path / "kept.webp") as out:
        assert out.info["icc_profile"] == profile
    (note,) = write(read(tmp_path / "in.png"), tmp_path / "srgb.bmp")
    assert "sRGB" in note
    with Image.open(tmp_path / "srgb.bmp") as out:
        red, _, blue = out.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
        assert blue > red


def test_colour_lock_keeps_detail_and_takes_the_drift_back() -> None:
    photo = np.asarray(make_photo(64, 48), np.float32).transpose(2, 0, 1) / 255
    original = np.clip(photo * 0.6 + 0.2, 0, 1).astype(np.float32)
    large = original.repeat(4, axis=1).repeat(4, axis=2)
    drifted = large + np.array([0.08, -0.05, 0.03], np.float32)[:, None, None]
    locked = lock_colour(drifted, original)
    assert np.abs(locked - large).mean() < 0.002
    assert np.allclose(lock_colour(large, original), large, atol=1e-5)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "large.png")
    with pytest.raises(PictureError, match=r"--max-pixels 1M"):
        read(tmp_path / "large.png", max_pixels=50_000)
    assert read(tmp_path / "large.png", max_pixels=60_000).size == (300, 200)
    frames = [Image.new("RGB", (100, 100), (n, 0, 0)) for n in range(10)]
    frames[0].save(tmp_path / "many.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="megapixels"):
        read(tmp_path / "many.gif", max_pixels=50_000)


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pillow_heif'] = sys.modules['pillow_jxl'] = None\n"
        "from pathlib import Path\n"
        "from adacode_cli.images.picture import PictureError\n"
        "from adacode_cli.images.read import read\n"
        "try: read(Path(sys.argv[1]))\n"
        "except PictureError as error: print(error)\n"
    )
    picture = Picture(np.asarray(make_photo(16, 16)))
    for suffix in ("heic", "jxl"):
        write(picture, tmp_path / f"in.{suffix}")
        words = [sys.executable, "-c", code, str(tmp_path / f"in.{suffix}")]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert "pip install 'adacode[formats]'" in said
        disguised = (tmp_path / f"in.{suffix}").rename(tmp_path / f"{suffix}.jpg")
        assert read(disguised).size == (16, 16)


def test_the_largest_value_is_white_at_every_depth() -> None:
    white = np.ones((1, 3, 3), np.float32)
    assert to_samples([white], 8).max() == 255
    assert to_samples([2 * white], 16).max() == 65535
    assert to_samples([-white], 16).max() == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_deep_tiff_knows_how_it_was_made(channels: int, tmp_path: Path) -> None:
    write(Picture(deep_samples(channels)), tmp_path / "a.tif", Encoding(mark="by me"))
    assert read_mark(tmp_path / "a.tif") == "by me"
    write(Picture(deep_samples(channels)), tmp_path / "a.tif")
    assert read_mark(tmp_path / "a.tif") is None


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from adacode_cli.images.unfinished import unfinished\n"
        "with unfinished(Path(sys.argv[1])) as (file, finish):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out.png")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_cut_out_has_no_fringe() -> None:
    # A light disc; what the file hides under full transparency is black.
    y, x = np.mgrid[:48, :48]
    inside = (x - 23.5) ** 2 + (y - 23.5) ** 2 < 18**2
    samples = np.zeros((48, 48, 4), np.uint8)
    samples[inside] = (230, 200, 180, 255)
    restorer = Restorer.load("lite-x4", "cpu", "fp32")
    restored = restore_picture(restorer, Picture(samples))
    rgb, alpha = restored.rgb, restored.alpha
    assert alpha is not None
    edge = (alpha > 0.05) & (alpha < 0.95)
    assert edge.sum() > 100
    darkest = np.array([230, 200, 180])[:, None] / 255 - rgb[:, edge]
    assert darkest.max() < 0.1
    assert alpha[80:110, 80:110].min() > 0.97
    assert alpha[:16, :16].max() < 0.03
