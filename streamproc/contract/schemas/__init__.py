"""The JSON Schemas of all that goes in and comes out, as files beside this one."""

from __future__ import annotations

from importlib import resources
from typing import Any

import orjson

NAMES = ("request-event", "enforcement-event", "campaign-event", "label-event", "round-event")


def load(name: str) -> dict[str, Any]:
    """The schema called `name`, one of `NAMES`.

    Raises:
        KeyError: there is no such schema.
    """
    if name not in NAMES:
        raise KeyError(name)
    text = resources.files(__name__).joinpath(f"{name}.schema.json").read_bytes()
    schema: dict[str, Any] = orjson.loads(text)
    return schema
