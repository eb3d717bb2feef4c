"""Formats × channels × depth × orientation × profile × output: what goes in comes out.

Every combination is a real file, written by one library, restored by a real (tiny) network,
and read by another library than the one that wrote the result.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif.HeifImagePlugin  # noqa: F401 teaches Pillow the format
import pillow_jxl  # noqa: F401 likewise
import png
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import putchunk

from adacode_cli.images.formats import BY_SUFFIX
from adacode_cli.images.naming import output_path
from adacode_cli.images.write import Encoding
from adacode_cli.model import checkpoint
from adacode_cli.restore.folder import FolderRun, Handling, Worker
from adacode_cli.restore.picture import restore_picture
from adacode_cli.restore.plan import Job, Plan, Wishes, make_plan
from adacode_cli.restore.restorer import Restorer
from adacode_cli.restore.result import Result
from tests.conftest import Command, tiny_model

SCALE = 4
WIDTH, HEIGHT = 24, 16
PROFILE = (Path(__file__).parent / "data" / "swapped.icc").read_bytes()
# Mean colour of each quadrant as the photo is meant to be seen: no turn or swap leaves it so.
QUADRANTS = np.array([[[200, 60, 50], [60, 180, 70]], [[70, 80, 210], [190, 190, 60]]], np.float64)
GRAY = np.array([[40, 100], [160, 220]], np.float64)
CHANNELS = {"gray": 1, "gray-alpha": 2, "rgb": 3, "rgba": 4, "palette": 3, "palette-alpha": 4}
MODES = {
    ".png": ("gray", "gray-alpha", "rgb", "rgba", "palette", "palette-alpha"),
    ".jpg": ("gray", "rgb", "cmyk"),
    ".webp": ("rgb", "rgba"),
    ".tif": ("gray", "gray-alpha", "rgb", "rgba", "palette", "cmyk"),
    ".bmp": ("gray", "rgb", "palette"),
    ".gif": ("gray", "palette", "palette-alpha"),
    ".avif": ("gray", "rgb", "rgba"),
    ".heic": ("gray", "rgb", "rgba"),
    ".jxl": ("gray", "gray-alpha", "rgb", "rgba"),
}
DEEP = {".png": CHANNELS, ".tif": ("gray", "gray-alpha", "rgb", "rgba")}
TURNED = {".png", ".jpg", ".webp", ".tif", ".avif"}  # whose EXIF says which way is up
TURNS: dict[int, Any] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: np.rot90,  # what a viewer turns by a quarter to the right was turned to the left
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@dataclass(frozen=True)
class Case:
    """One combination."""

    suffix: str
    mode: str
    depth: int
    orientation: int
    profile: bool
    output: str  # a suffix

    @property
    def name(self) -> str:
        words = (self.mode, self.depth, self.orientation, "icc" if self.profile else "plain")
        return "-".join(map(str, words)) + f"-to{self.output[1:]}" + self.suffix

    @property
    def gray(self) -> bool:
        return self.mode.startswith("gray")

    @property
    def alpha(self) -> bool:
        return self.mode.endswith("a") or self.mode.endswith("alpha")


def cases() -> Iterator[Case]:
    """All that the formats can hold."""
    for suffix, modes in MODES.items():
        for mode in modes:
            deep = mode in DEEP.get(suffix, ()) and not mode.startswith("palette")
            colour = BY_SUFFIX[suffix].profile and mode in {"rgb", "rgba", "palette"}
            for depth in (8, 16) if deep else (8,):
                for orientation in range(1, 9) if suffix in TURNED else (1,):
                    for profile in (False, True) if colour else (False,):
                        outputs = (".png", suffix, *([".webp"] if orientation in {1, 6} else []))
                        for output in dict.fromkeys(outputs):
                            yield Case(suffix, mode, depth, orientation, profile, output)


def upright(case: Case) -> NDArray[np.uint8]:
    """(H, W, C) as it is meant to be seen: four quadrants, the lower right one translucent."""
    colours = GRAY[..., None] if case.gray else QUADRANTS
    if case.alpha:
        alpha = np.full((2, 2, 1), 255.0)
        alpha[1, 1] = 0 if case.mode.startswith("palette") else 100
        colours = np.concatenate([colours, alpha], axis=2)
    blocks = np.ones((HEIGHT // 2, WIDTH // 2))
    return np.stack([np.kron(c, blocks) for c in colours.transpose(2, 0, 1)], 2).astype(np.uint8)


def make(case: Case, path: Path) -> None:
    """The file, as a camera or another program would write it."""
    stored = np.ascontiguousarray(TURNS[case.orientation](upright(case)))
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    if case.suffix in TURNED:
        exif[ExifTags.Base.Orientation] = case.orientation
    if case.depth == 16:
        make_deep(case, stored.astype(np.uint16) * 257, exif, path)
        return
    image = Image.fromarray(stored[..., 0] if stored.shape[2] == 1 else stored)
    if case.mode == "cmyk":
        image = image.convert("CMYK")
    elif case.mode == "palette":
        image = image.convert("RGB").quantize(8)
    elif case.mode == "palette-alpha" and case.suffix != ".gif":  # which does it by itself
        image = image.quantize(8)
    options: dict[str, Any] = {} if case.suffix in {".bmp", ".gif"} else {"exif": exif.tobytes()}
    if case.profile:
        options["icc_profile"] = PROFILE
    if case.suffix in {".jpg", ".webp", ".avif", ".heic"}:
        options["quality"] = 98
    image.save(path, **options)


def make_deep(case: Case, stored: NDArray[np.uint16], exif: Image.Exif, path: Path) -> None:
    """16 bits by pypng or tifffile."""
    height, width, channels = stored.shape
    if case.suffix == ".tif":
        tags = [(int(ExifTags.Base.Orientation), "H", 1, case.orientation, True)]
        tifffile.imwrite(
            path,
            stored if channels > 1 else stored[..., 0],
            photometric="rgb" if channels > 2 else "minisblack",
            extrasamples=["unassalpha"] if case.alpha else None,
            extratags=tags,
            planarconfig="contig" if channels > 1 else None,
            iccprofile=PROFILE if case.profile else None,
        )
        return
    with path.open("w+b") as file:
        writer = png.Writer(width, height, greyscale=case.gray, alpha=case.alpha, bitdepth=16)
        writer.write(file, stored.reshape(height, -1).tolist())
        file.seek(0)
        start, rest = file.read(33), file.read()  # the signature and the header; the others
        file.seek(0)
        file.write(start)
        if case.profile:
            putchunk(file, b"iCCP", b"p\0\0", zlib.compress(PROFILE))
        putchunk(file, b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        file.write(rest)


def samples_by_another(path: Path) -> NDArray[Any]:
    """(H, W, C), RGB or RGBA or gray, by a library that didn't write it."""
    found: Any
    if path.suffix == ".tif":
        found = tifffile.imread(path)
    elif path.suffix in {".heic", ".jxl"}:
        with Image.open(path) as image:
            found = np.asarray(image)
    elif path.suffix == ".png":
        width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
        kind = np.uint16 if info["bitdepth"] == 16 else np.uint8
        found = np.array(list(rows), kind).reshape(height, width, info["planes"])
    else:
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert found is not None, path
        if found.ndim == 3:
            found = found[..., [2, 1, 0, 3][: found.shape[2]]]
    return found[..., None] if found.ndim == 2 else found


