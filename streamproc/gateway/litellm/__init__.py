"""LiteLLM's proxy as a gateway: one object that observes every request and obeys the verdicts.

    litellm_settings:
      callbacks: streamproc.gateway.litellm.instance

`instance` begins its work when it is first asked for, which LiteLLM does as it reads its configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamproc.gateway.litellm.hooks import Hooks

    instance: Hooks

__all__ = ["instance"]


def __getattr__(name: str) -> Hooks:
    if name != "instance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamproc.gateway.litellm.hooks import Hooks  # noqa: PLC0415 - importing LiteLLM takes seconds

    made = Hooks()
    globals()[name] = made
    return made
