"""One function a loss: what is compared, and by which equation of the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacode_cli.evaluation.metrics import blur, detail, fine_detail, gaussian, luma
from adacode_cli.model.adacode import Restoration
from adacode_cli.model.codebook import Quantised
from adacode_cli.training.perceptual import SMALLEST, PerceptualNetwork

RESIZED = 0.25  # of the steps, for the perceptual loss
TEETH = 5  # 4×4 pixels in a row: how near is near by
SMALLEST_COMB = 1e-6  # a quarter of a level, squared
SMALLEST_ERROR = 1e-4  # 40 dB: beyond, an image is as good as any
LUMA_RANGE = 219  # levels from black to white
TEMPERATURE = 0.5  # of the contrast (paper, section 4.1)
NEAR = 7  # pixels across: what an edge makes an edge around it


def reconstruction(image: Tensor, clean: Tensor) -> Tensor:
    """L1 (equation 1): mean |x̂ - x| of (B, 3, H, W)."""
    return (image - clean).abs().mean()


def psnr(image: Tensor, clean: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """-PSNR in dB of (B, 3, H, W), the mean over images; ours.

    Where nobody can know, L1 learns the median of what might be there; this learns the mean,
    which is what PSNR asks for. share: of the pixels that differ at all, (B,) or for all.
    """
    error = (image.float() - clean.float()).square().mean(dim=(1, 2, 3)) / share  # (B,)
    return 10 * (error + SMALLEST_ERROR).log10().mean()


def coarse(image: Tensor, clean: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """-PSNR in dB of the means over 4×4 pixels of (B, 3, H, W), sides of 4 or more; ours.

    A perceptual loss lets tones wander for the sake of texture; this holds them, and leaves
    texture alone. share: of the pixels that differ at all, as for ``psnr``.
    """
    return psnr(F.avg_pool2d(image.float(), 4), F.avg_pool2d(clean.float(), 4), share)


def fine(image: Tensor, clean: Tensor) -> Tensor:
    """L1 of what is fine in (B, 3, H, W): of what a small blur takes away; ours.

    A perceptual loss rewards any hatching where texture can't be made out; the median of what
    might be there has none, and has those edges that are there.
    """
    return detail(image.float() - clean.float()).abs().mean()


def generator(judged: Tensor) -> Tensor:
    """The adversarial loss of the network: -mean D(x̂)."""
    return -judged.float().mean()


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """The hinge loss of the discriminator: ½ mean max(0, 1 - D(x)) + ½ mean max(0, 1 + D(x̂))."""
    return 0.5 * (F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean())


def evenness(image: Tensor) -> Tensor:
    """How much of the fine detail of (B, 3, H, W) repeats every four pixels; ours.

    At ×4 each pixel of the input draws 4×4 of the output, and a perceptual loss rewards
    marks at the same place in each of them. As measured by ``evaluation.metrics.grid``: the
    spread of power and of means over the 16 places; but over all images of a batch at once.
    """
    with torch.autocast(image.device.type, enabled=False):
        found = fine_detail(image.float())  # (B, H, W)
        found = found / found.std(dim=(1, 2), keepdim=True).clamp(min=0.022)
        b, h, w = found.shape
        places = found[:, : h // 4 * 4, : w // 4 * 4].reshape(b, h // 4, 4, w // 4, 4)
        power, mean = places.square().mean(dim=(0, 1, 3)), places.mean(dim=(0, 1, 3))  # (4, 4)
        return power.std(correction=0) / power.mean().clamp(min=1e-8) + mean.std(correction=0)


def comb(image: Tensor) -> Tensor:
    """How much of the fine detail of (B, 3, H, W) repeats every four pixels, near by; ours.

    ``evenness`` looks at the whole batch, where combs along one edge and streaks in one blurred
    corner cancel. Here it is the mean of 4×4 pixels over ``TEETH`` by ``TEETH`` of them, as far
    as it isn't even: its root mean square.
    """
    with torch.autocast(image.device.type, enabled=False):
        found = detail(image.float())
        h, w = (n // 4 * 4 for n in found.shape[-2:])
        places = F.pixel_unshuffle(found[..., :h, :w], 4)  # (B, 48, h/4, w/4)
        mean = F.avg_pool2d(places, min(TEETH, h // 4, w // 4), stride=2)
        mean = mean.reshape(len(mean), 3, 16, *mean.shape[-2:])
        uneven = (mean - mean.mean(dim=2, keepdim=True)).square().mean(dim=2)  # (B, 3, ·, ·)
        return (uneven + SMALLEST_COMB).sqrt().mean()


def structure(clean: Tensor, flat: float) -> Tensor:
    """Where (B, 3, H, W) has edges or texture: (B, 1, H, W), 0 where it is flat, up to 1.

    Slopes of ``flat`` (of 255 a pixel, after a small blur) and less are none, twice as steep
    ones are whole; half of ``NEAR`` pixels around them count likewise, and fade out.
    """
    y = blur(luma(clean.float())[:, None], gaussian(1.0, radius=3))
    down, right = y[..., 2:, 1:-1] - y[..., :-2, 1:-1], y[..., 1:-1, 2:] - y[..., 1:-1, :-2]
    slope = 255 / LUMA_RANGE * torch.hypot(down, right) / 2
    steep = F.pad((slope / flat - 1).clamp(0, 1), (1, 1, 1, 1), mode="replicate")
    near = F.max_pool2d(steep, NEAR, stride=1, padding=NEAR // 2)
    return blur(near, gaussian(2.0, radius=5))


def codebook(quantised: list[Quantised]) -> Tensor:
    """‖sg(before) - code‖² (equation 2): moves codes that are trained by gradient."""
    return over_books(distance(q.codes, q.before.detach()) for q in quantised)


def commitment(quantised: list[Quantised]) -> Tensor:
    """‖before - sg(code)‖² (equation 2): keeps features near their codes."""
    return over_books(distance(q.before, q.codes.detach()) for q in quantised)


def semantic(predicted: Tensor, meaning: Tensor) -> Tensor:
    """Mean squared error of features read off the codes and deep features of the clean image.

    Both (B, C, h, w); the stage I term that ties codes to what things are.
    """
    return F.mse_loss(predicted.float(), meaning.detach().float())


def contrast(student: Tensor, teacher: Tensor) -> Tensor:
    """InfoNCE of degraded and clean features z, (B, C, h, w) (stage III).

    -log exp(s_ii / τ) / Σ_j exp(s_ij / τ), with s the cosine between two images' features,
    averaged over positions: a degraded image should be nearest to its own clean one.
    """
    ours, theirs = (F.normalize(x.float(), dim=1) for x in (student, teacher.detach()))
    likeness = torch.einsum("ichw,jchw->ijhw", ours, theirs).mean(dim=(2, 3))  # (B, B)
    own = torch.arange(len(likeness), device=likeness.device)
    return F.cross_entropy(likeness / TEMPERATURE, own)


def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the merged representations (B, C, h, w) (stage III)."""
    return F.mse_loss(student.float(), teacher.detach().float())


