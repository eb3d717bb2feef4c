"""How time and memory of `adacode sr` grow with the picture: a table, and a plot of it.

    python -m tests.scaling --megapixels 1 4 16 64 100 --plot docs/scaling.png

Each picture is restored by a process of its own, from a PNG into a PNG; what it takes
before the first pixel (starting Python, loading PyTorch) is measured on a picture of 64² and
told apart. Starting varies by more than a small picture takes: ``--repeats`` takes medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import matplotlib as mpl
from PIL import Image

from tests.conftest import make_photo


class Point(NamedTuple):
    """megapixels: of the result. seconds: in all. peak: of resident memory, in GB."""

    megapixels: float
    seconds: float
    peak: float


def measure(side: int, scale: int, words: list[str], folder: Path) -> Point:
    """Restore a picture of ``side`` pixels, and look at what it took."""
    source, result = folder / "in.png", folder / "out.png"
    photo = make_photo(min(side, 512), min(side, 512))
    photo.resize((side, side), Image.Resampling.BICUBIC).save(source)
    command = [sys.executable, "-m", "adacode_cli", "sr", str(source), "-o", str(result)]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--quiet", "--force", *words])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"adacode sr failed on a picture of {side}²")
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(result) as restored:
        assert restored.size == (scale * side, scale * side)
    return Point((scale * side) ** 2 / 1e6, seconds, usage.ru_maxrss / 1e6)


def median(times: int, side: int, scale: int, words: list[str], folder: Path) -> Point:
    """The one in the middle of several, by its seconds, since they are equally large."""
    return median_low(measure(side, scale, words, folder) for _ in range(times))


def draw(start: Point, points: list[Point], path: Path) -> None:
    """Time for each megapixel, and the peak, against megapixels."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (times, peaks) = plt.subplots(1, 2, figsize=(9, 3.2))
    across = [p.megapixels for p in points]
    times.plot(across, [(p.seconds - start.seconds) / p.megapixels for p in points], "o-")
    times.set(xlabel="megapixels of the result", ylabel="seconds a megapixel", ylim=(0, None))
    peaks.plot(across, [p.peak for p in points], "o-")
    peaks.set(xlabel="megapixels of the result", ylabel="peak resident memory, GB", ylim=(0, None))
    for axes in (times, peaks):
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16, 64, 100])
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("words", nargs="*", help="for adacode sr, after --")
    args = parser.parse_args()
    points = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = median(args.repeats, 64, args.scale, args.words, folder)
        print(f"start: {start.seconds:.1f} s, {start.peak:.2f} GB", flush=True)
        for megapixels in args.megapixels:
            side = round((megapixels * 1e6) ** 0.5 / args.scale)
            points.append(median(args.repeats, side, args.scale, args.words, folder))
            p = points[-1]
            each = (p.seconds - start.seconds) / p.megapixels
            print(
                f"{p.megapixels:6.1f} MP: {p.seconds:6.1f} s, {each:.3f} s a megapixel, "
                f"peak {p.peak:.2f} GB",
                flush=True,
            )
    if args.plot:
        draw(start, points, args.plot)
    print(json.dumps([p._asdict() for p in points]))


if __name__ == "__main__":
    main()
