"""What a round saw and did not act on: one event a round, in the order of fields that its schema has."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from streamproc.contract.decisions import Family, Link, Reason, State, check_finite, weights_of
from streamproc.contract.errors import EventError
from streamproc.contract.fields import MOST_MS

__all__ = ["KEY", "CampaignRound", "Community", "Outsider", "RoundEvent", "Short", "decode_round", "encode_round"]

KEY: Final = "round"  # of every message: the newest round is the whole truth

Short: TypeAlias = Literal["score", "families", "organisations"]


class Community(msgspec.Struct, frozen=True, kw_only=True):
    """A community that was no hit; `margin` is what its score lacks to the threshold, `short_of` why it was none."""

    view_hours: int
    accounts: int
    organisations: int
    score: float  # log10, carried on from round to round, in the memory that is nearer to its threshold
    threshold: float  # of that memory
    log10_lr: float  # of this round alone
    families: tuple[Family, ...]
    short_of: tuple[Short, ...]
    campaign: str | None  # that most of its accounts are held to be members of, or were in the last hit of
    evidence: tuple[Reason, ...]
    links: tuple[Link, ...]

    @property
    def margin(self) -> float:
        """Score above the threshold; negative below it."""
        return self.score - self.threshold


class Outsider(msgspec.Struct, frozen=True, kw_only=True):
    """An account that uses a campaign's core and is not held to be a member."""

    account: str
    requests: int  # in the core
    components: int  # of the core
    share: float  # of its traffic that lies in the core
    exclusive: float  # of the holders of the core's components that it uses, the share that are members


class CampaignRound(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign stood in the round; requests are its members' since the round before."""

    campaign: str
    state: State
    hits: int  # rounds in which it was hit, those kept
    log10_lr: float | None  # of this round's hit, None if there was none
    withheld: bool  # only the day's budget of confirmations leaves it suspected
    served: int
    turned_away: int  # by enforcement, as their events' `error` says
    outsiders: int
    nearest: tuple[Outsider, ...]


class RoundEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What one round saw; communities by how near to a threshold they came."""

    v: Literal[1] = 1
    seq: int
    ts_ms: int
    since_ms: int  # event time from which requests are counted
    until_ms: int
    accounts: int  # active in the longest view
    communities: int  # in the longest view
    nearest: tuple[Community, ...]
    campaigns: tuple[CampaignRound, ...]
    policy: str

    @property
    def key(self) -> str:
        """The key of the message."""
        return KEY


def encode_round(event: RoundEvent) -> bytes:
    """The event as one JSON object on one line, without its line's end; the same bytes for equal events.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    for one in event.nearest:
        check_finite(KEY, (one.score, one.threshold, one.log10_lr, *weights_of(one.evidence)))
    check_finite(KEY, (one.log10_lr for one in event.campaigns))
    return _encode(event)


def decode_round(value: bytes) -> RoundEvent:
    """Read a round event.

    Raises:
        EventError: it is none; the text holds nothing of the content.
    """
    try:
        event = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("no_event", type(error).__name__) from None
    if not all(0 <= time_ms <= MOST_MS for time_ms in (event.ts_ms, event.since_ms, event.until_ms)):
        raise EventError("mistyped_field", "a time is none")
    return event


_decode = msgspec.json.Decoder(RoundEvent).decode
_encode = msgspec.json.Encoder().encode
