"""Folders: plan, names, what was done before, kills; the real command and a tiny model."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from adacode_cli.model import checkpoint
from tests.conftest import Command, environment, make_photo, rows, tiny_model, tree

TINY = ("--weights", "tiny.safetensors")
pytestmark = pytest.mark.usefixtures("tiny_weights")


def test_a_tree_is_kept_and_patterns_choose(tmp_path: Path, adacode: Command) -> None:
    for name in ("a.png", "a.jpg", "deep/er/b.webp", "deep/old_c.png", "deep/d.gif", ".x/e.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(12, 8).save(tmp_path / "in" / name)
    words = ("sr", "in", "-o", "in/out", "-r", "--exclude", "old_*", "--exclude", "*.gif", *TINY)
    planned = adacode(*words, "--dry-run")
    assert "in/deep/er/b.webp 12×8 → in/out/deep/er/b_x4.png 48×32" in planned.stdout
    assert re.search(r"3 pictures .*: about .* on cpu", planned.stderr)
    assert not (tmp_path / "in" / "out").exists()
    adacode(*words)
    found = tree(tmp_path / "in" / "out")
    assert found == ["a_jpg_x4.png", "a_png_x4.png", "deep/er/b_x4.png"]
    again = adacode(*words)
    assert again.stdout == ""
    assert "3 done before" in again.stderr
    assert tree(tmp_path / "in" / "out") == found
    chosen = adacode("sr", "in/*.jpg", "in/**/d.*", "-o", "two", "--dry-run", "-q", *TINY)
    assert [line.split(" →")[0] for line in chosen.stdout.splitlines()] == [
        "in/a.jpg 12×8",
        "in/deep/d.gif 12×8",
    ]


def test_what_was_done_with_other_settings_is_not_passed_off(
    tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "in").mkdir()
    for suffix in ("png", "gif", "jpg"):
        make_photo(12, 8).save(tmp_path / "in" / f"{suffix}.{suffix}")
    words = ("sr", "in", "-o", "out", "--format", "same", *TINY)
    assert len(adacode(*words).stdout.splitlines()) == 3
    assert "3 done before" in adacode(*words).stderr
    before = {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")}
    other = adacode(*words, "--quality", "50", check=1)
    assert other.stderr.count("made with other settings") == 3
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "tiny.safetensors").read_bytes())
    renamed = adacode(*words[:-1], "other.safetensors")
    assert "3 done before" in renamed.stderr  # the same weights by another name
    model = tiny_model("sr", 4, books=2)
    checkpoint.save(tmp_path / "other.safetensors", model.config, model.state_dict())
    changed = adacode(*words[:-1], "other.safetensors", check=1)
    assert changed.stderr.count("other settings or weights") == 3
    make_photo(4, 4).save(tmp_path / "out" / "png_x4.png")  # somebody's own
    assert "nothing in it says" in adacode(*words, check=1).stderr
    assert {n: (tmp_path / "out" / n).read_bytes() for n in before if "png" not in n} == {
        n: content for n, content in before.items() if "png" not in n
    }
    done = adacode(*words, "--quality", "50", "--force")
    assert len(done.stdout.splitlines()) == 3
    assert (tmp_path / "out" / "jpg_x4.jpg").stat().st_size < len(before["jpg_x4.jpg"])


def test_another_photos_result_is_not_passed_off(tmp_path: Path, adacode: Command) -> None:
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        for suffix in ("png", "gif", "tif"):
            make_photo(12, 8, number).save(tmp_path / folder / f"{suffix}.{suffix}")
    words = ("-o", "out", "--format", "same", *TINY)
    assert len(adacode("sr", "one", *words).stdout.splitlines()) == 3
    before = {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")}
    for dry in ((), ("--dry-run",)):
        refused = adacode("sr", "two", *words, *dry, check=1)
        assert refused.stderr.count("made from another picture") == 3
        assert "; use --force to overwrite it" in refused.stderr
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
    assert "3 done before" in adacode("sr", "one", *words).stderr
    make_photo(12, 8, 2).save(tmp_path / "one" / "gif.gif")  # edited
    edited = adacode("sr", "one", *words, check=1)
    assert "out/gif_x4.gif: exists, made from another picture, or this one" in edited.stderr
    assert "2 done before" in edited.stderr
    named = ("two/png.png", "one/gif.gif", *words)
    assert "2 failed" in adacode("sr", *named, "--skip-existing", check=1).stderr
    assert len(adacode("sr", *named, "--force").stdout.splitlines()) == 2
    assert "2 done before" in adacode("sr", *named, "--skip-existing").stderr


def test_what_came_through_a_pipe_is_done_once(tmp_path: Path) -> None:
    words = ["sr", "-", "-o", "out.png", "--skip-existing", *TINY]

    def run(seed: int) -> tuple[int, str]:
        photo = io.BytesIO()
        make_photo(12, 8, seed).save(photo, format="PNG")
        done = subprocess.run(
            [sys.executable, "-m", "adacode_cli", *words],
            input=photo.getvalue(),
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environment(),
        )
        return done.returncode, done.stderr.decode()

    assert run(0)[0] == 0
    code, told = run(0)
    assert (code, "1 done before" in told) == (0, True)
    code, told = run(1)
    assert (code, "made from another picture" in told) == (1, True)


def test_results_of_versions_that_knew_no_source_are_done(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    words = ("sr", "a.png", "--skip-existing", *TINY)
    adacode(*words)
    with Image.open(tmp_path / "a_x4.png") as result:
        exif = result.getexif()
        *settings, source = exif[ExifTags.Base.ProcessingSoftware].split()
        exif[ExifTags.Base.ProcessingSoftware] = " ".join(settings)
        result.save(tmp_path / "a_x4.png", exif=exif)
    assert source == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()[:16]
    make_photo(12, 8, 1).save(tmp_path / "a.png")
    assert "1 done before" in adacode(*words).stderr
    assert "other settings" in adacode(*words, "--color-lock", check=1).stderr


def test_stripped_results_know_how_they_were_made_and_nothing_of_the_photo(
    tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "a person"
    make_photo(12, 8).save(tmp_path / "in" / "a.png", exif=exif, dpi=(300, 300))
    words = ("sr", "in", "-o", "out", "--strip-metadata", *TINY)
    adacode(*words)
    with Image.open(tmp_path / "out" / "a_x4.png") as out:
        found = out.getexif()
        assert found[ExifTags.Base.ProcessingSoftware].startswith("adacode ")
        assert not {ExifTags.Base.Artist, ExifTags.Base.XResolution} & set(found)
        assert "dpi" not in out.info
    assert "1 done before" in adacode(*words).stderr
    assert "other settings" in adacode(*words, "--color-lock", check=1).stderr
    make_photo(4, 4).save(tmp_path / "out" / "a_x4.png")  # somebody's own
    assert "nothing in it says" in adacode(*words, check=1).stderr


def test_a_result_that_cannot_say_how_it_was_made_is_taken_by_its_name(
    tmp_path: Path, adacode: Command
) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        make_photo(12, 8).save(tmp_path / "in" / f"{name}.png")
    words = ("sr", "in", "-o", "out", "--format", "bmp", *TINY)
    assert "name alone" not in adacode(*words).stderr
    again = adacode(*words, "--color-lock").stderr
    assert "out/a_x4.bmp and 1 more: done before, going by the name alone" in again
    assert "2 done before" in again


def test_a_slash_says_that_it_is_a_folder(tmp_path: Path, adacode: Command) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    assert adacode("sr", "a.png", "-o", "new.png/", *TINY).stdout == "new.png/a_x4.png\n"
    (tmp_path / "there.png").touch()
    refused = adacode("sr", "a.png", "-o", "there.png/", *TINY, check=1).stderr
    assert "there.png/a_x4.png: nothing can be written into" in refused


def test_a_link_to_nothing_is_in_the_way(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "out").mkdir()
    for name, suffix in (("a", "png"), ("b", "bmp")):
        make_photo(12, 8).save(tmp_path / f"{name}.png")
        (tmp_path / "out" / f"{name}_x4.{suffix}").symlink_to("nowhere")
    refused = adacode("sr", "a.png", "-o", "out", *TINY, check=1).stderr
    assert "out/a_x4.png: exists already; use --force" in refused
    words = ("sr", "b.png", "-o", "out", "--format", "bmp", *TINY)
    refused = adacode(*words, "--skip-existing", check=1).stderr
    assert "out/b_x4.bmp: is a link to nothing; use --force" in refused
    assert (tmp_path / "out" / "a_x4.png").is_symlink()
    assert adacode(*words, "--force").stdout == "out/b_x4.bmp\n"


AWKWARD = [
    "with space.png",
    "new\nline.png",
    "emoji 🦅.png",
    "-dash.png",
    "con.photo.png",
    "é" * 125 + "a.png",
    "quote'\"$HOME`x`.png",
]


def test_awkward_names(tmp_path: Path, adacode: Command) -> None:
    for name in AWKWARD:
        make_photo(8, 8).save(tmp_path / name)
    latin = os.fsdecode(b"caf\xe9.png")  # no text in UTF-8
    make_photo(8, 8).save(tmp_path / latin)
    names = [*AWKWARD, latin]
    assert max(len(os.fsencode(name)) for name in names) == 255
    words = [sys.executable, "-m", "adacode_cli", "sr", "-o", "out", "-0", *TINY, "--", *names]
    done = subprocess.run(words, capture_output=True, check=True, cwd=tmp_path, env=environment())
    written = done.stdout.rstrip(b"\0").split(b"\0")
    assert len(written) == len(names)
    for path in written:
        with Image.open(tmp_path / os.fsdecode(path)) as out:
            assert out.size == (32, 32)
    results = {path.name for path in (tmp_path / "out").iterdir()}
    assert "new\nline_x4.png" in results
    assert "_con.photo_x4.png" in results
    assert "-dash_x4.png" in results
    again = adacode("sr", "-o", "out", *TINY, "--skip-existing", "--", *names)
    assert again.stdout == ""


def test_input_folder_as_output_folder(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(12, 8).save(tmp_path / "in" / "a.png")
    original = (tmp_path / "in" / "a.png").read_bytes()
    for _ in range(2):
        adacode("sr", "in", "-o", "in", *TINY)
    assert tree(tmp_path / "in") == ["a.png", "a_x4.png"]
    assert (tmp_path / "in" / "a.png").read_bytes() == original


def test_an_input_without_pictures_is_told_beside_others(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "empty").mkdir()
    make_photo(12, 8).save(tmp_path / "a.png")
    mixed = adacode("sr", "a.png", "*.jpg", "-o", "out", *TINY, check=1)
    assert mixed.stdout == "out/a_x4.png\n"
    assert "error: *.jpg: no such file, and no picture fits it as a pattern" in mixed.stderr
    for words in ((), ("--dry-run",)):
        done = adacode("sr", "a.png", "empty", "-o", "two", *TINY, *words, "--force")
        assert "adacode: empty: no picture in it\n" in done.stderr
    chosen = adacode("sr", "a.png", ".", "--exclude", "*", "-o", "three", *TINY)
    assert ".: no picture in it that --include and --exclude leave" in chosen.stderr


def test_earlier_results_beside_their_photos_are_left_out_of_folders(
    tmp_path: Path, adacode: Command
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png", "b.jpg", "é" * 124 + "a.png"):
        make_photo(12, 8).save(folder / name)
    photos = tree(folder)
    runs: list[tuple[str, ...]] = [
        (),
        ("--scale", "1.5"),
        ("--format", "jpg"),
        ("--width", "30", "--strip-metadata"),
        ("--megapixels", "0.00035", "--format", "gif"),
        ("--fit", "40x40", "--format", "bmp"),
        ("--long-edge", "20", "--format", "jxl"),
    ]
    for words in runs:
        assert len(adacode("sr", "in", *words, *TINY).stdout.splitlines()) == len(photos), words
    assert len(tree(folder)) == len(photos) * (1 + len(runs))
    planned = adacode("reconstruct", "in", "-o", "out", "--dry-run").stdout
    assert len(planned.splitlines()) == len(photos)
    assert adacode("sr", "in", "--exclude", "[!b]*", "-o", "out", "--dry-run", *TINY).stdout.count(
        "→"
    ) == len(["b.png", "b.jpg"])


def test_earlier_results_in_folders_below_are_left_out(tmp_path: Path, adacode: Command) -> None:
    touched = ("a.jpg", "a.png", "A.PNG", "sub/b.png", "done/b_x2.png")  # the last: somebody's own
    for name in touched:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(12, 8).save(tmp_path / "in" / name)
    for words in (("in",), ("in/sub",), ("in", "--scale", "2")):
        adacode("sr", *words, "-o", "in/done", *TINY)
    assert len(tree(tmp_path / "in" / "done")) == 1 + 3 + 1 + 3
    planned = adacode("sr", "in", "-r", "-o", "out", "--dry-run", *TINY).stdout
    assert sorted(line.split()[0] for line in planned.splitlines()) == sorted(
        f"in/{name}" for name in touched
    )
    named = adacode("sr", "in/done/b_x4.png", "in", "-r", "-o", "out", "--dry-run", *TINY).stdout
    assert len(named.splitlines()) == len(touched) + 1
    filled = adacode("sr", "in/done", "-o", "out", "--dry-run", *TINY).stdout
    assert len(filled.splitlines()) == 8  # without their photos


def test_the_models_own_scale_is_no_other_setting(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in").mkdir()
    make_photo(12, 8).save(tmp_path / "in" / "a.png")
    adacode("sr", "in", "--scale", "4", "-o", "out", *TINY)
    assert "1 done before" in adacode("sr", "in", "-o", "out", *TINY).stderr


def test_a_folder_of_folders_says_how_to_look_into_them(tmp_path: Path, adacode: Command) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    make_photo(12, 8).save(tmp_path / "in" / "below" / "a.png")
    told = adacode("sr", "in", "-o", "out", *TINY, check=2).stderr
    assert "in: no picture in it; -r looks into its folders, too" in told
    (tmp_path / "in" / "below" / "none").mkdir()
    (tmp_path / "in" / "below" / "a.png").unlink()
    told = adacode("sr", "in", "-r", "-o", "out", *TINY, check=2).stderr
    assert told.strip().endswith("in: no picture in it")


def test_a_format_without_a_mark_goes_by_its_name_beside_its_photo_alone(
    tmp_path: Path, adacode: Command
) -> None:
    for name in ("one/p.png", "one/p_x4.bmp", "two/p_x4.bmp", "two/p-7_x4.bmp"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(12, 8).save(tmp_path / "in" / name)
    planned = adacode("sr", "in", "-r", "-o", "out", "--dry-run", *TINY).stdout
    meant = ["in/one/p.png", "in/two/p-7_x4.bmp", "in/two/p_x4.bmp"]
    assert sorted(line.split()[0] for line in planned.splitlines()) == meant


def test_earlier_results_are_done_where_they_are_asked_for(
    tmp_path: Path, adacode: Command
) -> None:
    for name in ("in/a.png", "in/b.png", "in/b_x2.png"):  # the last is somebody's own
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_photo(12, 8).save(tmp_path / name)
    adacode("sr", "in", *TINY, "--exclude", "b*")
    adacode("sr", "in/a.png", "-o", "results", *TINY)

    def meant(*words: str) -> list[str]:
        plan = adacode("sr", *words, "-o", "out", "--dry-run", *TINY).stdout
        return [line.split()[0] for line in plan.splitlines()]

    assert meant("in") == ["in/a.png", "in/b.png", "in/b_x2.png"]
    assert meant("in/*") == meant("in")
    assert meant("in", "in/a_x4.png") == [*meant("in"), "in/a_x4.png"]
    assert meant("in/*_x4.png") == ["in/a_x4.png"]
    assert meant("in", "--include", "*_x4.*") == ["in/a_x4.png"]
    assert meant("in", "--exclude", "a.png") == ["in/b.png", "in/b_x2.png"]
    assert meant("results") == ["results/a_x4.png"]


def test_places_that_cannot_be_used_are_told_before_anything(
    tmp_path: Path, adacode: Command
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    (tmp_path / "file").write_text("no folder")
    done = adacode("sr", "a.png", "-o", "file/out", *TINY, check=1)
    assert "nothing can be written into" in done.stderr
    assert " on cpu" not in done.stderr  # no model was loaded
    for words, says in (
        (("--device", "cpu", "--devices", "cpu,cpu"), "exclude each other"),
        (("--format", "docx"), "docx"),
        (("--format", "jpg", "--lossless"), "no lossless form"),
        (("--max-pixels", "many"), "number of pixels"),
        (("--report", "r.txt"), ".json or .csv"),
        (("-o", "-", "--json"), "standard output"),
    ):
        done = adacode("sr", "a.png", *TINY, *words, check=2)
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "--max-pixels" in adacode("sr", "a.png", *TINY, "--max-pixels", "50", check=1).stderr


def test_a_moving_picture_moves_on(tmp_path: Path, adacode: Command) -> None:
    frames = [make_photo(12, 8, seed) for seed in range(3)]
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    frames[0].save(tmp_path / "a.gif", duration=[100, 50, 70], loop=0, **more)
    adacode("sr", "a.gif", *TINY)
    adacode("sr", "a.gif", *TINY, "--format", "same")
    for name in ("a_x4.png", "a_x4.gif"):
        with Image.open(tmp_path / name) as out:
            times = []
            for number in range(getattr(out, "n_frames", 1)):
                out.seek(number)
                times.append(out.info["duration"])
            assert (out.size, times, out.info["loop"]) == ((48, 32), [100, 50, 70], 0)


def fill_mixed_folder(folder: Path, count: int, broken: int) -> set[str]:
    """``count`` pictures of all kinds, of which ``broken`` are damaged; those by name."""
    folder.mkdir()
    suffixes = ("png", "jpg", "webp", "tif", "bmp", "gif", "avif")
    bad = set()
    for number in range(count):
        photo, suffix = make_photo(16, 12, number), suffixes[number % len(suffixes)]
        if number % 5 == 0 and suffix in {"png", "webp", "tif"}:
            photo.putalpha(128)
        path = folder / f"{number:03}.{suffix}"
        photo.save(path)
        if number % (count // broken) == 0:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 3] if number % 3 else b"no picture")
            bad.add(path.name)
    return bad


def test_a_run_that_is_killed_twice_is_completed(tmp_path: Path, adacode: Command) -> None:
    bad = fill_mixed_folder(tmp_path / "in", 200, 10)
    words = ("sr", "in", "-o", "out", *TINY, "--json")
    command = [sys.executable, "-m", "adacode_cli", *words]
    chance = random.Random(0)  # noqa: S311
    for _ in range(2):
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            env=environment(),
        ) as run:
            assert run.stdout is not None
            done = 0
            for line in run.stdout:
                done += json.loads(line).get("status") == "done"
                if done == chance.randint(10, 30) or done == 30:
                    run.send_signal(signal.SIGKILL)
                    break
        for name in tree(tmp_path / "out"):
            if not name.endswith(".unfinished"):
                with Image.open(tmp_path / "out" / name) as out:
                    out.load()  # whole, or it isn't there
    last = adacode(*words, check=1)
    pictures, summary = rows(last.stdout)
    assert {Path(p["input"]).name for p in pictures if p["status"] == "failed"} == bad
    assert len(bad) == 10
    assert summary["failed"] == 10
    assert summary["done"] + summary["skipped"] == 190
    assert summary["skipped"] >= 20
    results = tree(tmp_path / "out")
    assert len(results) == 190
    assert all(name.endswith("_x4.png") for name in results)


@pytest.mark.parametrize("suffix", ["heic", "jxl"])
def test_formats_of_plugins_know_how_they_were_made(
    suffix: str, tmp_path: Path, adacode: Command
) -> None:
    make_photo(12, 8).save(tmp_path / "a.png")
    words = ("sr", "a.png", *TINY, "--skip-existing", "--format", suffix)
    assert adacode(*words).stdout == f"a_x4.{suffix}\n"
    assert "1 done before" in adacode(*words).stderr
