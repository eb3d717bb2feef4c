"""The three stages run, freeze what they should, and go on where they stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from adacode_cli.errors import UsageError
from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.config import Task
from adacode_cli.training import losses
from adacode_cli.training.code_averages import CodeAverages, perplexity, usage
from adacode_cli.training.damage import Degraded
from adacode_cli.training.dataset import PatchDataset, find_classes
from adacode_cli.training.discriminator import (
    KINDS,
    Adversary,
    PatchDiscriminator,
    UNetDiscriminator,
)
from adacode_cli.training.recipes import Run, begin, damage_for, train_all
from adacode_cli.training.settings import DISCRIMINATORS, Settings
from adacode_cli.training.signals import noted_signals
from adacode_cli.training.squeezenet import SqueezeFeatures
from adacode_cli.training.stages import LITE, PRESETS, Stage, freeze_for
from adacode_cli.training.states import States
from adacode_cli.training.target import Target
from adacode_cli.training.trainer import Lesson, Trainer
from adacode_cli.training.validation import Validation
from tests.conftest import Command, tiny_config, tiny_model

CODEBOOK, REPRESENTATION, RESTORATION = (
    LITE[name] for name in ("codebook", "representation", "restoration")
)


def settings(steps: int, **others: object) -> Settings:
    """Small enough for a test."""
    fixed = {"batch": 4, "patch": 48, "workers": 0, "precision": "fp32", "log_every": 5}
    return Settings(**{"steps": steps, **fixed, **others})  # type: ignore[arg-type]


def train(
    photos: Path, folder: Path, stage: Stage, limits: Settings, eye: SqueezeFeatures | None = None
) -> Trainer:
    """A tiny network through one stage; with an ``eye``, everything watches."""
    restores = stage is RESTORATION
    model = tiny_model(*(("sr", 4) if restores else ("reconstruct", 1)))
    teacher = tiny_model("reconstruct", 1).requires_grad_(False) if restores else None
    dataset = PatchDataset(find_classes(photos), 48, damage_for(model.config), 0, 10**6)
    aside = [photos / "cats" / "1.png"] if eye else []
    lesson = Lesson(dataset, Validation(aside, dataset.damage, eye), eye, teacher)
    trainer = Trainer(model, stage, lesson, limits, folder)
    trainer.run(lambda _share, _figures: None)
    return trainer


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(photos: Path, tmp_path: Path) -> None:
    train(photos, tmp_path / "run", CODEBOOK, settings(60, learning_rate=2e-3, warmup=5))
    log = logged(tmp_path / "run")
    assert log[-1]["reconstruction"] < 0.7 * log[0]["reconstruction"]
    assert log[-1]["usage/a"] > 0.5


@pytest.mark.parametrize("stage", [REPRESENTATION, RESTORATION])
def test_frozen_tensors_stay_and_trained_ones_move(
    stage: Stage, photos: Path, tmp_path: Path
) -> None:
    trainer = train(photos, tmp_path / "run", stage, settings(3))
    before = tiny_model(trainer.bare.config.task, trainer.bare.config.scale).state_dict()
    moved = {n for n, t in trainer.bare.state_dict().items() if not torch.equal(t, before[n])}
    assert not any(name.endswith(".codes") for name in moved)
    for part in ("encoder.", "weight_map.", "codebooks.0.before."):
        assert any(name.startswith(part) for name in moved), part
    assert any(name.startswith("decoder.") for name in moved) == (stage is REPRESENTATION)
    assert any(".after." in name for name in moved) == (stage is REPRESENTATION)


def test_stage_one_moves_its_codes_by_averages() -> None:
    model = tiny_model("reconstruct", 1, books=1)
    assert all(not p.requires_grad for n, p in model.named_parameters() if n.endswith(".codes"))
    freeze_for(model, CODEBOOK)
    assert not model.books[0].codes.requires_grad
    z = torch.randn(2, 16, 4, 4)
    before = model.books[0].codes.clone()
    CodeAverages(model.books[0]).update(model.books[0](z))
    assert not torch.equal(model.books[0].codes, before)
    assert torch.allclose(model.books[0].codes.norm(dim=1), torch.tensor(1.0))


def test_a_resumed_run_is_the_uninterrupted_one(photos: Path, tmp_path: Path) -> None:
    train(photos, tmp_path / "whole", CODEBOOK, settings(10, log_every=1, ema=0.5))
    folder = tmp_path / "parts"
    train(photos, folder, CODEBOOK, settings(10, log_every=1, ema=0.5, seconds=1e-9))
    assert len(logged(folder)) == 1  # the time budget ended it after a step
    train(photos, folder, CODEBOOK, settings(10, log_every=1, ema=0.5))
    whole, parts = logged(tmp_path / "whole"), logged(folder)
    assert [line["step"] for line in parts] == list(range(1, 11))
    # The learning rate of the first step was the same; what follows must be, too.
    for a, b in zip(whole, parts, strict=True):
        assert a["reconstruction"] == pytest.approx(b["reconstruction"], rel=1e-5)
        assert a["commitment"] == pytest.approx(b["commitment"], rel=1e-4)
    ours, theirs = (
        checkpoint.load(f / "codebook.safetensors") for f in (tmp_path / "whole", folder)
    )
    for name, tensor in ours.state.items():
        assert torch.allclose(tensor, theirs.state[name], atol=1e-3), name


def test_resuming_restores_the_discriminator_and_every_random_draw(
    photos: Path, tmp_path: Path, squeeze_file: Path
) -> None:
    eye = SqueezeFeatures(squeeze_file)
    weights = {"adversarial": 0.1, "perceptual": 0.1, "contrast": 0.1}
    limits = {"log_every": 1, "losses": weights, "discriminator_width": 8, "workers": 1}
    train(photos, tmp_path / "whole", RESTORATION, settings(5, **limits), eye)
    parts = tmp_path / "parts"
    train(photos, parts, RESTORATION, settings(5, seconds=1e-9, **limits), eye)
    train(photos, parts, RESTORATION, settings(5, **limits), eye)
    ours, theirs = (
        [line for line in logged(folder) if "adversarial" in line]
        for folder in (tmp_path / "whole", parts)
    )
    assert [line["step"] for line in theirs] == [1, 2, 3, 4, 5]
    for a, b in zip(ours, theirs, strict=True):
        for name in (*weights, "reconstruction", "discriminator"):
            assert a[name] == pytest.approx(b[name], rel=1e-4), (a["step"], name)


@pytest.mark.parametrize(
    ("wanted", "kind"), [(None, PatchDiscriminator), ("unet", UNetDiscriminator)]
)
def test_the_discriminator_is_the_presets_or_the_one_asked_for(
    photos: Path, tmp_path: Path, wanted: str | None, kind: type
) -> None:
    limits = {"losses": {"adversarial": 0.1}, "discriminator_width": 8, "discriminator": wanted}
    trainer = train(photos, tmp_path / "run", RESTORATION, settings(1, **limits))
    assert trainer.adversary is not None
    assert type(trainer.adversary.bare) is kind


def test_another_discriminator_is_another_run(photos: Path, tmp_path: Path) -> None:
    limits = {"losses": {"adversarial": 0.1}, "discriminator_width": 8}
    train(photos, tmp_path / "run", RESTORATION, settings(5, seconds=1e-9, **limits))
    with pytest.raises(UsageError, match="another discriminator"):
        train(photos, tmp_path / "run", RESTORATION, settings(5, discriminator="unet", **limits))


def test_a_discriminator_learns_nothing_where_it_is_flat(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bool] = []
    learn = Adversary.learn

    def watched(self: Adversary, image: Tensor, clean: Tensor, share: float) -> Tensor:
        shown.append(torch.equal(image, clean))
        return learn(self, image, clean, share)

    monkeypatch.setattr(Adversary, "learn", watched)
    for folder, flat in (("all", 1e6), ("none", 0.0)):
        limits = {"losses": {"adversarial": 0.1}, "discriminator_width": 8, "flat": flat}
        train(photos, tmp_path / folder, RESTORATION, settings(1, **limits))
    assert shown == [True, False]


@pytest.mark.parametrize(
    ("task", "scale", "target"), [("sr", 4, Target(9, 0.5)), ("inpaint", 1, Target())]
)
def test_settings_reach_the_patches(
    photos: Path, tmp_path: Path, task: Task, scale: int, target: Target
) -> None:
    run = Run(photos, tmp_path, settings(1, patch=64, plain=0.6, calm=9, sharpen=0.5))
    lesson = run.prepare(tiny_config(task, scale), RESTORATION, None)
    assert isinstance(lesson.dataset, PatchDataset)
    assert lesson.dataset.target == target
    if isinstance(lesson.dataset.damage, Degraded):
        assert lesson.dataset.damage.strengths.clean_chance == 0.6


def test_only_super_resolution_draws_anything_but_the_photo() -> None:
    ours = settings(1, calm=9.0, sharpen=0.5, flat=8.0)
    assert ours.for_task("sr") == ours
    for task in ("reconstruct", "inpaint"):
        other = ours.for_task(task)
        assert (other.calm, other.sharpen, other.flat) == (0, 0, 0)
        assert replace(other, calm=9.0, sharpen=0.5, flat=8.0) == ours


def test_the_best_weights_are_best_by_fine_detail_too(photos: Path) -> None:
    model = tiny_model("sr", 4)
    validation = Validation([photos / "cats" / "1.png"], damage_for(model.config))
    clean, damaged = validation.samples[0]
    image = model(damaged).image.detach().clamp(0, 1)
    fine, comb = losses.fine(image, clean).item(), losses.comb(image).item()
    without = validation.score(model, {})["valid/loss"]
    with_both = validation.score(model, {"fine": 2.0, "comb": 3.0})["valid/loss"]
    assert with_both == pytest.approx(without + 2 * fine + 3 * comb)


def test_every_discriminator_has_its_name() -> None:
    assert set(KINDS) == set(DISCRIMINATORS)


def test_an_unknown_discriminator_is_named() -> None:
    with pytest.raises(UsageError, match="'disc'; use patches or unet"):
        settings(1, discriminator="disc")


def test_workers_begin_where_opencv_has_threads(photos: Path, tmp_path: Path) -> None:
    """Threads don't come along to a worker; had it to do with them, it would wait for ever."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2048, 2048, 3), np.float32), (0, 0), 3)
    assert train(photos, tmp_path / "run", CODEBOOK, settings(2, workers=1)).step == 2
    cv2.setNumThreads(before)


