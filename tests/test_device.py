"""Where to compute, and in which precision."""

from __future__ import annotations

import pytest
import torch

from adacode_cli.device import DeviceError, free_bytes, resolve_device, resolve_precision
from adacode_cli.errors import UsageError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "amx_bf16": False, "cpu_name": "AMD EPYC"}, torch.float32),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "AMD EPYC"}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, torch.float32),
    ],
)
def test_the_faster_precision_is_taken(
    capabilities: dict[str, object], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", CPU) is expected
    assert resolve_precision("bf16", CPU) is torch.bfloat16


def test_what_is_not_there_is_said() -> None:
    for name in ("gpu", "cpu:1", "cuda:x", "mps:0"):
        with pytest.raises(UsageError, match=f"no device is called '{name}'"):
            resolve_device(name)
    with pytest.raises(DeviceError, match="cuda:64: this machine has"):
        resolve_device("cuda:64")
    with pytest.raises(UsageError, match="no precision is called 'double'"):
        resolve_precision("double", CPU)
    with pytest.raises(DeviceError, match="fp16 is for GPUs"):
        resolve_precision("fp16", CPU)


def test_a_gpu_that_cannot_be_asked_has_nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_device: torch.device) -> tuple[int, int]:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", full)
    assert free_bytes(torch.device("cuda")) == 0
    assert free_bytes(torch.device("cpu")) == 0
