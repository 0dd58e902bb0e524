"""What follows the topics: a real Kafka that is there, has no topics yet, goes away and comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamproc import broker, following, settings
from streamproc.following import Follower
from tests.gateway.test_limiter import Kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from aiokafka import ConsumerRecord

TOPICS = ("one", "two")


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Kafka]:
    if (reason := broker.available()) is not None:
        pytest.skip(reason)
    made = Kafka(tmp_path / "kafka")
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def create(address: str, *topics: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        await client.create_topics([NewTopic(topic, 2, 1) for topic in topics or TOPICS])
    finally:
        await client.close()


async def produce(address: str, *values: bytes, topics: Sequence[str] = TOPICS) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for topic in topics:
            for value in values:
                await producer.send_and_wait(topic, value)


async def until(done: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not done():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)


async def story(kafka: Kafka) -> None:
    heard: list[tuple[str, bytes]] = []

    def take(record: ConsumerRecord) -> None:
        heard.append((record.topic, record.value))

    follower = Follower(settings.read({"KAFKA_BOOTSTRAP_SERVERS": kafka.address}).kafka, TOPICS, take)
    running = asyncio.create_task(follower.run())
    await until(lambda: follower.why_not_ready == "there is no topic one, two yet")
    assert follower.up
    await create(kafka.address)
    await produce(kafka.address, b"a")
    await until(lambda: follower.why_not_ready is None and len(heard) == 2)
    kafka.stop()
    await until(lambda: not follower.up)
    answered_s = follower.answered_s
    assert follower.why_not_ready is None  # what was read stays
    kafka.start()
    await produce(kafka.address, b"b")
    await until(lambda: follower.up and len(heard) == 4 and not follower.lag)
    assert sorted(heard) == [("one", b"a"), ("one", b"b"), ("two", b"a"), ("two", b"b")]
    assert follower.answered_s > answered_s
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def optional_story(kafka: Kafka) -> None:
    heard: list[tuple[str, bytes]] = []

    def take(record: ConsumerRecord) -> None:
        heard.append((record.topic, record.value))

    told = settings.read({"KAFKA_BOOTSTRAP_SERVERS": kafka.address}).kafka
    await create(kafka.address)
    await produce(kafka.address, b"a")
    follower = Follower(told, TOPICS, take, optional=("three",))
    running = asyncio.create_task(follower.run())
    await until(lambda: follower.why_not_ready is None and len(heard) == 2)
    await following.read(told, TOPICS, take, ("three",))
    assert len(heard) == 4
    await create(kafka.address, "three")
    await produce(kafka.address, b"b", topics=("three",))
    await until(lambda: ("three", b"b") in heard)
    assert follower.why_not_ready is None
    await following.read(told, TOPICS, take, ("three",))
    assert heard[-3:].count(("three", b"b")) == 1
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_an_optional_topic_is_not_waited_for_and_read_once_it_is_there(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "ASK_EVERY_S", 0.1)
    asyncio.run(optional_story(kafka))


def test_it_waits_for_topics_says_when_the_brokers_are_away_and_goes_on(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(following, "ANSWER_WITHIN_S", 1.0)
    asyncio.run(story(kafka))
