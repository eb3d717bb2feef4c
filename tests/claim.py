"""The paper's claim on small networks of our own: do several class codebooks beat a single one?

    python -m tests.claim train/ valid/ --perceptual squeezenet1_1.safetensors -o runs/claim

Each variant learns its codebooks (stage I) and then all else (stage II), for two seeds, with as
many codes, stage I steps and stage II steps as every other, and about as many parameters, begun
from one network. The losses are L1 and commitment, so that no judge has been trained on. Begun
again, it goes on where it stopped. Prints the table, and writes it as JSON and plots.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from adacode_cli.evaluation.score import Judges, find_all, measure
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import CODE_STRIDE, CodebookConfig, lite_config
from adacode_cli.restore.reconstruction.reconstruct import decode, encode
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.damage import Nothing, to_tensor
from adacode_cli.training.dataset import PatchDataset, find_classes, load_photo
from adacode_cli.training.figures import CodeUses
from adacode_cli.training.photos import usable_classes
from adacode_cli.training.recipes import ENDLESS, take
from adacode_cli.training.settings import Settings
from adacode_cli.training.squeezenet import SqueezeFeatures
from adacode_cli.training.stages import LITE, Stage
from adacode_cli.training.trainer import Lesson, Trainer

Classes = dict[str, list[Path]]
CODES, DIM = 1024, 16  # codes of all codebooks of a network together
WIDTHS = (3, 16, 32, 64)  # half of the bundled networks'
WITHOUT_MAP = r"(?!weight_map\.)"
METRICS = ("PSNR-Y", "SSIM", "squeeze")


@dataclass(frozen=True)
class Variant:
    """How the classes become codebooks: ``deal`` gives each codebook its photos."""

    title: str
    deal: Callable[[Classes], dict[str, Classes]]
    blocks8: int = 1  # of the decoder; one more where there is no weight map to train
    trains: str = LITE["representation"].trains
    joined: bool = False  # the codebooks, once learned, become one


def by_class(classes: Classes) -> dict[str, Classes]:
    """A codebook for each class."""
    return {name: {name: photos} for name, photos in classes.items()}


def in_pairs(classes: Classes) -> dict[str, Classes]:
    """The first and last class share a codebook, and so on inwards."""
    names = list(classes)
    pairs = [(a, b) for a, b in zip(names, reversed(names), strict=True) if a < b]
    return {f"{a}+{b}": {a: classes[a], b: classes[b]} for a, b in pairs}


def all_in_one(classes: Classes) -> dict[str, Classes]:
    """One codebook for all photos."""
    return {"all": classes}


def at_random(classes: Classes) -> dict[str, Classes]:
    """As many codebooks as classes, each with some photos of every class."""
    mixed = {name: shuffled(photos) for name, photos in classes.items()}
    count = len(classes)
    return {
        f"part {k + 1}": {name: photos[k::count] for name, photos in mixed.items()}
        for k in range(count)
    }


def shuffled(photos: list[Path]) -> list[Path]:
    """In an order that means nothing, the same each time."""
    return [photos[i] for i in np.random.default_rng(0).permutation(len(photos))]


VARIANTS = {
    "K=1": Variant("one codebook, learned on all", all_in_one, blocks8=2),
    "K=2": Variant("two, of two classes each", in_pairs),
    "K=4": Variant("four class codebooks", by_class),
    "merged": Variant("the four, joined into one", by_class, blocks8=2, joined=True),
    "random": Variant("four, of random classes", at_random),
    "frozen": Variant("four, weights frozen at ¼", by_class, trains=WITHOUT_MAP),
}


@dataclass(frozen=True)
class Study:
    """Photos, and how long each step takes."""

    classes: Classes
    valid: list[Path]
    out: Path
    settings: Settings  # of stage II
    first: int  # steps of the network that all begin from
    codebooks: int  # stage I steps of all codebooks of a network together

    def train(
        self, model: AdaCode, stage: Stage, classes: Classes, steps: int, folder: Path
    ) -> Path:
        """One run, or the rest of it; its weights."""
        settings = replace(self.settings, steps=steps)
        dataset = PatchDataset(classes, settings.patch, Nothing(), settings.seed, ENDLESS)
        done = folder / f"{stage.name}.safetensors"
        if not (folder / "done").exists():
            rules = replace(stage, losses={"reconstruction": 1.0, "commitment": 0.05})
            trainer = Trainer(model, rules, Lesson(dataset), settings, folder)
            trainer.run(lambda *_: None)
            if trainer.stopped_by:
                raise SystemExit(128 + trainer.stopped_by)
            (folder / "done").touch()
        return done

    def base(self) -> AdaCode:
        """What every network of this seed begins from."""
        model = self.network({"all": CODES // 4})
        path = self.train(model, LITE["codebook"], self.classes, self.first, self.out / "first")
        return AdaCode.from_file(path)

    def network(self, books: dict[str, int], blocks8: int = 1) -> AdaCode:
        """An untrained network with codebooks of so many codes."""
        torch.manual_seed(self.settings.seed)
        configs = tuple(CodebookConfig(name, codes, DIM) for name, codes in books.items())
        config = replace(lite_config("reconstruct", 1, configs), widths=WIDTHS)
        return AdaCode(replace(config, decoder_depths=(3, blocks8)))

    def codebook(self, name: str, classes: Classes, codes: int, steps: int) -> AdaCode:
        """Stage I, from the network that all begin from."""
        model = self.network({name: codes})
        take(model, self.base(), "encoder.", "decoder.", "codebooks.0.before")
        folder = self.out / f"{name} {codes}"
        return AdaCode.from_file(self.train(model, LITE["codebook"], classes, steps, folder))

    def representation(self, key: str) -> AdaCode:
        """Stages I and II of a variant."""
        variant = VARIANTS[key]
        dealt = variant.deal(self.classes)
        codes, steps = CODES // len(dealt), self.codebooks // len(dealt)
        books = [self.codebook(n, c, codes, steps).books[0] for n, c in dealt.items()]
        sizes = {"merged": CODES} if variant.joined else dict.fromkeys(dealt, codes)
        model = self.network(sizes, variant.blocks8)
        fresh = ("decoder.blocks8.1.",)  # it begins as if it weren't there
        take(model, self.base(), "encoder.", "decoder.", fresh=fresh)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if name.startswith("decoder.blocks8.1.conv2."):
                    weights.zero_()
                if name == "weight_map.out.weight":
                    weights.zero_()
        if variant.joined:
            join(model, books)
        else:
            for ours, learned in zip(model.books, books, strict=True):
                ours.load_state_dict(learned.state_dict())
        stage = replace(LITE["representation"], trains=variant.trains)
        steps = self.settings.steps or 0
        return AdaCode.from_file(self.train(model, stage, self.classes, steps, self.out / key))


def join(model: AdaCode, books: list[Any]) -> None:
    """One codebook with all codes; its projections begin as the mean of theirs."""
    states = [book.state_dict() for book in books]
    merged = {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
    merged["codes"] = torch.cat([s["codes"] for s in states])
    model.books[0].load_state_dict(merged)


def judge(model: AdaCode, photos: list[Path], judges: Judges) -> dict[str, float]:
    """Scores to codes and back, and how many codes that took."""
    restorer = Restorer(model, torch.device("cpu"), torch.float32)
    scores, uses = [], CodeUses(model.config.codebooks)
    for path in photos:
        photo = load_photo(path)
        h, w = (n // CODE_STRIDE * CODE_STRIDE for n in photo.shape[:2])
        clean = to_tensor(photo[:h, :w])
        codes = encode(restorer, clean)
        picture = (decode(restorer, codes).clamp(0, 1) * 255).round() / 255
        scores.append(measure(picture, clean, 0, judges))
        uses.add(codes.tensors[0])
    told = {name: float(np.mean([s[name] for s in scores])) for name in METRICS}
    report = uses.report()
    told["usage"] = float(np.mean([v for k, v in report.items() if k.startswith("usage/")]))
    told["perplexity"] = float(sum(v for k, v in report.items() if k.startswith("perplexity/")))
    trained = (p for n, p in model.named_parameters() if not n.endswith(".codes"))
    return {**told, "parameters": float(sum(p.numel() for p in trained))}


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """A row a variant: the mean over seeds, and how far a seed is from it."""
    head = ("variant", "parameters", "PSNR-Y ↑", "SSIM ↑", "squeeze ↓", "codes used", "perplexity")
    rows = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for key, seeds in results.items():
        mean = {name: np.mean([s[name] for s in seeds]) for name in seeds[0]}
        off = {name: np.ptp([s[name] for s in seeds]) / 2 for name in seeds[0]}
        cells = [
            VARIANTS[key].title,
            f"{mean['parameters'] / 1000:.0f}k",
            f"{mean['PSNR-Y']:.2f} ± {off['PSNR-Y']:.2f}",
            f"{mean['SSIM']:.3f} ± {off['SSIM']:.3f}",
            f"{mean['squeeze']:.2f} ± {off['squeeze']:.2f}",
            f"{mean['usage']:.0%}",
            f"{mean['perplexity']:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    """PSNR against the number of codebooks, and every variant's; a dot a seed."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    numbers, variants = figure.subplots(1, 2, width_ratios=(1, 1.6))
    counts = [1, 2, 4]
    means = [np.mean([s["PSNR-Y"] for s in results[f"K={k}"]]) for k in counts]
    numbers.plot(counts, means, color="tab:blue")
    for k in counts:
        psnr = [s["PSNR-Y"] for s in results[f"K={k}"]]
        numbers.plot([k] * len(psnr), psnr, "o", color="tab:blue", alpha=0.6)
    numbers.set(xlabel=f"codebooks, {CODES} codes in all", ylabel="PSNR-Y, dB", xticks=counts)
    for place, seeds in enumerate(results.values()):
        psnr = [s["PSNR-Y"] for s in seeds]
        variants.plot(psnr, [place] * len(psnr), "o", color="tab:blue", alpha=0.6)
    variants.set_yticks(range(len(results)), [VARIANTS[key].title for key in results])
    variants.set(xlabel="PSNR-Y, dB; a dot a seed")
    variants.invert_yaxis()
    for axes in (numbers, variants):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train and judge what isn't yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a subfolder a class, four of them")
    parser.add_argument("valid", type=Path)
    parser.add_argument("--perceptual", type=Path, required=True, help="SqueezeNet 1.1")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/claim"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=1500, help="of stage II")
    parser.add_argument("--first", type=int, default=400, help="of the common beginning")
    parser.add_argument("--codebooks", type=int, default=800, help="of stage I, all codebooks")
    parser.add_argument("--every", type=int, default=5, help="judge each n-th photo")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    judges = Judges(SqueezeFeatures(args.perceptual))
    photos = find_all(args.valid)[0][:: args.every]
    results: dict[str, list[dict[str, float]]] = {key: [] for key in VARIANTS}
    for seed in args.seeds:
        settings = Settings(
            steps=args.steps, batch=8, patch=96, learning_rate=1e-3, ema=0.995, seed=seed
        )
        out = args.out / f"seed {seed}"
        classes, _ = usable_classes(find_classes(args.photos), settings.patch)
        study = Study(classes, photos, out, settings, args.first, args.codebooks)
        for key in VARIANTS:
            began = time.monotonic()
            results[key].append(judge(study.representation(key), photos, judges))
            told = ", ".join(f"{n} {v:.4g}" for n, v in results[key][-1].items())
            print(f"seed {seed}, {key}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    print(table(results))
    (args.out / "claim.json").write_text(json.dumps(results, indent=1))
    draw(results, args.plot or args.out / "claim.png")


if __name__ == "__main__":
    main()
