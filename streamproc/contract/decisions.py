"""What goes out: enforcement and campaign events, in the order of fields that the schemas have."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Action: TypeAlias = Literal["observe", "verify", "throttle", "restrict", "suspend", "release"]
Family: TypeAlias = Literal["template", "synchrony", "history", "identity", "behaviour", "content"]
Kind: TypeAlias = Literal["account", "org", "key", "payer"]
Mode: TypeAlias = Literal["shadow", "enforce"]
State: TypeAlias = Literal["suspected", "confirmed", "contained", "dormant", "cleared", "merged"]

BESIDE = "; lawful groups of this size: "  # in a reason's text: between what was observed and what was expected

_ID_BYTES = 16


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a decision is about."""

    kind: Kind = "account"
    id: str


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One signal's weight of evidence; `observed` and `expected` are in the signal's own unit."""

    signal: str
    family: Family
    log10_lr: float
    observed: float | None = None
    expected: float | None = None
    text: str


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What throttle and restrict come to; what is None is left out."""

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    capabilities: tuple[str, ...] | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a request event's field that the members share, and how many accounts share it."""

    field: str
    value: str
    accounts: int


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force for one subject from now on."""

    v: Literal[1] = 1
    id: str
    ts_ms: int
    seq: int
    subject: Subject
    action: Action
    mode: Mode
    limit: Limit | None = None
    expires_ms: int | None
    campaign: str | None
    score: float
    reasons: tuple[Reason, ...]
    policy: str

    @property
    def key(self) -> str:
        """The key of the message, e.g. `account:a1`."""
        return f"{self.subject.kind}:{self.subject.id}"


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of one suspected campaign."""

    v: Literal[1] = 1
    campaign: str
    seq: int
    ts_ms: int
    state: State
    first_seen_ms: int
    members: int
    exchanges: int
    leaked_before_action: int
    log10_lr: float
    families: tuple[Family, ...]
    evidence: tuple[Reason, ...]
    links: tuple[Link, ...]
    capabilities: dict[str, float]
    predecessor: str | None
    merged_into: str | None
    blind: tuple[str, ...]
    policy: str

    @property
    def key(self) -> str:
        """The key of the message: the campaign's id."""
        return self.campaign


def encode(event: Enforcement | Campaign) -> bytes:
    """The event as one JSON object on one line, without its line's end; the same bytes for equal events.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
        TypeError: a value is of a type that the contract does not know, such as a number of numpy's.
    """
    check_finite(event.key, _weights(event))
    return _encode(event)


def check_finite(key: str, numbers: Iterable[float | None]) -> None:
    """See that every number can be said in JSON.

    Raises:
        ValueError: one is not finite; the text names the `key` of its message.
    """
    for number in numbers:
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{key}: {number} is not finite")


def weights_of(reasons: Iterable[Reason]) -> list[float | None]:
    """Every number of some reasons."""
    return [one for reason in reasons for one in (reason.log10_lr, reason.observed, reason.expected)]


def enforcement_id(subject: str, seq: int, action: str, policy: str) -> str:
    """The deterministic id of a decision, 32 hex digits; `subject` is its key, e.g. `account:a1`."""
    digest = hashlib.blake2b(digest_size=_ID_BYTES)
    for part in (subject, str(seq), action, policy):
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "little") + raw)  # with its length, so that no two lists run together
    return digest.hexdigest()


def _weights(event: Enforcement | Campaign) -> list[float | None]:
    """Every number of the event that is computed."""
    if isinstance(event, Enforcement):
        own: list[float | None] = [event.score]
        if event.limit:
            own += [event.limit.requests_per_min, event.limit.tokens_per_min]
        reasons = event.reasons
    else:
        own = [event.log10_lr, *event.capabilities.values()]
        reasons = event.evidence
    return own + weights_of(reasons)


_encode = msgspec.json.Encoder().encode