def test_what_an_older_network_lacks_begins_without_a_say_and_learns() -> None:
    older = tiny_model("sr", 4)
    newer = AdaCode(replace(older.config, subpixel=True)).eval()
    begin(newer, older)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(newer(image).image, older(image).image)
    newer.train()(image).image.square().mean().backward()
    moved = [n for n, p in newer.decoder.named_parameters() if p.grad is not None and p.grad.any()]
    assert {"subpixel.conv.weight", "detail.6.free"} <= set(moved)


def test_far_sight_begins_without_a_say_sees_farther_and_learns() -> None:
    torch.manual_seed(0)
    newer = AdaCode(tiny_config("reconstruct", 1).restoring("inpaint", 1)).eval()
    older = AdaCode(replace(newer.config, far_depths=())).eval()
    begin(newer, older)
    image = torch.rand(1, 4, 64, 352)
    assert torch.equal(newer(image).image, older(image).image)
    far = newer.encoder.get_submodule("far")
    for part in far.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.normal_(part.weight, std=0.1)
    other = image.clone()
    other[..., 320:] = torch.rand(1, 4, 64, 32)  # 200 pixels from what is looked at
    near, away = (newer.encoder(x).z[..., :14] for x in (image, other))
    assert not torch.equal(near, away)
    assert torch.equal(older.encoder(image).z[..., :14], older.encoder(other).z[..., :14])
    newer.train()(image).image.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in far.parameters())


