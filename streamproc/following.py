"""Whole topics from their start, all partitions, without a group: read once to their end, or followed."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from aiokafka import ConsumerRecord, TopicPartition

    from streamproc.settings import KafkaSettings

__all__ = ["Follower", "read"]

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
ASK_EVERY_S: Final = 1.0
ANSWER_WITHIN_S: Final = 5.0
POLL_MS: Final = 200
AT_ONCE: Final = 500  # records taken before others of the event loop get their turn: some 10 ms


async def read(
    kafka: KafkaSettings, topics: Sequence[str], take: Callable[[ConsumerRecord], None], optional: Sequence[str] = ()
) -> None:
    """Hand over every record that the topics hold now, and those of the `optional` ones that are there.

    Raises:
        SettingsError: the brokers do not answer, or a topic is not there.
    """
    options = kafka.client_options()
    try:
        found = await _existing(options)
        missing = set(topics) - found
        if missing:
            raise SettingsError(
                f"there is no topic {', '.join(sorted(missing))}: is KAFKA_BOOTSTRAP_SERVERS the right cluster?"
            )
        async with _consumer(options, [*topics, *found.intersection(optional)]) as consumer:
            left = await _ends(consumer)
            while left:
                await _hand_over(consumer, take, AT_ONCE)
                left = await _left(consumer, left)
    except (KafkaError, OSError) as reason:
        raise SettingsError(f"KAFKA_BOOTSTRAP_SERVERS: no broker answers ({type(reason).__name__})") from reason


class Follower:
    """Hands over what the topics hold and what comes, until it is cancelled; after a failure it begins again.

    `why_not_ready` is None once every partition was read to where it ended when reading began, and stays so. `up` is
    whether the brokers answered when last asked, `answered_s` when they last did (Unix, 0 for never), `lag` how many
    records were not read then, `current` whether none were, and the brokers answer. `heard` is called when one of
    these may have changed. While the brokers are away, `meanwhile` says what that means. `optional` topics are not
    waited for: they are read, with all others anew, once they are there.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Sequence[str],
        take: Callable[[ConsumerRecord], None],
        *,
        optional: Sequence[str] = (),
        heard: Callable[[], None] = lambda: None,
        at_once: int = AT_ONCE,
        meanwhile: str = "what is known stays",
    ) -> None:
        self.why_not_ready: str | None = "the brokers have not answered yet"
        self.up = False
        self.current = False
        self.answered_s = 0.0
        self.lag = 0
        self._kafka, self._topics, self._take = kafka, tuple(topics), take
        self._awaited = set(optional)  # those that were not there when reading began
        self._has_come = False  # one of them is there now
        self._heard, self._at_once, self._meanwhile = heard, at_once, meanwhile
        self._said_up: bool | None = None

    async def run(self) -> None:
        """Follow.

        Raises:
            SettingsError: certificate files that cannot be used.
        """
        options = self._kafka.client_options()
        while True:
            try:
                found = await self._wait_for_topics(options)
                self._topics += tuple(sorted(self._awaited & found))
                self._awaited -= found
                self._has_come = False
                async with _consumer(options, self._topics) as consumer, _beside(self._watch(consumer)):
                    await self._follow(consumer)
            except (KafkaError, OSError) as reason:
                self._say_up(up=False, why=type(reason).__name__)
            await asyncio.sleep(RETRY_S)

    async def _wait_for_topics(self, options: dict[str, Any]) -> set[str]:
        """Return the names of all topics, once those that must be there are."""
        while missing := set(self._topics) - (found := await _existing(options)):
            self._say_up(up=True)
            self.why_not_ready = f"there is no topic {', '.join(sorted(missing))} yet"
            await asyncio.sleep(RETRY_S)
        return found

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Hand over, until an awaited topic has come."""
        left = await _ends(consumer)
        while not self._has_come:
            if self.why_not_ready is not None:
                left = await _left(consumer, left)
                self.why_not_ready = f"{len(left)} partitions are not read to their end" if left else None
                if not left:
                    self.lag = 0
                    log.warning("ready: %s: read to the end", ", ".join(self._topics))
                self._heard()
            self.lag = max(self.lag - await _hand_over(consumer, self._take, self._at_once), 0)
            await asyncio.sleep(0)

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Ask the brokers now and then whether they are there: aiokafka's consumer waits without a word."""
        while True:
            try:
                ends = await asyncio.wait_for(consumer.end_offsets(list(consumer.assignment())), ANSWER_WITHIN_S)
                self.lag = sum([max(end - await consumer.position(place), 0) for place, end in ends.items()])
                if self._awaited:
                    self._has_come = not self._awaited.isdisjoint(await consumer.topics())
            except (KafkaError, TimeoutError) as reason:
                self._say_up(up=False, why=type(reason).__name__)
            else:
                self.current = not self.lag
                self._say_up(up=True)
            await asyncio.sleep(ASK_EVERY_S)

    def _say_up(self, *, up: bool, why: str = "") -> None:
        self.up = up
        self.current = self.current and up
        if up:
            self.answered_s = time.time()
        if up is not self._said_up:
            if up:
                log.warning("the brokers answer")
            else:
                log.error("the brokers do not answer (%s): %s", why, self._meanwhile)
        self._said_up = up
        self._heard()


async def _existing(options: dict[str, Any]) -> set[str]:
    """All topics that are there: asked for by name they would be created, and not as compacted ones."""
    client = AIOKafkaAdminClient(**options)
    try:
        await client.start()
        return set(await client.list_topics())
    finally:
        await client.close()


@asynccontextmanager
async def _consumer(options: dict[str, Any], topics: Sequence[str]) -> AsyncGenerator[AIOKafkaConsumer, None]:
    consumer = AIOKafkaConsumer(*topics, **options, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        await consumer.start()
        yield consumer
    finally:
        with suppress(KafkaError):
            await consumer.stop()


@asynccontextmanager
async def _beside(work: Any) -> AsyncGenerator[None, None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def _ends(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Where the partitions that hold anything end now."""
    ends = await consumer.end_offsets(list(consumer.assignment()))
    return {place: end for place, end in ends.items() if end}


async def _left(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    return {place: end for place, end in ends.items() if await consumer.position(place) < end}


async def _hand_over(consumer: AIOKafkaConsumer, take: Callable[[ConsumerRecord], None], at_once: int) -> int:
    """Hand over what has come, and return how many records that were."""
    fetched = (await consumer.getmany(timeout_ms=POLL_MS, max_records=at_once)).values()
    for records in fetched:
        for record in records:
            take(record)
    return sum(map(len, fetched))
