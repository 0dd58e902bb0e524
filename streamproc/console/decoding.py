"""Messages of the topics to events of the contract, strictly; equal evidence is kept once."""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from streamproc.contract.decisions import Action, Campaign, Enforcement, Kind, Limit, Mode, Reason, Subject
from streamproc.contract.errors import EventError
from streamproc.contract.fields import MOST_MS, Id, Time
from streamproc.contract.labels import Label, decode_label

__all__ = ["Decoder"]

MOST_SHARED: Final = 4_096  # pieces of evidence that are recognised again

Name = Annotated[str, Meta(max_length=128)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class _Subject(msgspec.Struct, frozen=True):
    kind: Kind
    id: Id


class _Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """An enforcement event whose evidence is not looked into yet: all members of a campaign have the same."""

    v: Literal[1]
    id: Name
    ts_ms: Time
    seq: Annotated[int, Meta(ge=0, le=8 * MOST_MS)]
    subject: _Subject
    action: Action
    mode: Mode
    limit: Limit | None = None
    expires_ms: Time | None
    campaign: Name | None
    score: Probability
    reasons: msgspec.Raw
    policy: Name


class Decoder:
    """Decodes; what is no event raises EventError, whose text holds nothing of the content."""

    def __init__(self) -> None:
        self._shared: dict[bytes, tuple[Reason, ...]] = {}

    def enforcement(self, value: bytes) -> Enforcement:
        """Decode an enforcement event."""
        try:
            read = _enforcement(value)
            reasons = self._reasons(bytes(read.reasons))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _no_event(error) from None
        campaign = None if read.campaign is None else sys.intern(read.campaign)
        return Enforcement(
            id=read.id,
            ts_ms=read.ts_ms,
            seq=read.seq,
            subject=Subject(kind=read.subject.kind, id=read.subject.id),
            action=read.action,
            mode=read.mode,
            limit=read.limit,
            expires_ms=read.expires_ms,
            campaign=campaign,
            score=read.score,
            reasons=reasons,
            policy=sys.intern(read.policy),
        )

    def campaign(self, value: bytes) -> Campaign:
        """Decode a campaign event."""
        try:
            event = _campaign(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _no_event(error) from None
        if not (0 <= event.first_seen_ms <= MOST_MS and 0 <= event.ts_ms <= MOST_MS):
            raise EventError("mistyped_field", "a time is none")
        return event

    def label(self, value: bytes) -> Label:
        """Decode a label event."""
        return decode_label(value)

    def _reasons(self, raw: bytes) -> tuple[Reason, ...]:
        found = self._shared.get(raw)
        if found is None:
            if len(self._shared) >= MOST_SHARED:
                self._shared.clear()
            found = self._shared[raw] = _reasons(raw)
        return found


def _no_event(error: Exception) -> EventError:
    return EventError("no_event", type(error).__name__)


_enforcement = msgspec.json.Decoder(_Enforcement).decode
_campaign = msgspec.json.Decoder(Campaign).decode
_reasons = msgspec.json.Decoder(tuple[Reason, ...]).decode