def style(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the Gram matrices of (B, C, h, w) (stage III)."""
    return F.mse_loss(gram(student), gram(teacher.detach()))


def gram(features: Tensor) -> Tensor:
    """Which channels speak together: (B, C, h, w) → (B, C, C), F·Fᵀ / (h·w)."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def code(student: list[Quantised], teacher: list[Quantised]) -> Tensor:
    """How far the degraded image's features are from the clean image's codes (stage III)."""
    pairs = zip(student, teacher, strict=True)
    return over_books(distance(s.before, t.codes.detach()) for s, t in pairs)


def code_style(student: list[Quantised], teacher: list[Quantised]) -> Tensor:
    """The same by Gram matrices (stage III)."""
    pairs = zip(student, teacher, strict=True)
    return over_books(style(s.before, t.codes) for s, t in pairs)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over positions of the squared distance of vectors (B, D, h, w)."""
    return (a.float() - b.float()).square().sum(1).mean()


def over_books(parts: Iterable[Tensor]) -> Tensor:
    """The mean over codebooks."""
    return torch.stack(list(parts)).mean()


class Guide(NamedTuple):
    """What the stage II network makes of the clean image: features, codes, and both merged."""

    z: Tensor
    quantised: list[Quantised]
    merged: Tensor


@dataclass(frozen=True)
class Compared:
    """A restoration, the clean image, and everyone who has a view of them."""

    restored: Restoration
    clean: Tensor
    guide: Guide | None = None
    perceptual: Perceptual | None = None
    judge: Callable[[Tensor], Tensor] | None = None  # the discriminator's view
    meaning: Callable[[Tensor, Tensor], Tensor] | None = None  # merged, clean → semantic loss
    hole: Tensor | None = None  # (B, 1, H, W), 1 where only the network knows
    flat: float = 0.0  # slopes, of 255 a pixel, that only L1 is to judge

    @property
    def shown(self) -> Tensor:
        """What a user gets: known pixels as they are, (B, 3, H, W)."""
        image = self.restored.image
        return image if self.hole is None else torch.where(self.hole > 0, image, self.clean)

    @cached_property
    def judged(self) -> Tensor:
        """What the perceptual and adversarial losses see, (B, 3, H, W).

        They ask for as much grain on a surface as the photo has, and can't say where; so where
        the target is flat they are shown the target itself.
        """
        if not self.flat:
            return self.shown
        return self.clean + structure(self.clean, self.flat) * (self.shown - self.clean)

    @property
    def share(self) -> Tensor | float:
        """The share of the pixels that the network draws."""
        return 1.0 if self.hole is None else self.hole.mean()

    @property
    def shares(self) -> Tensor | float:
        """The same for each image, (B,)."""
        return 1.0 if self.hole is None else self.hole.float().mean(dim=(1, 2, 3))


def terms(names: Iterable[str], c: Compared) -> dict[str, Tensor]:
    """The named losses; those whose network isn't there are left out."""
    available = image_terms(c) | code_terms(c)
    return {name: available[name]() for name in names if name in available}


def image_terms(c: Compared) -> dict[str, Callable[[], Tensor]]:
    """The losses that look at the picture."""
    available = {"reconstruction": lambda: reconstruction(c.shown, c.clean) / c.share}
    available["psnr"] = lambda: psnr(c.shown, c.clean, c.shares)
    available["coarse"] = lambda: coarse(c.shown, c.clean, c.shares)
    available["comb"] = lambda: comb(c.shown) / c.share
    available["fine"] = lambda: fine(c.shown, c.clean) / c.share
    available["evenness"] = lambda: evenness(c.shown)
    if c.perceptual is not None:
        eye = c.perceptual
        available["perceptual"] = lambda: eye(c.judged, c.clean) / c.share
        available["content"] = lambda: eye.content(c.judged, c.clean) / c.share
    if c.judge is not None:
        judge = c.judge
        available["adversarial"] = lambda: judge(c.judged) / c.share
    return available


def code_terms(c: Compared) -> dict[str, Callable[[], Tensor]]:
    """The losses that look at features and codes."""
    r = c.restored
    available = {
        "codebook": lambda: codebook(r.quantised),
        "commitment": lambda: commitment(r.quantised),
    }
    if c.meaning is not None:
        meaning = c.meaning
        available["semantic"] = lambda: meaning(r.merged, c.clean)
    if c.guide is not None:
        guide = c.guide
        available["contrast"] = lambda: contrast(r.features.z, guide.z)
        available["feature"] = lambda: feature(r.merged, guide.merged)
        available["style"] = lambda: style(r.merged, guide.merged)
        available["code"] = lambda: code(r.quantised, guide.quantised)
        available["code_style"] = lambda: code_style(r.quantised, guide.quantised)
    return available


class Perceptual(nn.Module):
    """A perceptual distance, seen at a random shift, and now and then at another size.

    At one alignment a strided network is blind to some patterns, and a decoder learns to
    draw exactly those.
    """

    def __init__(self, network: PerceptualNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, clean: Tensor) -> Tensor:
        return self.network.loss(*self.seen(image, clean)).mean()

    def content(self, image: Tensor, clean: Tensor) -> Tensor:
        """The same of features as they are (``perceptual.content_distance``)."""
        return self.network.content(*self.seen(image, clean))

    def seen(self, image: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Both as the network is shown them this time."""
        both = torch.cat([image, clean])  # (2B, 3, H, W)
        top, left = torch.randint(8, (2,)).tolist()
        both = both[..., top:, left:]
        resized, factor = torch.rand(2).tolist()
        if resized < RESIZED:
            size = [max(SMALLEST, round((0.75 + 0.5 * factor) * n)) for n in both.shape[-2:]]
            both = F.interpolate(both, size, mode="bilinear")
        ours, theirs = both.chunk(2)
        return ours, theirs


class SemanticHead(nn.Module):
    """Reads the meaning of a clean image off its codes: merged (B, C, h, w) → deep features."""

    def __init__(self, channels: int, network: PerceptualNetwork) -> None:
        super().__init__()
        self.out = nn.Conv2d(channels, network.channels, 1)

    def forward(self, merged: Tensor, meaning: Tensor) -> Tensor:
        predicted = F.interpolate(self.out(merged), meaning.shape[-2:], mode="area")
        return semantic(predicted, meaning)
