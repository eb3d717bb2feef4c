"""What goes in comes out: orientation, transparency, gray, profile and metadata."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from adacode_cli.errors import UsageError
from adacode_cli.images import mark as mark_of_results
from adacode_cli.images.alpha import fill_transparent
from adacode_cli.images.mark import hash_of, with_source
from adacode_cli.images.naming import Choice, find
from adacode_cli.images.outputs import name_outputs
from adacode_cli.images.picture import PictureError
from adacode_cli.images.read import read, read_size
from adacode_cli.images.write import Encoding, write
from tests.conftest import make_photo


def test_orientation_is_applied_and_reset(tmp_path: Path) -> None:
    photo, exif = make_photo(40, 24), Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "Camera"
    photo.save(tmp_path / "turned.png", exif=exif)
    picture = read(tmp_path / "turned.png")
    write(picture, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as out:
        assert out.tobytes() == photo.transpose(Image.Transpose.ROTATE_270).tobytes()
        assert out.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert out.getexif()[ExifTags.Base.Make] == "Camera"


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_pixels_and_channels_survive(mode: str, tmp_path: Path) -> None:
    photo = make_photo(31, 17).convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.convert(mode).save(tmp_path / "in.png")
    write(read(tmp_path / "in.png"), tmp_path / "out.png")
    expected = {"P": "RGBA", "1": "L"}.get(mode, mode)
    with Image.open(tmp_path / "in.png") as source, Image.open(tmp_path / "out.png") as out:
        assert out.mode == expected
        assert out.tobytes() == source.convert(expected).tobytes()


def test_what_is_lost_of_a_file_is_said(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert read(tmp_path / "deep.png").notes == ()
    assert write(read(tmp_path / "deep.png"), tmp_path / "out.jpg") == ("reduced to 8 bits",)
    frames = [make_photo(8, 8, seed) for seed in range(2)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read(tmp_path / "moving.gif").notes == ("only its first frame is read",)
    make_photo(8, 8).convert("CMYK").save(tmp_path / "print.jpg")
    said = ("converted from CMYK to sRGB through no profile",)
    assert read(tmp_path / "print.jpg").notes == said


def test_palette_transparency_becomes_alpha(tmp_path: Path) -> None:
    make_photo(16, 16).convert("P").save(tmp_path / "p.png", transparency=3)
    picture = read(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as source:
        expected = np.asarray(source.convert("RGBA").getchannel("A")) / 255
    assert picture.alpha is not None
    assert np.allclose(picture.alpha, expected)


def test_profile_and_resolution_are_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    make_photo(16, 16).save(tmp_path / "in.jpg", icc_profile=profile, dpi=(300, 300))
    write(read(tmp_path / "in.jpg"), tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as out:
        assert out.info["icc_profile"] == profile
        assert out.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


def test_transparency_that_a_format_lacks_shows_white(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    write(read(tmp_path / "clear.png"), tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as out:
        assert np.asarray(out).min() > 250


def test_hidden_colours_come_from_the_nearest_visible_pixel() -> None:
    rgb = np.zeros((3, 8, 8), np.float32)
    alpha = np.zeros((8, 8), np.float32)
    rgb[:, :, :2], alpha[:, :2] = 0.25, 1
    rgb[:, :, 6:], alpha[:, 6:] = 0.75, 0.5
    filled = fill_transparent(rgb, alpha)
    assert np.allclose(filled[:, :, :4], 0.25)
    assert np.allclose(filled[:, :, 4:], 0.75)


def test_damaged_metadata_costs_no_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    make_photo(16, 16).save(tmp_path / "good.jpg", exif=exif)
    good = (tmp_path / "good.jpg").read_bytes()
    start = good.index(b"Exif")
    rng = np.random.default_rng(0)
    for number in range(200):
        damaged = bytearray(good)
        for place in rng.integers(start + 6, start + 40, 3):
            damaged[place] = rng.integers(256)
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(damaged)
        assert read(path).size == (16, 16)


def test_a_wrong_profile_costs_no_picture(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    make_photo(16, 16).convert("CMYK").save(tmp_path / "print.jpg", icc_profile=srgb)
    (note,) = read(tmp_path / "print.jpg").notes
    assert "from CMYK to sRGB" in note


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"not a picture", "not a picture in a format"),
        (b"\x89PNG\r\n\x1a\n broken", ""),
    ],
)
def test_what_is_no_picture_is_one_clear_error(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    for look in (read, read_size):
        with pytest.raises(PictureError, match=rf"bad\.png: .*{says}"):
            look(path)


def test_a_truncated_photo_is_an_error(tmp_path: Path) -> None:
    make_photo(200, 200).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:3000])
    with pytest.raises(PictureError, match="broken"):
        read(tmp_path / "cut.jpg")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    make_photo(16, 16).save(tmp_path / "in.png")
    (tmp_path / "out.png").mkdir()
    with pytest.raises(PictureError, match="can't be written"):
        write(read(tmp_path / "in.png"), tmp_path / "out.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_inputs_that_differ_by_extension_keep_both_results(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        make_photo(8, 8).save(tmp_path / name)
    names = name_outputs(find([tmp_path]), tmp_path / "out", "_x4")
    assert sorted(p.name for p in names.values()) == ["a_jpg_x4.png", "a_png_x4.png", "b_x4.png"]


def names_of(folder: Path, out: Path | None) -> list[str]:
    names = name_outputs(find([folder], Choice(recursive=True)), out, "_x4")
    return [path.relative_to(out or folder).as_posix() for path in names.values()]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("out", ["out", None])
def test_names_differ_on_file_systems_that_see_no_case(out: str | None, tmp_path: Path) -> None:
    touch(tmp_path / "in", "A.JPG", "a.jpg", "b.PNG", "\u00e9.png", "e\u0301.png", "c.png")
    found = names_of(tmp_path / "in", tmp_path / out if out else None)
    names = ["A_JPG_x4.png", "a_jpg-2_x4.png", "b_x4.png", "c_x4.png"]
    assert found == [*names, "e\u0301_png_x4.png", "\u00e9_png-2_x4.png"]


def test_folders_that_differ_by_case_keep_both_results(tmp_path: Path) -> None:
    touch(tmp_path / "in", "A/x.png", "a/x.png")
    there = names_of(tmp_path / "in", tmp_path / "out")
    assert there == ["A/x_png_x4.png", "a/x_png-2_x4.png"]
    assert names_of(tmp_path / "in", None) == ["A/x_x4.png", "a/x_x4.png"]


def test_a_name_that_is_taken_has_a_number(tmp_path: Path) -> None:
    touch(tmp_path / "in", "A.JPG", "a.jpg", "a.png", "a_jpg.png", "a_jpg-2.png")
    assert names_of(tmp_path / "in", tmp_path / "out") == [
        "A_JPG-3_x4.png",
        "a_jpg-4_x4.png",
        "a_png_x4.png",
        "a_jpg-2_x4.png",
        "a_jpg_x4.png",
    ]


def test_a_result_keeps_its_name_when_a_namesake_arrives(tmp_path: Path) -> None:
    make_photo(8, 8).save(tmp_path / "p.jpg")
    mark = with_source("1 sr 2", hash_of((tmp_path / "p.jpg").read_bytes()))
    write(read(tmp_path / "p.jpg"), tmp_path / "out" / "p_x4.png", Encoding(mark=mark))
    make_photo(8, 8, 1).save(tmp_path / "p.png")
    found = find([tmp_path])
    names = name_outputs(found, tmp_path / "out", "_x4")
    assert [p.name for p in names.values()] == ["p_x4.png", "p_png_x4.png"]
    make_photo(8, 8, 2).save(tmp_path / "p.jpg")
    names = name_outputs(found, tmp_path / "out", "_x4")
    assert [p.name for p in names.values()] == ["p_jpg_x4.png", "p_png_x4.png"]


def test_a_result_keeps_its_number_when_a_namesake_arrives(tmp_path: Path) -> None:
    make_photo(8, 8).save(tmp_path / "p.png")
    mark = with_source("1 sr 2", hash_of((tmp_path / "p.png").read_bytes()))
    made = tmp_path / "out" / "p_png-2_x4.png"
    write(read(tmp_path / "p.png"), tmp_path / "out" / "p_png_x4.png", Encoding())  # of another
    write(read(tmp_path / "p.png"), made, Encoding(mark=mark))
    make_photo(8, 8, 1).save(tmp_path / "P.png")
    make_photo(8, 8, 2).save(tmp_path / "p_png.png")
    names = name_outputs(find([tmp_path]), tmp_path / "out", "_x4")
    assert {s.path.name: p.name for s, p in names.items()} == {
        "P.png": "P_png-3_x4.png",
        "p.png": "p_png-2_x4.png",
        "p_png.png": "p_png_x4.png",
    }


def test_a_file_is_hashed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo(8, 8).save(tmp_path / "p.png")
    hashed, usual = [], mark_of_results.hash_file

    def watched(path: Path) -> str:
        hashed.append(path)
        return usual(path)

    monkeypatch.setattr(mark_of_results, "hash_file", watched)
    first = mark_of_results.hash_source(tmp_path / "p.png")
    assert mark_of_results.hash_source(tmp_path / "p.png") == first
    assert len(hashed) == 1
    make_photo(8, 8, 1).save(tmp_path / "p.png")
    os.utime(tmp_path / "p.png", ns=(1, 1))
    assert mark_of_results.hash_source(tmp_path / "p.png") != first


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no named pipes here")
def test_names_are_chosen_without_waiting_for_a_pipe(tmp_path: Path) -> None:
    make_photo(8, 8).save(tmp_path / "p.png")
    write(read(tmp_path / "p.png"), tmp_path / "p_x4.png", Encoding(mark="1 sr 2 3"))
    os.mkfifo(tmp_path / "p.jpg")
    named = find([tmp_path / "p.jpg", tmp_path / "p.png"])
    assert len(name_outputs(named, None, "_x4")) == 2


def test_two_inputs_never_share_an_output(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        make_photo(8, 8).save(folder / "a.png")
    with pytest.raises(UsageError, match="both become"):
        name_outputs(find(folders), tmp_path / "out", "_x4")
    same = find([folders[0], folders[0] / "a.png"])
    assert [s.path.name for s in same] == ["a.png"]


def test_the_same_file_by_two_paths_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_photo(8, 8).save("a.png")
    make_photo(8, 8).save("a.jpg")
    assert len(find([Path("a.png"), tmp_path / "a.png"])) == 1
    names = name_outputs(find([Path("a.png"), tmp_path / "a.jpg"]), None, "_x4")
    assert {p.name for p in names.values()} == {"a_png_x4.png", "a_jpg_x4.png"}


def test_links_to_one_photo_are_as_many_photos_as_they_have_names(tmp_path: Path) -> None:
    for folder in ("pool", "links", "more"):
        (tmp_path / folder).mkdir()
    make_photo(8, 8).save(tmp_path / "pool" / "a.png")
    for name in ("links/x.png", "links/y.png", "more/y.png"):
        (tmp_path / name).symlink_to(tmp_path / "pool" / "a.png")
    (tmp_path / "shelf").symlink_to(tmp_path / "links")
    links = tmp_path / "links"
    names = name_outputs(find([links, tmp_path / "shelf", links / "x.png"]), None, "_x4")
    assert [p.name for p in names.values()] == ["x_x4.png", "y_x4.png"]
    one_place = name_outputs(find([links, tmp_path / "more"]), tmp_path / "out", "_x4")
    assert [p.name for p in one_place.values()] == ["x_x4.png", "y_x4.png"]


def test_a_result_stays_a_result_when_a_namesake_arrives(tmp_path: Path) -> None:
    for name in ("a.png", "a_x4.png", "a.jpg"):
        make_photo(8, 8).save(tmp_path / name)
    names = name_outputs(find([tmp_path]), None, "_x4")
    assert sorted(p.name for p in names.values()) == ["a_jpg_x4.png", "a_png_x4.png"]


def test_results_beside_their_inputs_are_not_inputs(tmp_path: Path) -> None:
    for name in ("a.png", "a_x4.png"):
        make_photo(8, 8).save(tmp_path / name)
    names = name_outputs(find([tmp_path]), None, "_x4")
    assert {s.path.name: p.name for s, p in names.items()} == {"a.png": "a_x4.png"}