def test_patches_that_halve_into_fractions_are_refused(photos: Path, tmp_path: Path) -> None:
    config = tiny_config("reconstruct", 1).restoring("inpaint", 1)
    run = Run(photos, tmp_path, settings(1, patch=48))
    with pytest.raises(UsageError, match="multiple of 32, such as 64"):
        run.prepare(config, PRESETS["lite"]["finetune"], None)


def test_what_the_last_stage_would_refuse_is_refused_before_the_first(
    photos: Path, tmp_path: Path
) -> None:
    run = Run(photos, tmp_path / "run", settings(1, patch=48))
    for task, scale, problem in (("inpaint", 4, "inpaint ×4"), ("inpaint", 1, "such as 64")):
        with pytest.raises(UsageError, match=problem):
            train_all(run, task, scale, 8, 4, lambda *_: None)  # type: ignore[arg-type]
    assert not run.out.exists()


def test_another_run_is_not_continued(photos: Path, tmp_path: Path) -> None:
    train(photos, tmp_path / "run", CODEBOOK, settings(2))
    with pytest.raises(UsageError, match="another run"):
        train(photos, tmp_path / "run", CODEBOOK, settings(2, seed=1))


def test_an_earlier_versions_run_that_kept_none_of_few_photos_aside_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    state = train(photos, tmp_path / "run", CODEBOOK, settings(1)).state()
    config, seed, counts, kinds = json.loads(state["run"])
    assert counts == [4, 4]
    now = {**state, "run": json.dumps([config, seed, [5, 4], kinds])}
    earlier = {name: value for name, value in now.items() if name != "aside"}
    few = {**earlier, "run": json.dumps([config, seed, [6, 4], kinds])}
    for other in (now, few):  # of photos that were taken away since, that isn't so
        States(tmp_path / "run", "codebook", keep=1).save(other, 1)
        with pytest.raises(UsageError, match="number of photos in each class"):
            train(photos, tmp_path / "run", CODEBOOK, settings(2))
    States(tmp_path / "run", "codebook", keep=1).save(earlier, 1)
    assert train(photos, tmp_path / "run", CODEBOOK, settings(2)).step == 2


