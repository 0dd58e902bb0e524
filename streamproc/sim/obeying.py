"""A gateway that obeys, as far as made-up traffic needs one: the table of what is in force, buckets, refused events.

It does what `streamproc.gateway` does, which knows of no simulated time and is not imported here.  What made-up
traffic does not show is what a request asks of the capabilities that `restrict` takes: it is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamproc.contract.decisions import Enforcement, Limit

MINUTE_MS = 60_000
# Rung -> the contract's `error` and the status of a refused request. The rungs that are not here serve.
REFUSALS = {"throttle": ("blocked", 429), "suspend": ("suspended", 403)}
# What the model's side adds to an event, which a refused request never came to.
OF_THE_ANSWER = frozenset(
    {
        "refused", "ttft_ms", "duration_ms", "tok_in", "tok_out", "tok_cached", "tok_reasoning", "response_fp",
        "signature_out_fp",
    }
)  # fmt: skip

Event: TypeAlias = Mapping[str, Any]


@dataclass(slots=True)
class Bucket:
    """Fills evenly, up to its capacity; full at first."""

    per_min: float
    capacity: float
    held: float
    ts_ms: int  # when it held that much

    def at(self, ts_ms: int) -> float:
        """What it holds at a time."""
        return min(self.held + (ts_ms - self.ts_ms) * self.per_min / MINUTE_MS, self.capacity)


@dataclass(frozen=True, slots=True)
class Buckets:
    """A throttled account's: a bucket for each rate that the limit names."""

    limit: Limit
    requests: Bucket | None
    tokens: Bucket | None

    @classmethod
    def of(cls, limit: Limit, ts_ms: int) -> Buckets:
        """Full ones, with room for a minute and at least for one request."""
        requests, tokens = limit.requests_per_min, limit.tokens_per_min
        return cls(
            limit,
            None if requests is None else Bucket(requests, room := max(requests, 1.0), room, ts_ms),
            None if tokens is None else Bucket(tokens, tokens, tokens, ts_ms),
        )

    def take(self, tokens: int, ts_ms: int) -> bool:
        """Take one request and its tokens out, or nothing where one bucket lacks them; return whether it was done.

        A request of more tokens than the bucket has room for takes all of it: it must pass some time.
        """
        costs = [(self.requests, 1.0)] if self.requests else []
        costs += [(self.tokens, min(float(tokens), self.tokens.capacity))] if self.tokens else []
        if any(bucket.at(ts_ms) < cost for bucket, cost in costs):
            return False
        for bucket, cost in costs:
            bucket.held, bucket.ts_ms = bucket.at(ts_ms) - cost, ts_ms
        return True


class Gateway:
    """Obeys the newest decision about each account, from its `ts_ms` until it expires; those in shadow it does not."""

    def __init__(self) -> None:
        self._newest: dict[str, Enforcement] = {}
        self._buckets: dict[str, Buckets] = {}

    def take(self, decisions: Iterable[Enforcement]) -> None:
        """Enter decisions, in any order."""
        for decision in decisions:
            account = decision.subject.id
            known = self._newest.get(account)
            if decision.subject.kind == "account" and (known is None or decision.seq > known.seq):
                self._newest[account] = decision

    def refused_by(self, event: Event) -> str | None:
        """The rung that a request is refused by, None if it is served; requests come in order of time."""
        decision = self._newest.get(event["account"])
        if decision is None or not _in_force(decision, event["ts_ms"]) or decision.action not in REFUSALS:
            return None
        if decision.action == "throttle" and self._has_room(decision.limit or Limit(), event):
            return None
        return decision.action

    def _has_room(self, limit: Limit, event: Event) -> bool:
        account, ts_ms = event["account"], event["ts_ms"]
        buckets = self._buckets.get(account)
        if buckets is None or buckets.limit != limit:
            buckets = self._buckets[account] = Buckets.of(limit, ts_ms)
        return buckets.take(_tokens(event), ts_ms)


def _in_force(decision: Enforcement, ts_ms: int) -> bool:
    ends_ms = decision.expires_ms
    return decision.mode == "enforce" and ends_ms is not None and decision.ts_ms <= ts_ms < ends_ms


def _tokens(event: Event) -> int:
    """What a gateway charges before the answer is known: the prompt, and the most that it may be answered with."""
    return int(event.get("tok_in") or 0) + int(event.get("max_tokens") or 0)


def turned_away(event: Event, rung: str) -> dict[str, Any]:
    """The event that a gateway writes of a refused request: nothing of an answer, and why there was none."""
    error, status = REFUSALS[rung]
    asked = {name: value for name, value in event.items() if name not in OF_THE_ANSWER}
    return asked | {"status": status, "error": error}
