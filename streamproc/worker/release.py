"""Undoing a wrong campaign: one label, by which the worker releases all of its accounts."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamproc.contract.decisions import Campaign
from streamproc.contract.labels import Label, LabelSubject, encode_label
from streamproc.following import read
from streamproc.settings import SettingsError
from streamproc.worker import topics

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from streamproc.settings import Settings

__all__ = ["ReleaseError", "release"]


class ReleaseError(SettingsError):
    """The campaign cannot be released: one line that says why."""


async def release(settings: Settings, campaign: str, *, who: str, why: str) -> tuple[Label, Campaign]:
    """Write the label `lawful` for the campaign; return it, and how the campaign stood before.

    The label's id follows from the campaign, so that saying it twice is saying it once. Its time is now, or the
    campaign's own where that is later (traffic that is played back may be ahead of the clock).

    Raises:
        ReleaseError: there is no such campaign, or it is cleared or merged into another already.
        SettingsError: the brokers do not answer, or a topic is wrong.
    """
    await topics.ensure(settings)
    try:
        known = await _newest(settings, campaign)
        if known is None:
            raise ReleaseError(f"no campaign {campaign!r} on topic {settings.topics.campaigns}")
        if known.state == "cleared":
            raise ReleaseError(f"campaign {campaign} is cleared already")
        if known.merged_into is not None:
            raise ReleaseError(f"campaign {campaign} is merged into {known.merged_into}: release that one")
        label = Label(
            v=1,
            id=hashlib.blake2b(f"lawful campaign {campaign}".encode(), digest_size=16).hexdigest(),
            ts_ms=max(int(time.time() * 1000), known.ts_ms),
            subject=LabelSubject(kind="campaign", id=campaign),
            label="lawful",
            who=who,
            why=why,
        )
        async with AIOKafkaProducer(**settings.kafka.client_options(), acks="all") as producer:
            await producer.send_and_wait(settings.topics.labels, encode_label(label), key=label.key.encode())
    except KafkaError as reason:
        raise SettingsError(f"KAFKA_BOOTSTRAP_SERVERS: the brokers do not take the label ({reason})") from reason
    return label, known


async def _newest(settings: Settings, campaign: str) -> Campaign | None:
    """Return the campaign's event of greatest seq, None if there is none."""
    found: list[Campaign] = []

    def take(record: ConsumerRecord) -> None:
        if record.key == campaign.encode() and record.value is not None:
            found.append(msgspec.json.decode(record.value, type=Campaign))

    await read(settings.kafka, [settings.topics.campaigns], take)
    return max(found, key=lambda event: event.seq, default=None)