@pytest.mark.parametrize("limits", [{"steps": 0}, {"steps": 5, "seconds": 0.0}])
def test_a_budget_of_nothing_ends_at_once(
    limits: dict[str, float], photos: Path, tmp_path: Path
) -> None:
    trainer = train(photos, tmp_path / "run", CODEBOOK, settings(**limits))  # type: ignore[arg-type]
    assert trainer.step == 0
    assert trainer.weights_file.exists()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="budget"):
        Settings()
    with pytest.raises(UsageError, match="multiple of 8"):
        Settings(steps=1, patch=100)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("steps", [-4]),
        ("seconds", [-4.0, math.nan]),
        ("patch", [-64, 0, 16]),
        ("learning_rate", [-1e-3, 0.0, math.nan, math.inf]),
        ("discriminator_rate", [-1e-3, math.inf]),
        ("discriminator_width", [0]),
        ("warmup", [0, -1]),
        ("ema", [-0.1, 1.0, math.nan]),
        ("clip", [0.0, -1.0, math.nan]),
        ("validation", [-1]),
        ("workers", [-1]),
        ("seed", [-1, 2**64]),
        ("checkpoint_every", [-1.0, math.nan]),
    ],
)
def test_a_number_that_cannot_work_is_named(name: str, values: list[float]) -> None:
    for value in values:
        with pytest.raises(UsageError, match=name):
            Settings(**{"steps": 1, name: value})  # type: ignore[arg-type]


def test_losses_weigh_something_and_begin_within_the_budget() -> None:
    with pytest.raises(UsageError, match=r"losses.perceptual is -1"):
        Settings(steps=1, losses={"perceptual": -1.0})
    with pytest.raises(UsageError, match=r"begins.perceptual is 1.5; it is a share"):
        Settings(steps=1, begins={"perceptual": 1.5})


def test_a_loss_that_is_no_number_stops_the_run(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step"):
        train(photos, tmp_path / "run", CODEBOOK, settings(50, learning_rate=1e30, warmup=1))


def test_what_a_gpu_kept_to_itself_stops_the_run_when_it_is_told(
    photos: Path, tmp_path: Path
) -> None:
    trainer = train(photos, tmp_path / "run", CODEBOOK, settings(1))
    before = trainer.log.file.read_text()
    with pytest.raises(FloatingPointError, match="reconstruction is nan at step 1"):
        trainer.tell({"perceptual": 1.0, "reconstruction": float("nan")}, print)
    assert trainer.log.file.read_text() == before


def test_weights_that_are_no_numbers_are_not_saved(photos: Path, tmp_path: Path) -> None:
    trainer = train(photos, tmp_path / "run", CODEBOOK, settings(1))
    before = trainer.weights_file.read_bytes()
    next(iter(trainer.average.tensors.values())).fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="a weight is no number at step 1"):
        trainer.save()
    assert trainer.weights_file.read_bytes() == before
    assert len(trainer.states.paths()) == 1


