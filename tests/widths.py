"""Where a network's work is best spent: widths and depths at about one price, for ×4.

    python -m tests.widths train/ valid/ --prior PRIOR --perceptual SQUEEZENET -o runs/widths

Each variant begins from nothing but the prior's codes and learns from as many patches as every
other, with L1 alone, so that no judge has been trained on. What has been judged is kept in
`widths.json`; begun again, only what is missing is trained. Seconds are measured here and now,
in float32, all variants in turn. Prints the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from adacode_cli.device import resolve_device
from adacode_cli.evaluation.protocol import Protocol
from adacode_cli.evaluation.score import Judges, find_some, measure
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import AdaCodeConfig
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.damage import Degraded, to_tensor
from adacode_cli.training.dataset import PatchDataset, find_classes, load_photo
from adacode_cli.training.recipes import ENDLESS, usable_classes
from adacode_cli.training.settings import Settings
from adacode_cli.training.squeezenet import SqueezeFeatures
from adacode_cli.training.stages import LITE
from adacode_cli.training.trainer import Lesson, Trainer

SCALE = 4
METRICS = ("PSNR-Y", "SSIM", "squeeze")
TIMED = (256, 256)  # pixels of the small picture: a megapixel of the result, and no padding
ROUNDS = 7
VARIANTS: dict[str, dict[str, tuple[int, ...]]] = {
    "as bundled": {},
    "without far sight": {"far_depths": ()},
    "blocks of the encoder at stride 4": {"encoder_depths": (4, 1)},
    "blocks of the decoder at stride 8": {"decoder_depths": (1, 3)},
    "the encoder's blocks in the decoder": {"encoder_depths": (1, 2), "decoder_depths": (3, 3)},
    "wide at stride 8": {
        "widths": (3, 32, 48, 176),
        "encoder_depths": (1, 2),
        "far_depths": (1, 1),
    },
    "wide at stride 4": {
        "widths": (3, 32, 96, 96),
        "encoder_depths": (1, 3),
        "decoder_depths": (2, 1),
    },
    "narrow at stride 2": {"widths": (3, 16, 64, 128), "encoder_depths": (2, 4)},
}


def config_of(name: str, prior: AdaCode) -> AdaCodeConfig:
    """The variant's network."""
    config = prior.config.restoring("sr", SCALE)
    return replace(config, **VARIANTS[name])  # type: ignore[arg-type]


def network(config: AdaCodeConfig, prior: AdaCode, seed: int) -> AdaCode:
    """An untrained one that knows the prior's codes."""
    torch.manual_seed(seed)
    model = AdaCode(config)
    with torch.no_grad():
        for ours, theirs in zip(model.books, prior.books, strict=True):
            ours.codes.copy_(theirs.codes)
    return model


def learn(model: AdaCode, photos: Path, settings: Settings, folder: Path) -> AdaCode:
    """The network after all steps, its weights averaged."""
    classes = usable_classes(find_classes(photos), settings.patch, folder)
    dataset = PatchDataset(classes, settings.patch, Degraded(SCALE), settings.seed, ENDLESS)
    stage = replace(LITE["finetune"], losses={"reconstruction": 1.0, "commitment": 0.02})
    trainer = Trainer(model, stage, Lesson(dataset), settings, folder)
    trainer.run(lambda *_: None)
    if trainer.stopped_by:
        raise SystemExit(128 + trainer.stopped_by)
    return AdaCode.from_file(trainer.weights_file)


def judge(restorer: Restorer, photos: list[Path], judges: Judges) -> dict[str, float]:
    """Mean scores on blindly degraded photos, and PSNR on those that were only reduced."""
    scores = []
    for number, path in enumerate(photos):
        for damage in ("blind", "bicubic"):
            case = Protocol("sr", SCALE, damage).prepare(load_photo(path), number)
            picture = (restorer(to_tensor(case.damaged)).clamp(0, 1) * 255).round() / 255
            told = measure(picture, to_tensor(case.clean), SCALE, judges)
            kept = METRICS if damage == "blind" else ("PSNR-Y",)
            scores.append({f"{damage} {name}": told[name] for name in kept})
    names = dict.fromkeys(name for s in scores for name in s)
    return {n: float(np.mean([s[n] for s in scores if n in s])) for n in names}


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """Multiplications of every convolution that is computed within it."""
    counts: list[int] = []

    def count(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts.append(out.numel() * module.weight[0].numel())

    handles = [m.register_forward_hook(count) for m in model.modules()]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def multiplications(model: AdaCode) -> float:
    """Thousands a pixel of the result, by convolutions."""
    side = 64
    with counted(model) as counts, torch.inference_mode():
        model.eval()(torch.rand(1, 3, side, side))
    return sum(counts) / (SCALE * side) ** 2 / 1000


def seconds(models: dict[str, AdaCode]) -> dict[str, float]:
    """A megapixel's on this CPU: each once to warm up, then the median of rounds in turn."""
    picture = torch.rand(3, *TIMED)
    restorers = {
        n: Restorer(m.eval(), torch.device("cpu"), torch.float32) for n, m in models.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS + 1):
        for name, restorer in restorers.items():
            began = time.perf_counter()
            restorer(picture)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def table(rows: dict[str, dict[str, float]]) -> str:
    """A row a variant."""
    columns = {
        "parameters": "{:.2f}M",
        "multiplications": "{:.0f}k",
        "s/MP": "{:.2f}",
        "blind PSNR-Y": "{:.2f}",
        "blind SSIM": "{:.3f}",
        "blind squeeze": "{:.2f}",
        "bicubic PSNR-Y": "{:.2f}",
    }
    lines = [f"| {' | '.join(('variant', *columns))} |", "| --- " * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [form.format(row[column]) for column, form in columns.items()]
        lines.append(f"| {' | '.join((name, *cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Train and judge what isn't yet, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--perceptual", type=Path, required=True, help="SqueezeNet 1.1")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/widths"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=int, default=10, help="judge each n-th photo")
    args = parser.parse_args()
    prior = AdaCode.from_file(args.prior)
    judges = Judges(SqueezeFeatures(args.perceptual))
    photos = find_some(args.valid)[:: args.every]
    kept = args.out / "widths.json"
    results: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.exists() else {}
    models = {name: network(config_of(name, prior), prior, seed=1) for name in VARIANTS}
    for name in [name for name in VARIANTS if name not in results]:
        settings = Settings(
            steps=args.steps,
            batch=args.batch,
            workers=args.workers,
            patch=128,
            learning_rate=1e-3,
            seed=1,
        )
        learned = learn(models[name], args.photos, settings, args.out / name)
        device = resolve_device("auto")
        restorer = Restorer(learned.to(device), device, torch.float32)
        results[name] = judge(restorer, photos, judges)
        print(name, results[name], flush=True)
        kept.write_text(json.dumps(results, indent=1))
    taken = seconds({name: network(config_of(name, prior), prior, seed=1) for name in VARIANTS})
    for name, model in models.items():
        size = sum(p.numel() for p in model.parameters()) / 1e6
        of_network = {"parameters": size, "multiplications": multiplications(model.cpu())}
        results[name] = {**results[name], **of_network, "s/MP": taken[name]}
    print(table(results))


if __name__ == "__main__":
    main()
