"""The table's reader: follows the compacted topic `enforcement` from its start, all partitions, without a group."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streamproc.gateway.gate import now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiokafka import TopicPartition

    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.verdicts import Verdicts
    from streamproc.settings import KafkaSettings

__all__ = ["Reader"]

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
ASK_EVERY_S: Final = 1.0
ANSWER_WITHIN_S: Final = 5.0
POLL_MS: Final = 200
MOST_RECORDS: Final = 2_000  # taken before others of the event loop get their turn: some 10 ms


class Reader:
    """Keeps `verdicts` as the topic has it, until it is cancelled.

    `why_not_ready` is None once every partition was read to where it ended when reading began; it stays so when the
    brokers go away, for what is known then goes on to hold until it lapses. `current` is whether the topic's end was
    reached when the brokers last answered, and they do.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, verdicts: Verdicts, metrics: Metrics) -> None:
        self.why_not_ready: str | None = "the brokers have not answered yet"
        self.current = False
        self._kafka = kafka
        self._topic = topic
        self._verdicts = verdicts
        self._metrics = metrics
        self._up: bool | None = None

    async def run(self) -> None:
        """Read; after every failure begin again.

        Raises:
            SettingsError: certificate files that cannot be used.
        """
        options = self._kafka.client_options()
        while True:
            try:
                await self._wait_for_topic(options)
                await self._session(options)
            except (KafkaError, OSError) as reason:
                self._say_up(up=False, why=type(reason).__name__)
            await asyncio.sleep(RETRY_S)

    async def _wait_for_topic(self, options: dict[str, object]) -> None:
        """Return once the topic exists: asked for by name it would be created, and not as a compacted one."""
        async with _admin(options) as admin:
            while self._topic not in await admin.list_topics():
                self._say_up(up=True)
                self.why_not_ready = f"there is no topic {self._topic} yet"
                await asyncio.sleep(RETRY_S)

    async def _session(self, options: dict[str, object]) -> None:
        consumer = AIOKafkaConsumer(self._topic, **options, auto_offset_reset="earliest", enable_auto_commit=False)
        try:
            await consumer.start()
            watching = asyncio.create_task(self._watch(consumer))
            try:
                await self._follow(consumer)
            finally:
                watching.cancel()
        finally:
            with suppress(KafkaError):
                await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(consumer.assignment()))
        left = {place for place, end in ends.items() if end}
        while True:
            if self.why_not_ready is not None:
                left = {place for place in left if await consumer.position(place) < ends[place]}
                self._say_left(len(left))
            for records in (await consumer.getmany(timeout_ms=POLL_MS, max_records=MOST_RECORDS)).values():
                for record in records:
                    now = now_ms()
                    self._verdicts.take(record.value, now, record.key or b"")
                    if self.why_not_ready is None:
                        self._metrics.observe("gateway_delay_seconds", max(now - record.timestamp, 0) / 1000)
            await asyncio.sleep(0)

    def _say_left(self, left: int) -> None:
        self.why_not_ready = f"{left} partitions of {self._topic} are not read to their end" if left else None
        self._metrics.set("gateway_ready", not left)
        if not left:
            log.warning("ready: %d subjects are known", len(self._verdicts))

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Ask the brokers now and then whether they are there: aiokafka's consumer waits without a word."""
        while True:
            try:
                places = list(consumer.assignment())
                ends = await asyncio.wait_for(consumer.end_offsets(places), ANSWER_WITHIN_S)
                lag = sum([max(ends[place] - await consumer.position(place), 0) for place in places])
            except (KafkaError, TimeoutError) as reason:
                self._say_up(up=False, why=type(reason).__name__)
            else:
                self._say_up(up=True)
                self.current = not lag
                self._metrics.set("gateway_lag_events", lag)
            await asyncio.sleep(ASK_EVERY_S)

    def _say_up(self, *, up: bool, why: str = "") -> None:
        self._metrics.set("gateway_broker_up", up)
        self.current = self.current and up
        if up is not self._up:
            if up:
                log.warning("the brokers answer")
            else:
                log.error("the brokers do not answer (%s): verdicts stay as they are, and lapse", why)
        self._up = up


@asynccontextmanager
async def _admin(options: dict[str, object]) -> AsyncGenerator[AIOKafkaAdminClient, None]:
    client = AIOKafkaAdminClient(**options)
    try:
        await client.start()
        yield client
    finally:
        await client.close()
