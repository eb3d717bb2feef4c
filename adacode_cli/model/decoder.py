"""G: the image-adaptive representation becomes a picture (paper, equation 5)."""

from __future__ import annotations

from torch import Tensor, nn

from adacode_cli.model.blocks import (
    MirroredUpsample,
    Subpixel,
    add_skip,
    conv3,
    conv_upsample,
    he_,
    norm_level_up,
    res_blocks,
)
from adacode_cli.model.config import CODE_STRIDE, AdaCodeConfig
from adacode_cli.model.encoder import Features
from adacode_cli.model.enlarge import enlarge


class Decoder(nn.Module):
    """The published decoder: (B, C, h, w) → (B, 3, 8h, 8w)."""

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__()
        at1, at2, at4, at8 = config.widths
        self.up = nn.ModuleList(
            [norm_level_up(at8, at4), norm_level_up(at4, at2), norm_level_up(at2, at1)]
        )
        self.out = conv3(at1, 3)

    def forward(self, merged: Tensor, features: Features) -> Tensor:
        skip4, skip2 = features.skips
        x = self.up[0](merged)  # (B, C₄, 2h, 2w)
        x = self.up[1](add_skip(x, skip4))  # (B, C₂, 4h, 4w)
        x = self.up[2](add_skip(x, skip2))  # (B, C₁, 8h, 8w)
        return self.out(x)


class LiteDecoder(nn.Module):
    """A base picture, enlarged, plus the detail it lacks: (B, C, h, w) → (B, 3, 8h, 8w).

    A restoration knows its base: the degraded input. A reconstruction has only the
    codes, and draws its base from them at stride 4.
    """

    def __init__(self, config: AdaCodeConfig) -> None:
        super().__init__()
        _, at2, at4, at8 = config.widths
        depth4, depth8 = config.decoder_depths
        self.blocks8 = res_blocks(at8, depth8)
        self.up4 = conv_upsample(at8, at4)
        self.blocks4 = res_blocks(at4, depth4)
        self.base = he_(conv3(at4, 3), gain=0.1)
        self.subpixel = Subpixel(at4, at2) if config.subpixel else None
        self.detail = nn.Sequential(
            conv_upsample(at4, at2),
            nn.LeakyReLU(0.2, inplace=True),
            he_(conv3(at2, at2)),
            nn.LeakyReLU(0.2, inplace=True),
            he_(conv3(at2, at2)),
            nn.LeakyReLU(0.2, inplace=True),
            MirroredUpsample(at2, 3, gain=0.1, free=config.subpixel),
        )

    def forward(self, merged: Tensor, features: Features) -> Tensor:
        x = self.up4(self.blocks8(merged))  # (B, C₄, 2h, 2w)
        skip4, skip2 = features.skips
        x = self.blocks4(add_skip(x, skip4))
        base = self.base(x) + 0.5 if features.base is None else features.base
        enlarged = enlarge(base, CODE_STRIDE * merged.shape[-1] // base.shape[-1])
        fine = add_skip(self.detail[0](x), skip2)  # (B, C₂, 4h, 4w)
        if self.subpixel is not None:
            fine = fine + self.subpixel(x)
        return enlarged + self.detail[1:](fine).float()  # (B, 3, 8h, 8w)
