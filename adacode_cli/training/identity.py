"""What tells one run from another, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from adacode_cli.model.config import AdaCodeConfig

FEW = range(4, 10)  # photos of a class, of which earlier versions kept none aside
NAMES = ("network", "seed", "number of photos in each class", "losses")  # of an identity's parts


def differences(before: str, now: str) -> str:
    """What differs between two identities as the trainer writes them, the earlier one first."""
    parts = zip_longest(NAMES, json.loads(before), json.loads(now), fillvalue=None)
    told = [line for name, *pair in parts for line in compared(str(name), *pair)]
    return "; ".join(told)


def as_now(state: dict[str, Any], now: str) -> str:
    """The identity in a state, in which an earlier version may have told less than is told now.

    A configuration may lack fields; a class of a few photos counts them all, where one is now
    kept aside. Such states don't say how many are.
    """
    config, seed, photos, *others = json.loads(state["run"])
    here = json.loads(now)[2]
    if "aside" not in state and len(photos) == len(here):
        pairs = zip(photos, here, strict=True)
        photos = [n - 1 if n in FEW and n - 1 == left else n for n, left in pairs]
    return json.dumps([AdaCodeConfig.from_dict(config).to_dict(), seed, photos, *others])


def compared(name: str, before: Any, now: Any) -> Iterator[str]:
    """Nothing where two parts are equal, else a line; of networks, one for each field."""
    if isinstance(before, dict) and isinstance(now, dict):
        for field in sorted(before.keys() | now.keys()):
            yield from compared(field, before.get(field), now.get(field))
    elif before != now:
        yield f"{name} {brief(before)} there, {brief(now)} here"


def brief(value: Any) -> str:
    """A value on a line: the codebooks by name and size."""
    if isinstance(value, list):
        return ", ".join(map(brief, value)) or "none"
    if isinstance(value, dict):
        return " ".join(map(str, value.values()))
    return str(value)