def check(case: Case, path: Path) -> None:
    """Everything about the result that the case decides."""
    form = BY_SUFFIX[case.output]
    found = samples_by_another(path)
    assert found.shape[:2] == (SCALE * HEIGHT, SCALE * WIDTH)
    kept_deep = case.depth == 16 and form.deep
    assert found.dtype == (np.uint16 if kept_deep else np.uint8)
    one_channel = case.output not in {".webp", ".gif", ".avif", ".heic"}
    if case.gray and one_channel:
        assert found.shape[2] == 1 + (case.alpha and form.alpha)
    has_alpha = found.shape[2] in {2, 4}
    if case.output != ".gif":
        assert has_alpha == (case.alpha and form.alpha)
    values = found.astype(np.float64) / (257 if kept_deep else 1)
    expected = upright(case).astype(np.float64)
    shown = expected[..., -1:] > 0 if case.alpha else np.ones_like(expected[..., :1])
    if case.alpha and has_alpha:
        near(values[..., -1:], expected[..., -1:], np.ones_like(shown), 25)
    colour = values[..., : found.shape[2] - has_alpha]
    wanted = expected[..., : expected.shape[2] - case.alpha]
    if case.profile and not form.profile:  # red and blue exchanged, by going through it
        wanted = wanted[..., ::-1]
    if case.alpha and not form.alpha:
        share = expected[..., -1:] / 255
        wanted, shown = wanted * share + 255 * (1 - share), np.ones_like(shown)
    near(colour, np.broadcast_to(wanted, (*wanted.shape[:2], colour.shape[2])), shown, 45)
    if case.output == ".tif" and kept_deep and case.mode == "gray-alpha":
        return  # which Pillow can't open
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        exif = image.getexif()
    kept = case.profile and form.profile
    assert (
        (profile == PROFILE) if kept else (profile is None or ".jxl" in {case.suffix, case.output})
    )
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    if (
        form.exif
        and case.suffix not in {".bmp", ".gif"}
        and (case.suffix, case.depth) != (".tif", 16)
    ):
        assert exif[ExifTags.Base.Make] == "Camera"


