"""AdaCode among the models of the Hub: what is behind from_pretrained and its kin.

Apart from the network, because the Hub's client takes a sixth of PyTorch's time to import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE

from adacode_cli.model import checkpoint
from adacode_cli.model.adacode import AdaCode
from adacode_cli.model.outline import outlined


class PretrainedAdaCode(  # type: ignore[misc]  # the mixin's methods win
    PyTorchModelHubMixin,
    AdaCode,
    library_name="adacode",
    tags=["image-restoration", "super-resolution", "vector-quantization"],
    license="mit",
):
    """The network, and its ways to a folder, to the Hub and from there."""

    def _save_pretrained(self, save_directory: Path) -> None:
        checkpoint.save(save_directory / SAFETENSORS_SINGLE_FILE, self.config, self.state_dict())

    @classmethod
    def _from_pretrained(  # type: ignore[override]  # a file gives an instance of ``cls``
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **others: Any,
    ) -> AdaCode:
        # The mixin hands on config.json, which our files don't need.
        if unknown := sorted(others.keys() - {"config"}):
            raise TypeError(f"from_pretrained() knows no {', '.join(unknown)}")
        if Path(model_id).is_dir():
            return cls.from_file(Path(model_id) / SAFETENSORS_SINGLE_FILE)
        path = hf_hub_download(
            model_id,
            SAFETENSORS_SINGLE_FILE,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls.from_file(path)


def pretrained(model: AdaCode) -> PretrainedAdaCode:
    """The same network, sharing its tensors, with the ways to the Hub."""
    with outlined():
        twin = PretrainedAdaCode(model.config)
    twin.load_state_dict(model.state_dict(), assign=True)
    return twin
