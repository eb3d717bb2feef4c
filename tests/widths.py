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
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from adacode_cli.benchmark.stages import flop_by_stage
from adacode_cli.device import resolve_device
from adacode_cli.evaluation.protocol import Protocol
from adacode_cli.evaluation.score import OURS, Judges, mean_scores, score_folder
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import AdaCodeConfig
from adacode_cli.restore.restorer import Restorer
from adacode_cli.training.dataset import PatchDataset, find_classes
from adacode_cli.training.photos import usable_classes
from adacode_cli.training.recipes import ENDLESS, damage_for
from adacode_cli.training.settings import Settings
from adacode_cli.training.squeezenet import SqueezeFeatures
from adacode_cli.training.stages import LITE
from adacode_cli.training.trainer import Lesson, Trainer

SCALE = 4
JUDGED = {"blind": ("PSNR-Y", "SSIM", "squeeze"), "bicubic": ("PSNR-Y",)}
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
    classes, _ = usable_classes(find_classes(photos), settings.patch)
    dataset = PatchDataset(
        classes, settings.patch, damage_for(model.config), settings.seed, ENDLESS
    )
    stage = replace(LITE["finetune"], losses={"reconstruction": 1.0, "commitment": 0.02})
    trainer = Trainer(model, stage, Lesson(dataset), settings, folder)
    trainer.run(lambda *_: None)
    if trainer.stopped_by:
        raise SystemExit(128 + trainer.stopped_by)
    return AdaCode.from_file(trainer.weights_file)


def judge(restorer: Restorer, photos: Path, every: int, judges: Judges) -> dict[str, float]:
    """Mean scores on blindly degraded photos, and PSNR on those that were only reduced."""
    told: dict[str, float] = {}
    for damage, metrics in JUDGED.items():
        protocol = Protocol("sr", SCALE, damage)
        scored = []
        for one in score_folder(photos, restorer, protocol, judges, every):
            if isinstance(one, Exception):
                raise one
            scored.append(replace(one, pictures={}))
        means = mean_scores(scored)[OURS]
        told |= {f"{damage} {metric}": means[metric] for metric in metrics}
    return told


def seconds(restorers: dict[str, Restorer], picture: Tensor) -> dict[str, float]:
    """One picture's on this CPU: each once to warm up, then the median of rounds in turn."""
    taken: dict[str, list[float]] = {name: [] for name in restorers}
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
        "GFLOP/MP": "{:.0f}",
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
    prior, cpu = AdaCode.from_file(args.prior), torch.device("cpu")
    judges = Judges(SqueezeFeatures(args.perceptual))
    kept = args.out / "widths.json"
    results: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.exists() else {}
    settings = Settings(
        steps=args.steps,
        batch=args.batch,
        workers=args.workers,
        patch=128,
        learning_rate=1e-3,
        seed=1,
    )
    for name in [name for name in VARIANTS if name not in results]:
        model = network(config_of(name, prior), prior, settings.seed)
        learned, device = (
            learn(model, args.photos, settings, args.out / name),
            resolve_device("auto"),
        )
        restorer = Restorer(learned, device, torch.float32)
        results[name] = judge(restorer, args.valid, args.every, judges)
        print(name, results[name], flush=True)
        kept.write_text(json.dumps(results, indent=1))
    untrained = {n: network(config_of(n, prior), prior, settings.seed) for n in VARIANTS}
    restorers = {n: Restorer(model, cpu, torch.float32) for n, model in untrained.items()}
    picture = torch.rand(3, *TIMED)
    megapixels = SCALE**2 * picture[0].numel() / 1e6
    taken = seconds(restorers, picture)
    for name, restorer in restorers.items():
        results[name] |= {
            "parameters": sum(p.numel() for p in restorer.model.parameters()) / 1e6,
            "GFLOP/MP": sum(flop_by_stage(restorer, picture).values()) / 1e9 / megapixels,
            "s/MP": taken[name] / megapixels,
        }
    print(table(results))


if __name__ == "__main__":
    main()
