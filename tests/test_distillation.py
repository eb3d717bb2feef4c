"""Targets that another network draws: its detail, the photo's tones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.errors import UsageError
from adacode_cli.evaluation.metrics import blur, gaussian
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import Restoration
from adacode_cli.training.dataset import Patch
from adacode_cli.training.distillation import Distillation, load_example
from adacode_cli.training.losses import Compared
from adacode_cli.training.recipes import Run, damage_for
from adacode_cli.training.settings import Settings
from adacode_cli.training.stages import LITE
from adacode_cli.training.trainer import Trainer
from adacode_cli.training.validation import Validation
from tests.conftest import Command, tiny_config, tiny_model
from tests.general_network import HALF, GeneralNetwork


class Striped(nn.Module):
    """Enlarges, darkens, and draws stripes; a convolution looks one pixel around."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.look = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.constant_(self.look.weight, 1 / 36)
        nn.init.constant_(self.look.bias, 0)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        large = F.interpolate(self.look(image), scale_factor=float(self.scale), mode="nearest")
        stripes = torch.arange(large.shape[-1]) % 2 * 0.1
        return large + stripes


def exported(network: nn.Module, file: Path) -> Path:
    """Saved as a program for any size."""
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    program = torch.export.export(network, (torch.rand(2, 3, 20, 24),), dynamic_shapes=(free,))
    torch.export.save(program, file)
    return file


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(Striped(), tmp_path_factory.mktemp("programs") / "striped.pt2")


@pytest.fixture
def patch() -> Patch:
    clean = torch.rand(2, 3, 12, 12).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return Patch(0.2 + clean / 2, torch.rand(2, 3, 24, 24))


def test_a_target_has_the_photos_tones_and_the_networks_detail(striped: Path, patch: Patch) -> None:
    network = load_example(striped, 4, 96)
    target, degraded = Distillation(network, tones=2.0)(patch)
    assert degraded is patch.degraded
    drawn = network(patch.degraded)
    kernel = gaussian(2.0, 6)
    detail = drawn - blur(drawn, kernel)
    assert torch.allclose(target - blur(patch.clean, kernel), detail, atol=1e-5)
    assert not torch.allclose(target, drawn, atol=0.05)
    assert not torch.allclose(target, patch.clean, atol=0.05)


def test_the_network_may_see_less_damage_than_the_learner(patch: Patch) -> None:
    seen = []

    class Watching(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image)
            return F.interpolate(image, scale_factor=4.0)

    for clean in (0.0, 0.5, 1.0):
        Distillation(Watching(), clean)(patch)
    damaged, half, whole = seen
    assert torch.equal(damaged, patch.degraded)
    reduced = F.interpolate(patch.clean, (24, 24), mode="bicubic", antialias=True)
    assert torch.allclose(whole, reduced.clamp(0, 1))
    assert torch.allclose(half, (damaged + whole) / 2)


def test_a_program_draws_borders_as_if_their_pixels_went_on(striped: Path) -> None:
    even = torch.full((1, 3, 24, 24), 0.4)
    drawn = load_example(striped, 4, 96)(even)
    assert torch.allclose(drawn[..., 0], drawn[..., 48])  # zeros around would have darkened it
    assert torch.allclose(drawn[..., :2, :], drawn[..., 48:50, :])


def test_adacode_weights_are_drawn_after_as_they_are(tmp_path: Path) -> None:
    model = tiny_model("sr", 4).eval()
    file = tmp_path / "large.safetensors"
    checkpoint.save(file, model.config, model.state_dict())
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(load_example(file, 4, 64)(image), model(image).image, atol=1e-5)


