"""One training step's gradients and codes, for test_distributed.py; run by a launcher or alone.

python -m tests.two_processes PHOTOS BATCH OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from adacode_cli.training.damage import Nothing
from adacode_cli.training.dataset import PatchDataset, find_classes
from adacode_cli.training.settings import Settings
from adacode_cli.training.stages import LITE
from adacode_cli.training.trainer import Lesson, Trainer
from tests.conftest import tiny_model


def main(photos: Path, batch: int, out: Path) -> None:
    """Write the gradients of the first batch, and the codes after it."""
    limits = Settings(steps=10, batch=batch, patch=48, workers=0, precision="fp32", device="cpu")
    dataset = PatchDataset(find_classes(photos), 48, Nothing(), 0, 10**6)
    model = tiny_model("reconstruct", 1, books=1)
    trainer = Trainer(model, LITE["codebook"], Lesson(dataset), limits, out.parent / "run")
    patch = next(trainer.patches())
    compared, _ = trainer.backward(patch)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    trainer.books[0].update(compared.restored.quantised[0])
    found["codes"] = model.books[0].codes.detach()
    rank = trainer.accelerator.process_index
    save_file({k: v.contiguous() for k, v in found.items()}, out.with_suffix(f".{rank}"))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
