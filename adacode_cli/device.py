"""Where to compute, and in which precision."""

from __future__ import annotations

import warnings

import torch

from adacode_cli.errors import UsageError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISION_NAMES = {dtype: name for name, dtype in PRECISIONS.items()}


class DeviceError(ValueError):
    """A device that was asked for and isn't there."""


def resolve_device(name: str | torch.device) -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:N', 'mps' or PyTorch's own, as a device of this machine.

    Raises ``UsageError`` for a word that names no device, ``DeviceError`` for a device that
    isn't there: what was asked for is never silently replaced.
    """
    name = str(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"no device is called {name!r}; use auto, cpu, cuda, cuda:N or mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no mps device on this machine; use --device cpu")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"{name}: this machine has {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return torch.device(name)


def free_bytes(device: torch.device) -> int:
    """About what this process may still take of a GPU's own memory; 0 of any other device's.

    0, too, where others have left so little that the GPU can't even be asked.
    """
    if device.type != "cuda":
        return 0
    try:
        free, _ = torch.cuda.mem_get_info(device)
    except RuntimeError:
        return 0
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def keep_fp32_exact() -> None:
    """Convolve float32 as such on a GPU, too, where PyTorch takes TF32, of 10 bits, by itself.

    Who asks for fp32 wants the picture that a CPU makes; bf16 is the fast way. For a program,
    not for a library: it holds for the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a newer name, which PyTorch 2.6 doesn't know
        torch.backends.cudnn.allow_tf32 = False


def has_fast_bf16(kind: str) -> bool:
    """Whether the hardware multiplies bf16 faster than fp32: CUDA from Ampere on, some CPUs.

    With AMX it is 5 to 7 times as fast; with ``avx512_bf16`` twice on AMD's processors, and half
    on Intel's, whose dot product of bf16 starts on one port of two (docs/PERFORMANCE.md).
    """
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities.get("amx_bf16"):
        return True
    return bool(capabilities.get("avx512_bf16")) and "Intel" not in str(
        capabilities.get("cpu_name")
    )


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """'auto' is bf16 where the hardware multiplies it natively, else fp32.

    Raises ``UsageError`` for a word that names no precision, ``DeviceError`` for one that
    the device lacks.
    """
    if name == "auto":
        return torch.bfloat16 if has_fast_bf16(device.type) else torch.float32
    if name not in PRECISIONS:
        raise UsageError(f"no precision is called {name!r}; use auto, fp32, bf16 or fp16")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 is for GPUs; use --precision fp32 or bf16 on the CPU")
    return PRECISIONS[name]
