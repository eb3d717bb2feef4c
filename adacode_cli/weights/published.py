"""The layout of the authors' released checkpoints, renamed to ours.

A release is a torch file ``{'params': state_dict}``. The configuration isn't in it: it is
read off the tensors' shapes.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from adacode_cli.model.checkpoint import Checkpoint, CheckpointError
from adacode_cli.model.config import PUBLISHED_CODEBOOKS, AdaCodeConfig, CodebookConfig

# Left over from training, or recomputed by us.
NOT_WEIGHTS = re.compile(
    r"^(contrast_cri|weight_cri|conv_semantic|vgg_feat_extractor)\."
    r"|\.(relative_position_index|attn_mask)$"
)

# Theirs → ours. {down} is the number of levels that halve the size, read off the file.
RENAMES = (
    (r"^multiscale_encoder\.in_conv\.", "encoder.first."),
    (r"^multiscale_encoder\.blocks\.(\d+)\.swin_blks\.", "encoder.swin.groups."),
    (r"^weight_predictor\.blocks\.0\.swin_blks\.", "weight_map.swin.groups."),
    (r"^weight_predictor\.blocks\.1\.", "weight_map.out."),
    (r"^quantize_group\.(\d+)\.embedding\.weight$", r"codebooks.\1.codes"),
    (r"^before_quant_group\.(\d+)\.", r"codebooks.\1.before.0."),
    (r"^after_quant_group\.(\d+)\.", r"codebooks.\1.after."),
    (r"^decoder_group\.(\d+)\.block\.", r"decoder.up.\1."),
    (r"^out_conv\.", "decoder.out."),
    (r"\.residual_group\.blocks\.", ".blocks."),
    (r"\.attn\.relative_position_bias_table$", ".attention.bias_table"),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
    (r"\.conv\.0\.norm\.", ".norm1."),
    (r"\.conv\.2\.", ".conv1."),
    (r"\.conv\.3\.norm\.", ".norm2."),
    (r"\.conv\.5\.", ".conv2."),
)
ENCODER_LEVEL = re.compile(r"^multiscale_encoder\.blocks\.(\d+)\.(?=\d)")


def rename(name: str, down: int) -> str:
    """One of their tensor names in our words; ``down`` is the number of encoder levels."""
    level = ENCODER_LEVEL.match(name)
    if level:
        i = int(level.group(1))
        ours = f"encoder.down.{i}." if i < down else f"encoder.up.{i - down - 1}."
        name = ours + name[level.end() :]
    for theirs, our in RENAMES:
        name = re.sub(theirs, our, name)
    return name


def infer_config(state: Mapping[str, Tensor]) -> AdaCodeConfig:
    """The configuration behind a published state dict (their names).

    Raises ``KeyError`` or ``ValueError`` when the tensors are not those of an AdaCode network.
    """
    down = count_levels(state)
    restores = any(".swin_blks." in name for name in state if name.startswith("multiscale"))
    outer = [state[f"decoder_group.{i}.block.1.weight"].shape[0] for i in (2, 1, 0)]
    deepest = state["before_quant_group.0.weight"].shape[1]
    scale = 2 ** (3 - down)
    return AdaCodeConfig(
        family="official",
        task="reconstruct" if not restores else "sr" if scale > 1 else "inpaint",
        scale=scale,
        codebooks=infer_codebooks(state),
        widths=(outer[0], outer[1], outer[2], deepest),
        in_channels=state["multiscale_encoder.in_conv.weight"].shape[1],
    )


def count_levels(state: Mapping[str, Tensor]) -> int:
    """How many encoder levels start with a stride-2 convolution (theirs have index 0)."""
    return sum(
        bool(re.fullmatch(r"multiscale_encoder\.blocks\.\d+\.0\.weight", name)) for name in state
    )


def infer_codebooks(state: Mapping[str, Tensor]) -> tuple[CodebookConfig, ...]:
    """Codebooks by their embeddings; named after the paper's classes where the sizes agree."""
    shapes: list[tuple[int, int]] = []
    while (name := f"quantize_group.{len(shapes)}.embedding.weight") in state:
        codes, dim = state[name].shape
        shapes.append((codes, dim))
    if shapes == [(book.codes, book.dim) for book in PUBLISHED_CODEBOOKS]:
        return PUBLISHED_CODEBOOKS
    return tuple(CodebookConfig(f"class_{i}", n, dim) for i, (n, dim) in enumerate(shapes))


def convert(state: Mapping[str, Tensor]) -> Checkpoint:
    """A published state dict in our names, with its configuration."""
    weights = {name: t for name, t in state.items() if not NOT_WEIGHTS.search(name)}
    config = infer_config(weights)
    down = count_levels(weights)
    return Checkpoint(config, {rename(name, down): t for name, t in weights.items()})


def read(path: Path) -> Checkpoint:
    """Read a released ``.pth`` file; no code in it is run.

    Raises ``CheckpointError`` naming the path and the problem.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how a file that we may refuse was pickled
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused: it holds more than tensors, or is no torch file"
        ) from error
    except EOFError as error:  # which has no words
        raise CheckpointError(f"{path}: it is empty, or ends too early") from error
    except Exception as error:  # damage comes out as whatever the unpickler stumbled over
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{path}: not a readable torch file ({reason})") from error
    state = stored.get("params") if isinstance(stored, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: has no 'params', so it is not a published AdaCode file")
    refuse_others(state, path)
    try:
        return convert(state)
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: not a published AdaCode network: {error}") from error


def refuse_others(state: Mapping[object, object], path: Path) -> None:
    """Raise ``CheckpointError`` for what isn't tensors by name, or claims more than it holds."""
    claimed = 0
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path}: {name!r} in its 'params' is no tensor")
        claimed += tensor.numel() * tensor.element_size()
    # A tensor can repeat a few bytes without end; a released file stores every value once.
    if claimed > 2 * path.stat().st_size:
        raise CheckpointError(f"{path}: its tensors claim {claimed / 1e6:.0f} MB, more than it has")
