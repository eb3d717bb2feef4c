"""AdaCode: image-adaptive codebooks for everyone's photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adacode_cli.no_home import give_cache

if TYPE_CHECKING:
    from adacode_cli.model.adacode import AdaCode
    from adacode_cli.restore.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["AdaCode", "Restorer", "__version__"]

give_cache()


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch when it is first used, so that importing the package is free."""
    if name == "AdaCode":
        from adacode_cli.model.adacode import AdaCode

        return AdaCode
    if name == "Restorer":
        from adacode_cli.restore.restorer import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
