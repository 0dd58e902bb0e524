"""The play: events into Kafka no faster than the worker reads, and what comes out of it taken down."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streamproc import settings
from streamproc.contract.decisions import Campaign, Enforcement
from streamproc.core import policy
from streamproc.demo.children import PARTITIONS
from streamproc.demo.telling import DemoError, number, say
from streamproc.lines import open_lines
from streamproc.sim.evaluate import HOUR_MS, STOPPING
from streamproc.sim.events import START_MS
from streamproc.worker.feed import feed
from streamproc.worker.uses_topic import Idle, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

__all__ = ["Heard", "Played", "play"]

# The embedded broker forgets what lies more than some 5 MB back in a partition; an event has 1 KB, a batch of
# uses up to 140 KB.
MOST_EVENTS_AHEAD: Final = 8_000
MOST_BATCHES_AHEAD: Final = 12
STALLED_AFTER_S: Final = 60.0
LOOK_EVERY_S: Final = 0.1
SAY_EVERY_S: Final = 2.0


@dataclass(slots=True)
class Heard:
    """What came out of the worker so far."""

    started_ms: int
    decisions: list[Enforcement] = field(default_factory=list)
    campaigns: dict[str, list[Campaign]] = field(default_factory=dict)
    acted_on: set[str] = field(default_factory=set)

    def take_decision(self, value: bytes) -> None:
        """Note a decision."""
        event = msgspec.json.decode(value, type=Enforcement)
        self.decisions.append(event)
        if event.action in STOPPING:
            self.acted_on.add(event.subject.id)

    def take_campaign(self, value: bytes) -> None:
        """Note a campaign's state, and say so when it is another one."""
        event = msgspec.json.decode(value, type=Campaign)
        states = self.campaigns.setdefault(event.campaign, [])
        before = states[-1].state if states else None
        states.append(event)
        if event.state != before:
            hours = (event.ts_ms - event.first_seen_ms) / HOUR_MS
            say(
                f"  {self.clock(event.ts_ms)}  campaign {event.campaign} {event.state}: {event.members} accounts, "
                f"{hours:.1f} h old"
            )

    def clock(self, ts_ms: int) -> str:
        """Return event time as day and time of the stream."""
        minutes = max(ts_ms - self.started_ms, 0) // 60_000
        return f"day {minutes // 1440 + 1} {minutes // 60 % 24:02}:{minutes % 60:02}"


@dataclass(slots=True)
class Played:
    """What happened, and how long it took from the first event to the last decision."""

    heard: Heard
    events: int
    seconds: float


class _Watch:
    """What the worker's metrics say, asked for at most every so often."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._url = session, f"http://127.0.0.1:{port}/metrics"
        self._values: dict[str, float] = {}

    def __getitem__(self, series: str) -> float:
        return self._values.get(f"streamproc_{series}", 0.0)

    async def until(self, done: Callable[[], bool]) -> None:
        """Look again and again until `done`.

        Raises:
            DemoError: the worker is gone, or does nothing any more.
        """
        moved, moved_s = -1.0, time.monotonic()
        while True:
            await self._look()
            if done():
                return
            now = self["events_total"] + self['next_offset{partition="0",topic="uses"}']
            if now != moved:
                moved, moved_s = now, time.monotonic()
            if time.monotonic() - moved_s > STALLED_AFTER_S:
                raise DemoError(f"the worker has stopped working: {int(self['events_total']):,} events are read")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        try:
            async with self._session.get(self._url) as answer:
                text = await answer.text()
        except aiohttp.ClientError as reason:
            raise DemoError(f"the worker is gone ({reason}); --keep DIR keeps its log") from reason
        rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        self._values = {series: float(value) for series, _, value in rows}


async def play(folder: Path, address: str, port: int, count: int) -> Played:
    """Send the `count` events of the folder's file, and return once everything is decided.

    Raises:
        DemoError: the worker is gone, or does nothing any more.
    """
    told = settings.read({"KAFKA_BOOTSTRAP_SERVERS": address})
    heard = Heard(START_MS)
    started = time.monotonic()
    async with aiohttp.ClientSession() as session, _listening(told, heard):
        watch = _Watch(session, port)
        teller = asyncio.create_task(_tell(watch, heard, count))
        last_ms = 0

        def lines() -> Iterator[bytes]:
            nonlocal last_ms
            with open_lines(folder / "events.jsonl") as file:
                for line in file:
                    last_ms = max(last_ms, msgspec.json.decode(line, type=_Timed).ts_ms)
                    yield line

        async def hold_back(sent: int) -> None:
            await watch.until(
                lambda: (
                    sent - watch["events_total"] < MOST_EVENTS_AHEAD
                    and watch['lag_events{partition="0",topic="uses"}'] < MOST_BATCHES_AHEAD
                )
            )

        try:
            await feed(told.kafka, told.topics.requests, lines(), hold_back)
            await watch.until(lambda: watch["events_total"] >= count)
            end = await _say_the_end(told, last_ms)
            await watch.until(
                lambda: (
                    watch['next_offset{partition="0",topic="uses"}'] > end
                    and watch['snapshot_age_seconds{reducer="campaigns"}'] == 0
                )  # so all that it said has been sent
            )
        finally:
            teller.cancel()
    return Played(heard, count, time.monotonic() - started)


class _Timed(msgspec.Struct):
    ts_ms: int


async def _say_the_end(told: settings.Settings, last_ms: int) -> int:
    """Say that every partition is over, as a replay does at a file's end; returns the last mark's offset."""
    slot_ms = policy.default().time.slot_s * 1000
    end_ms = (last_ms // slot_ms + 1) * slot_ms
    async with AIOKafkaProducer(**told.kafka.client_options()) as producer:
        marks = [encode(Idle(partition, end_ms)) for partition in range(PARTITIONS)]
        sent = [await producer.send_and_wait(told.topics.uses, mark) for mark in marks]
    return max(int(place.offset) for place in sent)


@asynccontextmanager
async def _listening(told: settings.Settings, heard: Heard) -> AsyncIterator[None]:
    """Take in decisions and campaigns as they come, and at the end those that are still on their way."""
    topics = told.topics
    take = {topics.enforcement: heard.take_decision, topics.campaigns: heard.take_campaign}
    options = told.kafka.client_options() | {"auto_offset_reset": "earliest", "fetch_max_wait_ms": 50}
    async with AIOKafkaConsumer(*take, **options) as consumer:

        async def listen(until: dict[TopicPartition, int] | None = None) -> None:
            while until is None or any([await consumer.position(place) < end for place, end in until.items()]):
                for place, records in (await consumer.getmany(timeout_ms=100)).items():
                    for record in records:
                        take[place.topic](record.value)

        listener = asyncio.create_task(listen())
        try:
            yield
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
        await listen(await consumer.end_offsets(list(consumer.assignment())))


async def _tell(watch: _Watch, heard: Heard, count: int) -> None:
    """Say every now and then how far the worker is."""
    started = time.monotonic()
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        read = int(watch["events_total"])
        rate = read / (time.monotonic() - started)
        rounds = int(watch["round_seconds_count"])
        say(
            f"  {read:,} of {count:,} events, {rate:,.0f}/s, {rounds} rounds, "
            f"{number(len(heard.campaigns), 'campaign')}, {number(len(heard.acted_on), 'account')} stopped"
        )
