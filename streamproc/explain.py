"""Explaining: events of a replay, or of the topics, gathered to a case that says what was decided, when and why."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from streamproc.contract.decisions import Campaign, Enforcement
from streamproc.contract.errors import EventError
from streamproc.contract.labels import Label, decode_label
from streamproc.contract.rounds import RoundEvent, decode_round
from streamproc.telling import Case, tell_account, tell_campaign
from streamproc.telling.campaigns import tell_members
from streamproc.telling.near import without_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import ConsumerRecord

    from streamproc.settings import Settings

__all__ = ["Gathered", "UnknownSubjectError", "explain", "from_kafka"]


Event = TypeVar("Event", Campaign, Enforcement)


class UnknownSubjectError(LookupError):
    """Nothing was decided about the subject in these events."""


@dataclass(slots=True)
class Gathered:
    """Events, in any order, and where they are from."""

    source: str
    now_ms: int | None = None  # as of when to tell; None: as of the last event
    enforcements: list[Enforcement] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    rounds: list[RoundEvent] = field(default_factory=list)


def explain(subject: str, gathered: Gathered) -> Case:
    """What was decided about `subject`, an account's or a campaign's id.

    Raises:
        UnknownSubjectError: nothing was.
    """
    now_ms = gathered.now_ms
    if now_ms is None:
        now_ms = max([event.ts_ms for event in gathered.enforcements] + [one.ts_ms for one in gathered.campaigns] + [0])
    decisions = tuple(event for event in _by_seq(gathered.enforcements) if event.subject.id == subject)
    named = decisions[-1].campaign if decisions else subject
    states = tuple(event for event in _by_seq(gathered.campaigns) if event.campaign == named)
    if not decisions and not states:
        raise UnknownSubjectError(f"nothing was decided about {subject!r}: no such campaign, or an account left alone")
    newest = {event.subject: event for event in _by_seq(gathered.enforcements)}
    held = [event for event in newest.values() if event.campaign == named]
    others = {event.campaign: event for event in _by_seq(gathered.campaigns)}.values()
    seen = max(gathered.rounds, key=lambda event: event.seq, default=None)
    if seen and decisions:
        seen = without_names(seen)
    account = tell_account(decisions, now_ms, _labels_of(subject, gathered)) if decisions else None
    campaign = tell_campaign(states, held, others, now_ms, _labels_of(named, gathered), seen) if states else None
    members = () if decisions else tell_members(held, now_ms)
    return Case(subject, account, campaign, members, decisions, states, gathered.source)


def from_kafka(settings: Settings) -> Gathered:
    """All that the topics of decisions, rounds and labels hold now; what is no event of theirs is left out.

    Raises:
        SettingsError: the brokers do not answer, or a topic is not there.
    """
    from streamproc.following import read  # noqa: PLC0415 - a file needs no client of Kafka

    topics = settings.topics
    gathered = Gathered("the topics, which keep the newest of each subject", now_ms=int(time.time() * 1000))
    take = {
        topics.enforcement: lambda value: gathered.enforcements.append(_enforcement(value)),
        topics.campaigns: lambda value: gathered.campaigns.append(_campaign(value)),
        topics.rounds: lambda value: gathered.rounds.append(decode_round(value)),
        topics.labels: lambda value: gathered.labels.append(decode_label(value)),
    }

    def hand_over(record: ConsumerRecord) -> None:
        try:
            if record.value is not None:
                take[record.topic](record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, EventError):
            return

    asyncio.run(read(settings.kafka, [name for name in take if name != topics.rounds], hand_over, [topics.rounds]))
    return gathered


def _by_seq(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.seq)


def _labels_of(name: str | None, gathered: Gathered) -> list[Label]:
    return [label for label in gathered.labels if label.subject.id == name]


_enforcement = msgspec.json.Decoder(Enforcement).decode
_campaign = msgspec.json.Decoder(Campaign).decode
