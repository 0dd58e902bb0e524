"""One enforcement event to what the table keeps of it; whatever does not look like the worker's is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, NoReturn, TypeAlias

import msgspec
from msgspec import Meta

from streamproc.contract.decisions import Action, Family, Kind, Mode
from streamproc.contract.errors import EventError
from streamproc.contract.fields import MOST_MS, Id, Time
from streamproc.contract.reading import FAILURES, TEXTS, BadReason, check_size

__all__ = ["MOST_HELD_MS", "Held", "HeldLimit", "HeldSubject", "Refusal", "decode"]

MOST_HELD_MS: Final = 366 * 86_400_000  # a policy's rungs hold for 365 days at most
SEQ_STEPS: Final = 8  # decisions of one millisecond: `seq` is ts_ms x 8 and a kind below 8

PerMinute: TypeAlias = Annotated[float, Meta(ge=0)]
Name: TypeAlias = Annotated[str, Meta(max_length=128)]


class Refusal(StrEnum):
    """Why an enforcement event is ignored."""

    EMPTY = BadReason.EMPTY.value
    TOO_LARGE = BadReason.TOO_LARGE.value
    NOT_JSON = BadReason.NOT_JSON.value
    NOT_OBJECT = BadReason.NOT_OBJECT.value
    MISSING_FIELD = BadReason.MISSING_FIELD.value
    MISTYPED_FIELD = BadReason.MISTYPED_FIELD.value
    BAD_VERSION = BadReason.BAD_VERSION.value
    FUTURE = BadReason.FUTURE.value
    OTHER_KEY = "other_key"
    ABSURD_SEQ = "absurd_seq"
    ABSURD_END = "absurd_end"


class HeldSubject(msgspec.Struct, frozen=True, gc=False):
    """Whom a decision is about."""

    kind: Kind
    id: Id


class HeldLimit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What throttle and restrict come to."""

    requests_per_min: PerMinute | None = None
    tokens_per_min: PerMinute | None = None
    capabilities: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=64)] | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A decision without its evidence: nothing of that can be told to a client by mistake."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    ts_ms: Time
    seq: Annotated[int, Meta(ge=1, le=MOST_MS * SEQ_STEPS)]
    subject: HeldSubject
    action: Action
    mode: Mode
    limit: HeldLimit | None = None
    expires_ms: Time | None
    campaign: Name | None
    policy: Name

    @property
    def key(self) -> str:
        """The key of its message, e.g. `account:a1`."""
        return f"{self.subject.kind}:{self.subject.id}"


class _Reason(msgspec.Struct, gc=False):
    """Evidence is checked for its form and not kept."""

    signal: str
    family: Family
    log10_lr: float
    text: str
    observed: float | None = None
    expected: float | None = None


class _Event(Held, frozen=True, kw_only=True, gc=False):
    """The whole event, as the schema has it."""

    v: Literal[1]
    score: Annotated[float, Meta(ge=0, le=1)]
    reasons: tuple[_Reason, ...]


class _Version(msgspec.Struct):
    v: int = 1


def decode(value: bytes, key: bytes | None, now_ms: int, ahead_ms: int) -> Held:
    """Read one enforcement event strictly: a wrong one would stop somebody.

    `key` is its message's, None where there is none to compare. A decision of later than `now_ms` + `ahead_ms` is
    of the future.

    Raises:
        EventError: it is not the worker's; its reason is a `Refusal`, its detail has nothing of the content.
    """
    check_size(value)
    try:
        event = _event(value) if _version(value).v == 1 else _refuse(Refusal.BAD_VERSION, TEXTS[BadReason.BAD_VERSION])
    except msgspec.ValidationError as error:
        raise _mistake(str(error)) from None
    except EventError:
        raise
    except FAILURES:
        raise EventError(Refusal.NOT_JSON, TEXTS[BadReason.NOT_JSON]) from None
    held = Held(**{name: getattr(event, name) for name in Held.__struct_fields__})
    for wrong, reason, detail in _absurdities(held, key, now_ms + ahead_ms):
        if wrong:
            _refuse(reason, detail)
    return held


def _absurdities(held: Held, key: bytes | None, latest_ms: int) -> tuple[tuple[bool, Refusal, str], ...]:
    ends = held.expires_ms is not None and held.ts_ms < held.expires_ms <= held.ts_ms + MOST_HELD_MS
    return (
        (key is not None and key != held.key.encode(), Refusal.OTHER_KEY, "the message's key is not its subject"),
        (held.ts_ms > latest_ms, Refusal.FUTURE, "ts_ms is ahead of the clock"),
        (held.seq >= (held.ts_ms + 1) * SEQ_STEPS, Refusal.ABSURD_SEQ, "seq is larger than its ts_ms allows"),
        (held.action != "release" and not ends, Refusal.ABSURD_END, "it never ends, or after more than a year"),
    )


def _refuse(reason: Refusal, detail: str) -> NoReturn:
    raise EventError(reason, detail)


def _mistake(message: str) -> EventError:
    """The decoder's word on what is not valid, told apart by kind and without the value."""
    what, _, place = message.partition(" - at `$.")
    if "missing required field" in what:
        return EventError(Refusal.MISSING_FIELD, "a required field is left out")
    if not place and what.startswith("Expected `object`"):
        return EventError(Refusal.NOT_OBJECT, TEXTS[BadReason.NOT_OBJECT])
    return EventError(Refusal.MISTYPED_FIELD, "a field is not what the schema says")


_version = msgspec.json.Decoder(_Version).decode
_event = msgspec.json.Decoder(_Event).decode