def near(
    found: NDArray[np.float64],
    wanted: NDArray[np.float64],
    shown: NDArray[Any],
    tolerance: float,
) -> None:
    """Each quadrant's mean, where something shows."""
    small = cv2.resize(found, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    small = small.reshape(wanted.shape)
    for rows in (slice(2, HEIGHT // 2 - 2), slice(HEIGHT // 2 + 2, HEIGHT - 2)):
        for columns in (slice(2, WIDTH // 2 - 2), slice(WIDTH // 2 + 2, WIDTH - 2)):
            if shown[rows, columns].all():
                mean = small[rows, columns].mean((0, 1))
                assert np.abs(mean - wanted[rows, columns].mean((0, 1))).max() < tolerance


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    """The smallest network; what it adds to the enlargement is made faint."""
    model = tiny_model("sr", SCALE)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            if name.startswith("detail.8"):
                parameter.mul_(0.1)
    return Restorer(model, torch.device("cpu"), torch.float32)


def test_every_combination(tmp_path: Path, restorer: Restorer) -> None:
    table = list(cases())
    assert len(table) > 500
    for case in table:
        make(case, tmp_path / case.name)
    jobs = [Job(tmp_path / c.name, tmp_path / f"out-{c.name}{c.output}") for c in table]
    results: list[Result] = []
    worker = Worker(lambda p, on_tile: restore_picture(restorer, p, on_tile), "cpu")
    handling = Handling(encoding=Encoding(mark="test"))
    FolderRun(jobs, [worker], handling, results.append, lambda _j, _d, _o: None).run()
    assert [r.error for r in results if r.error] == []
    assert len(results) == len(table)
    wrong = []
    for case, job in zip(table, jobs, strict=True):
        try:
            check(case, job.output)
        except AssertionError as error:
            place = error.__traceback__
            while place and place.tb_next:
                place = place.tb_next
            line = place.tb_lineno if place else 0
            wrong.append(f"{case.name} (line {line}): {str(error).splitlines()[:2]}")
    assert not wrong, f"{len(wrong)} of {len(table)}:\n" + "\n".join(wrong[:40])


def test_a_sample_through_the_command(tmp_path: Path, adacode: Command, restorer: Restorer) -> None:
    model = restorer.model
    checkpoint.save(tmp_path / "tiny.safetensors", model.config, model.state_dict())
    for output in (".png", ".webp"):
        sample = [c for c in cases() if c.output == output][::17]
        folder = tmp_path / f"in{output[1:]}"
        folder.mkdir()
        for case in sample:
            make(case, folder / case.name)
        words = ("--weights", "tiny.safetensors", "--format", output, "--quiet")
        done = adacode("sr", folder, "-o", f"out{output[1:]}", *words)
        assert done.stderr == ""
        plan: Plan = make_plan(
            Wishes((folder,), tmp_path / f"out{output[1:]}", "_x4", output, force=True)
        )
        outputs = {job.source.name: job.output for job in plan.jobs}
        assert len(done.stdout.splitlines()) == len(sample) == len(outputs)
        for case in sample:
            check(case, outputs[case.name])


def test_names_follow_from_the_source(tmp_path: Path) -> None:
    from adacode_cli.images.naming import Source

    assert output_path(Source(tmp_path / "a.b.jpg"), None, "_x4", "same").name == "a.b_x4.jpg"