def test_what_cant_be_drawn_after_is_refused(striped: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.pt2"
    text.write_text("no archive")
    with pytest.raises(UsageError, match=r"text\.pt2: not a program of torch\.export"):
        load_example(text, 4, 96)
    with pytest.raises(UsageError, match=r"gone\.pt2: no such file"):
        load_example(tmp_path / "gone.pt2", 4, 96)
    with pytest.raises(UsageError, match=r"doesn't enlarge 2 times"):
        load_example(striped, 2, 96)
    fixed = tmp_path / "fixed.pt2"  # as torch.export makes them where nothing else is said
    torch.export.save(torch.export.export(Striped(), (torch.rand(1, 3, 36, 36),)), fixed)
    load_example(fixed, 4, 96)
    with pytest.raises(UsageError, match=r"can't draw 2 patches of 96 .* for any batch and size"):
        load_example(fixed, 4, 96, 2)
    weights = tmp_path / "holes.safetensors"
    model = tiny_model("inpaint", 1)
    checkpoint.save(weights, model.config, model.state_dict())
    with pytest.raises(UsageError, match=r"holes\.safetensors: can't draw 1 patches of 64 pixels"):
        load_example(weights, 4, 64)


def test_training_draws_after_it(
    photos: Path, striped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Settings(
        steps=2, batch=2, patch=48, workers=0, precision="fp32", validation=0, distill=str(striped)
    )
    lesson = Run(photos, tmp_path, limits).prepare(tiny_config("sr", 4), LITE["finetune"], None)
    assert lesson.distillation is not None
    model = tiny_model("sr", 4)
    trainer = Trainer(model, LITE["finetune"], lesson, limits, tmp_path / "run")
    patch = next(trainer.patches())
    taught = trainer.targets(patch)
    assert torch.equal(taught.clean, lesson.distillation(patch).clean)
    assert not torch.equal(taught.clean, patch.clean)
    compared, usual = [], trainer.compare

    def watched(restored: Restoration, patch: Patch) -> Compared:
        compared.append(patch)
        return usual(restored, patch)

    monkeypatch.setattr(trainer, "compare", watched)
    trainer.train_step(patch)
    assert torch.equal(compared[0].clean, taught.clean)
    assert trainer.story()["training"].count("striped.pt2") == 1
    assert str(striped) not in trainer.story()["training"]  # weights travel


def test_it_is_validated_by_what_is_to_be_drawn(photos: Path, striped: Path) -> None:
    kept = [photos / "cats" / "1.png"]
    drawn = Distillation(load_example(striped, 4, 192))
    validation = Validation(kept, damage_for(tiny_config("sr", 4)), None, drawn)
    [sample] = validation.samples
    [target] = validation.targets
    assert torch.equal(target, drawn(Patch(*sample)).clean)
    restored = tiny_model("sr", 4)(sample.damaged)
    scores = []
    for picture in (0.99 * sample.clean, 0.99 * target):

        def restore(_: Tensor, picture: Tensor = picture) -> Restoration:
            return restored._replace(image=picture)

        scores.append(validation.score(restore, {"reconstruction": 1.0}))
    near_photo, near_target = scores
    assert near_target["valid/loss"] == pytest.approx(0.01 * target.mean().item(), rel=1e-3)
    assert near_photo["valid/loss"] > 2 * near_target["valid/loss"]
    assert near_photo["valid/psnr"] > near_target["valid/psnr"]


def test_holes_and_codes_are_learned_from_photos_alone(photos: Path, tmp_path: Path) -> None:
    limits = Settings(steps=1, patch=48, batch=1, validation=0, distill="gone.pt2")
    for task, scale in (("inpaint", 1), ("reconstruct", 1)):
        config = tiny_config(task, scale)  # type: ignore[arg-type]
        assert Run(photos, tmp_path, limits).prepare(config, LITE["finetune"], None)


def test_it_is_refused_where_it_would_do_nothing(photos: Path, adacode: Command) -> None:
    for words in (
        ("codebook", photos / "cats"),
        ("representation", photos, "--codebooks", "a.safetensors"),
        ("restoration", photos, "--prior", "p", "--task", "inpaint"),
        ("all", photos, "--task", "inpaint"),
    ):
        told = adacode("train", *words, "--steps", "1", "--distill", "gone.pt2", check=2).stderr
        assert "--distill is for super-resolution" in told


def test_it_is_looked_at_before_the_first_stage(
    photos: Path, tmp_path: Path, adacode: Command
) -> None:
    words = ("--steps", "1", "--patch", "64", "--distill", "gone.pt2", "-o", tmp_path / "run")
    assert "gone.pt2: no such file" in adacode("train", "all", photos, *words, check=2).stderr
    assert not (tmp_path / "run").exists()


def test_its_numbers_are_checked() -> None:
    for wrong in ({"distill_clean": 1.5}, {"distill_tones": 0.0}, {"distill_tones": -1.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Settings(steps=1, **wrong)  # type: ignore[arg-type]


def test_ncnns_file_is_read_as_ncnn_does(tmp_path: Path) -> None:
    """By hand: one 3×3 convolution in float16 to 48 channels, and a ReLU's slopes before it."""
    name = tmp_path / "net"
    name.with_suffix(".param").write_text(
        "7767517\n4 4\nInput in 0 1 data\nPReLU p 1 1 a b 0=3\n"
        "Convolution c 1 1 b d 0=48 1=3 4=1 5=1 6=1296\nPixelShuffle s 1 1 d e 0=4\n"
    )
    weights = torch.rand(48, 3, 3, 3).half()
    bias, slopes = torch.rand(48), torch.rand(3)
    name.with_suffix(".bin").write_bytes(
        slopes.numpy().tobytes()
        + HALF.to_bytes(4, "little")
        + weights.numpy().tobytes()
        + bias.numpy().tobytes()
    )
    image = torch.rand(1, 3, 5, 6) - 0.5
    wanted = F.conv2d(F.prelu(image, slopes), weights.float(), bias, padding=1)
    wanted = F.pixel_shuffle(wanted, 4) + image.repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        assert torch.allclose(GeneralNetwork(name)(image), wanted, atol=1e-5)
    name.with_suffix(".bin").write_bytes(name.with_suffix(".bin").read_bytes() + bytes(4))
    with pytest.raises(SystemExit, match="4 bytes are left"):
        GeneralNetwork(name)


def test_a_missing_program_is_one_line(photos: Path, tmp_path: Path, adacode: Command) -> None:
    prior = tmp_path / "prior.safetensors"
    model = tiny_model("reconstruct", 1)
    checkpoint.save(prior, model.config, model.state_dict())
    told = adacode(
        "train", "restoration", photos, "--prior", prior, "--steps", "1", "--patch", "64",
        "--distill", "gone.pt2", "-o", tmp_path / "run", check=2,
    )  # fmt: skip
    assert told.stderr.strip().endswith("gone.pt2: no such file")
