"""Enforcement events as the worker makes them, for tests."""

from __future__ import annotations

from typing import Any

from streamproc.contract.decisions import (
    Action,
    Enforcement,
    Kind,
    Limit,
    Mode,
    Reason,
    Subject,
    encode,
    enforcement_id,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000
SECRET = "template_spread saw 41 accounts"  # noqa: S105 - evidence, which no client may be told


def event(
    name: str = "a1", action: Action = "suspend", ts_ms: int = NOW - HOUR, *, kind: Kind = "account", step: int = 0,
    mode: Mode = "enforce", hours: float = 48, limit: Limit | None = None, **more: Any,
) -> bytes:  # fmt: skip
    seq = more.pop("seq", ts_ms * 8 + step)
    expires_ms = more.pop("expires_ms", None if action == "release" else ts_ms + int(hours * HOUR))
    made = Enforcement(
        id=enforcement_id(f"{kind}:{name}", seq, action, "p-1"), ts_ms=ts_ms, seq=seq,
        subject=Subject(kind=kind, id=name), action=action, mode=mode, limit=limit, expires_ms=expires_ms,
        campaign=None, score=0.99, policy="p-1",
        reasons=(Reason(signal="template_spread", family="template", log10_lr=2.0, text=SECRET),),
    )  # fmt: skip
    return encode(made)
