"""One account (or key, payer, organisation): its rungs over time, what holds now, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamproc.telling import words
from streamproc.telling.evidence import LabelTold, Weighed, tell_label, weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.contract.decisions import Action, Enforcement, Kind, Limit, Mode
    from streamproc.contract.labels import Label

__all__ = ["AccountTold", "Step", "ends", "holds", "tell_account"]

MINUTES_A_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Step:
    """One decision. `what` is the rung in words, `ends` and `limit` are empty where there are none."""

    id: str
    ts_ms: int
    action: Action
    mode: Mode
    what: str
    ends: str
    limit: str
    campaign: str | None
    probability: float
    policy: str


@dataclass(frozen=True, slots=True)
class AccountTold:
    """An account of an account, as of `now_ms`; `steps` oldest first."""

    kind: Kind
    id: str
    now_ms: int
    standing: str  # what holds now, in one sentence
    in_force: bool  # whether any rung holds now, shadow counted
    acted_on: bool  # whether gateways act on it now
    campaign: str | None
    probability: float
    steps: tuple[Step, ...]
    evidence: tuple[Weighed, ...]  # of the newest decision that gave any
    labels: tuple[LabelTold, ...]


def holds(event: Enforcement, now_ms: int) -> bool:
    """Whether a subject's newest decision still has a rung in force, shadow counted."""
    return event.action != "release" and event.expires_ms is not None and event.expires_ms > now_ms


def tell_account(decisions: Sequence[Enforcement], now_ms: int, labels: Sequence[Label] = ()) -> AccountTold:
    """Tell the account of one subject's decisions, at least one, in any order.

    Args:
        decisions: what was said of the subject, once or more often each.
        now_ms: as of when; what has lapsed by then does not hold.
        labels: what analysts said of it.
    """
    by_seq = sorted({event.id: event for event in decisions}.values(), key=lambda event: event.seq)
    newest = by_seq[-1]
    reasons = next((event.reasons for event in reversed(by_seq) if event.reasons), ())
    in_force = holds(newest, now_ms)
    return AccountTold(
        kind=newest.subject.kind,
        id=newest.subject.id,
        now_ms=now_ms,
        standing=_standing(newest, now_ms),
        in_force=in_force,
        acted_on=in_force and newest.mode == "enforce",
        campaign=newest.campaign,
        probability=newest.score,
        steps=tuple(_step(event) for event in by_seq),
        evidence=weigh(reasons),
        labels=tuple(tell_label(label) for label in sorted(labels, key=lambda one: one.ts_ms)),
    )


def _step(event: Enforcement) -> Step:
    return Step(
        event.id, event.ts_ms, event.action, event.mode, words.RUNGS[event.action], ends(event),
        _limit(event.limit), event.campaign, event.score, event.policy,
    )  # fmt: skip


def _standing(event: Enforcement, now_ms: int) -> str:
    since = words.stamp(event.ts_ms)
    if event.action == "release":
        return f"Nothing is in force: it was released at {since}."
    if not holds(event, now_ms):
        return f"Nothing is in force: it was {words.RUNGS[event.action]}; that lapsed at {ends(event)}."
    only = " In shadow only: gateways do not act on it." if event.mode == "shadow" else ""
    return f"Since {since} it is {words.RUNGS[event.action]}, until {ends(event)}.{only}"


def ends(event: Enforcement) -> str:
    """When a decision lapses by itself, empty for a release."""
    return "" if event.expires_ms is None else words.stamp(event.expires_ms)


def _rate(per_min: float, what: str) -> str:
    """A rate in the longest unit in which it is small."""
    if 0 < per_min < 1:
        return f"{what} a day: {per_min * MINUTES_A_DAY:,.0f}"
    return f"{what} a minute: {per_min:,g}"


def _limit(limit: Limit | None) -> str:
    """What a limit comes to, in words."""
    if limit is None:
        return ""
    rates = ((limit.requests_per_min, "requests"), (limit.tokens_per_min, "tokens"))
    parts = [_rate(rate, what) for rate, what in rates if rate is not None]
    if limit.capabilities:
        parts.append(f"without {', '.join(limit.capabilities)}")
    return "; ".join(parts)