def test_a_state_of_an_optimiser_that_was_not_fused_goes_on_fused(
    photos: Path, tmp_path: Path
) -> None:
    trainer = train(photos, tmp_path / "run", CODEBOOK, settings(1))
    state = trainer.state()
    for group in state["optimiser"]["param_groups"]:
        group["fused"] = None
    trainer.states.save(state, 1)
    resumed = train(photos, tmp_path / "run", CODEBOOK, settings(2))
    assert resumed.step == 2
    assert all(group["fused"] for group in resumed.optimiser.param_groups)


def test_the_three_stages_by_command(photos: Path, tmp_path: Path, adacode: Command) -> None:
    few = ("--steps", "2", "--batch", "2", "--patch", "64")
    books = []
    for name in ("cats", "dogs"):
        done = adacode("train", "codebook", photos / name, "-o", tmp_path / name, *few)
        books += ["--codebooks", done.stdout.strip()]
    prior = adacode("train", "representation", photos, "-o", tmp_path / "prior", *books, *few)
    words = ("--prior", prior.stdout.strip(), "--finetune", "0.5", "-o", tmp_path / "sr", *few)
    weights = Path(adacode("train", "restoration", photos, *words).stdout.strip())
    assert weights.name == "finetune.best.safetensors"
    model = AdaCode.from_file(weights)
    assert [book.name for book in model.config.codebooks] == ["cats", "dogs"]
    assert json.loads(checkpoint.load(weights).metadata["training"])["step"] == 1
    adacode("sr", photos / "cats" / "1.png", "--weights", weights, "-o", tmp_path / "out.png")
    wrong = adacode("train", "restoration", photos, *words, "--prior", weights, check=1)
    assert "not a prior" in wrong.stderr


def test_wrong_words_are_one_line(photos: Path, tmp_path: Path, adacode: Command) -> None:
    done = adacode("train", "codebook", photos, "-o", tmp_path / "x", "--for", "soon", check=2)
    assert "soon" in done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    done = adacode("train", "codebook", empty, "-o", tmp_path / "x", "--steps", "1", check=1)
    assert done.stderr.count("\n") == 1
    assert "no photo" in done.stderr


def test_no_scale_is_zero(photos: Path, tmp_path: Path, adacode: Command) -> None:
    words = (photos, "--scale", "0", "--steps", "1", "-o", tmp_path / "run")
    for stage in (("all",), ("restoration", "--prior", "none.safetensors")):
        assert "no task is sr ×0" in adacode("train", *stage, *words, check=2).stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="NOT TESTED: Windows has no SIGHUP")
def test_a_lost_terminal_is_noted_once_and_under_nohup_never() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with noted_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # while the program ends
        assert received == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupted_run_saves_and_says_how_it_ended(photos: Path, tmp_path: Path) -> None:
    words = ["train", "codebook", photos, "-o", tmp_path / "run", "--for", "10m", "--batch", "2"]
    command = [sys.executable, "-m", "adacode_cli", *map(str, words), "--patch", "48"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    log = tmp_path / "run" / "log.jsonl"
    with subprocess.Popen(command, env=environment) as run:
        deadline = time.monotonic() + 120
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
    assert run.returncode == 128 + signal.SIGTERM
    state = States(tmp_path / "run", "codebook", keep=2).latest()
    assert state is not None
    assert state["step"] >= 50
    assert checkpoint.load(tmp_path / "run" / "codebook.safetensors").metadata["training"]


def test_usage_and_perplexity_by_hand() -> None:
    assert usage(torch.tensor([4.0, 0, 4, 0])) == 0.5
    assert perplexity(torch.tensor([4.0, 0, 4, 0])) == pytest.approx(2)
    assert perplexity(torch.ones(8)) == pytest.approx(8)
