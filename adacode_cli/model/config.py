"""What one AdaCode network is, in numbers: enough to build it and to load its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Family = Literal["official", "lite"]
Task = Literal["reconstruct", "sr", "inpaint"]

# The prior lives at stride 8 of the restored image (paper, section 3.1).
CODE_STRIDE = 8
FARTHEST = 3  # halvings beyond it, at most


def usual_scale(task: str) -> int:
    """The magnification where nobody names one."""
    return 4 if task == "sr" else 1


@dataclass(frozen=True)
class CodebookConfig:
    """One basis codebook: the class it was learned on, how many codes, how long each is."""

    name: str
    codes: int
    dim: int


@dataclass(frozen=True)
class AdaCodeConfig:
    """The shape of an AdaCode network.

    ``widths`` are the channels at strides 1, 2, 4 and 8 of the restored image, for
    both families; at stride 1 the lite family has nothing but the picture.
    ``scale`` is the magnification: 1, 2 or 4.

    Raises ``ValueError``, naming the field, when the numbers don't describe a network.
    """

    family: Family
    task: Task
    scale: int
    codebooks: tuple[CodebookConfig, ...]
    widths: tuple[int, int, int, int]
    in_channels: int = 3  # 4 with the mask of lite inpainting
    # lite only: residual blocks of the encoder and the decoder at strides 4 and 8
    encoder_depths: tuple[int, int] = (2, 2)
    decoder_depths: tuple[int, int] = (3, 1)
    # lite restoration: whether strides 8 and 2, too, go around the codes
    deep_skip: bool = False
    fine_skip: bool = False
    # lite restoration: residual blocks at strides 16, 32 and so on, as far as there are numbers
    far_depths: tuple[int, ...] = ()
    subpixel: bool = False  # lite only: whether kernels of their own draw each part of a pixel

    def __post_init__(self) -> None:
        if self.family not in get_args(Family):
            raise ValueError(f"family is {self.family!r}; it must be one of {get_args(Family)}")
        if self.task not in get_args(Task):
            raise ValueError(f"task is {self.task!r}; it must be one of {get_args(Task)}")
        if type(self.scale) is not int or self.scale not in (1, 2, 4):
            raise ValueError(f"scale is {self.scale!r}; it must be 1, 2 or 4")
        if not self.codebooks:
            raise ValueError("codebooks is empty; AdaCode needs at least one")
        for name in ("deep_skip", "fine_skip", "subpixel"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be true or false")
        if self.fine_skip and self.scale == 4:
            raise ValueError("fine_skip is true; at ×4 the input has nothing at stride 2")
        self.check_lengths()
        self.check_sizes()

    def check_lengths(self) -> None:
        """Raise ``ValueError`` where there are more or fewer numbers than places for them."""
        if len(self.widths) != 4:
            raise ValueError(f"widths is {self.widths}; it must be four channel counts")
        if len(self.encoder_depths) != 2 or len(self.decoder_depths) != 2:
            raise ValueError("encoder_depths and decoder_depths must be two numbers each")
        if len(self.far_depths) > FARTHEST:
            raise ValueError(f"far_depths is {self.far_depths}; at most {FARTHEST} numbers")

    def check_sizes(self) -> None:
        """Raise ``ValueError`` for a number that no network has: a file may claim anything."""
        for field, values, least, largest in (
            ("widths", self.widths, 1, 4096),
            ("in_channels", (self.in_channels,), 3, 4),
            ("encoder_depths", self.encoder_depths, 0, 64),
            ("decoder_depths", self.decoder_depths, 0, 64),
            ("far_depths", self.far_depths, 0, 64),
            ("codebooks", (len(self.codebooks),), 1, 256),
            ("codes", [book.codes for book in self.codebooks], 1, 1 << 20),
            ("dim", [book.dim for book in self.codebooks], 1, 4096),
        ):
            for value in values:
                if type(value) is not int or not least <= value <= largest:
                    raise ValueError(f"{field} has {value!r}; it must be {least} to {largest}")

    @property
    def multiple(self) -> int:
        """The input's height and width must be multiples of this many pixels."""
        window = 8 if self.family == "official" else 2 ** len(self.far_depths)
        return max(1, CODE_STRIDE * window // self.scale)

    def restoring(self, task: Task, scale: int) -> AdaCodeConfig:
        """A network for ``task`` with this one's codebooks and decoder (stage III)."""
        if self.family == "official":
            return replace(self, task=task, scale=scale)
        return replace(
            self,
            task=task,
            scale=scale,
            in_channels=4 if task == "inpaint" else 3,
            encoder_depths=(1, 4),  # a block at stride 8 sees twice as far for half the price
            deep_skip=True,
            fine_skip=scale < 4,
            # At ×2 what is missing is detail, which is near.
            far_depths=() if scale == 2 else (2, 2),
            subpixel=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> AdaCodeConfig:
        """The inverse of ``to_dict``. Raises ``ValueError`` on a missing or unknown field."""
        try:
            codebooks = tuple(CodebookConfig(**book) for book in fields["codebooks"])
            lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list | tuple)}
            return cls(**{**fields, **lists, "codebooks": codebooks})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an AdaCode configuration: {error}") from error


def lite_config(
    task: Task,
    scale: int,
    codebooks: tuple[CodebookConfig, ...],
) -> AdaCodeConfig:
    """The bundled family: small and fast on a CPU, with 16-dimensional codes."""
    return AdaCodeConfig(
        family="lite",
        task=task,
        scale=scale,
        codebooks=codebooks,
        widths=(3, 32, 64, 128),
        subpixel=True,
    )


PUBLISHED_CODEBOOKS = tuple(
    CodebookConfig(name, codes, 256)
    for name, codes in (
        ("architectures", 512),
        ("indoor_objects", 256),
        ("natural_scenes", 512),
        ("street_views", 256),
        ("portraits", 256),
    )
)


def official_config(task: Task, scale: int) -> AdaCodeConfig:
    """One of the published networks (paper, section 4.1)."""
    return AdaCodeConfig(
        family="official",
        task=task,
        scale=scale,
        codebooks=PUBLISHED_CODEBOOKS,
        widths=(64, 128, 256, 256),
    )
