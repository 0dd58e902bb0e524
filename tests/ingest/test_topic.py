"""Ingest between topics, against a real Kafka where it can run: nothing is lost by a kill, and the halves wait."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamproc import broker, settings
from streamproc.ingest import otlp_protobuf, sources
from streamproc.ingest.metrics import Metrics
from streamproc.ingest.parsing import parse
from streamproc.ingest.record import Json
from streamproc.ingest.sinks import UnavailableError
from streamproc.ingest.stage import Stage
from tests.ingest.world import ENVIRONMENT, RECORDS, VALID, events, maker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

PARTITIONS = 3
RECORDS_IN_ALL = 12_000


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    reason = broker.available()
    if reason is not None:
        pytest.skip(reason)
    with broker.kafka(tmp_path_factory.mktemp("kafka")) as address:
        yield address


async def create(address: str, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    finally:
        await admin.close()


async def produce(address: str, topic: str, *records: tuple[str | None, bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=5) as producer:
        for key, value in records:
            await producer.send(topic, value, key=key.encode() if key else None)
        await producer.flush()


async def read(address: str, topic: str, enough: Callable[[list[Any]], bool], within_s: float = 40) -> list[Any]:
    """The topic's records from its start, once there are enough."""
    found: list[Any] = []
    async with AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        deadline = time.monotonic() + within_s
        while not enough(found):
            assert time.monotonic() < deadline, f"{len(found)} records"
            for some in (await consumer.getmany(timeout_ms=200)).values():
                found += some
    return found


class World:
    """Starts ingests on one broker, and stops what it started."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.log = folder / "ingest.log"
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        told = {
            "KAFKA_BOOTSTRAP_SERVERS": self.address,
            "KAFKA_SESSION_S": "6",
            "HTTP_PORT": "0",
            **ENVIRONMENT,
            **more,
        }
        command = [sys.executable, "-m", "streamproc.cli", "ingest", *arguments]
        with self.log.open("ab") as out:
            process = subprocess.Popen(command, env={**os.environ, **told}, stdout=out, stderr=out)
        self._started.append(process)
        return process

    def kill(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


def play(address: str, folder: Path, story: Callable[[World], Awaitable[None]]) -> None:
    world = World(address, folder)
    try:
        asyncio.run(story(world))  # type: ignore[arg-type]
    finally:
        world.kill()


def numbered(at: int) -> Json:
    record = RECORDS["kong"][0]
    return record | {
        "request": record["request"] | {"id": f"r{at}"}, "consumer": {"id": f"c{at % 50}"},
        "started_at": 1795565427100 + at,
    }  # fmt: skip


def distinct(records: list[Any]) -> dict[str, bytes]:
    return {orjson.loads(record.value)["id"]: record.value for record in records}


async def killed(world: World) -> None:
    await create(world.address, "kong-log", "kong-requests", "kong-accounts")
    await produce(
        world.address,
        "kong-accounts",
        ("c1", b'{"plan": "free"}'),
        ("c1", b'{"plan": "pro"}'),
        ("c2", b'{"plan": "pro"}'),
        ("c2", None),
    )
    await produce(
        world.address, "kong-log", *((None, orjson.dumps(numbered(at))) for at in range(RECORDS_IN_ALL)), (None, b"{")
    )
    arguments = ("--format", "kong", "--from-topic", "kong-log", "--accounts-topic", "kong-accounts")
    topics = {"TOPIC_REQUESTS": "kong-requests", "KAFKA_GROUP": "killed"}
    first = world.start(*arguments, **topics)
    await read(world.address, "kong-requests", lambda found: len(found) > 500)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = await read(world.address, "kong-requests", bool)
    assert len(distinct(before)) < RECORDS_IN_ALL, "the kill came too late to show anything"

    again = world.start(*arguments, **topics)
    found = await read(world.address, "kong-requests", lambda found: len(distinct(found)) == RECORDS_IN_ALL)
    again.send_signal(signal.SIGTERM)
    assert again.wait(20) == 0, world.log.read_text()
    assert len({record.value for record in found}) == RECORDS_IN_ALL, "what came twice is the same to the byte"
    wanted = maker("kong")
    assert set(distinct(found)) == {event["id"] for event in events(wanted, *map(numbered, range(RECORDS_IN_ALL)))}
    plans = {event["account"]: event.get("plan") for event in map(orjson.loads, distinct(found).values())}
    assert [plans[wanted.identity("account", name)] for name in ("c1", "c2", "c3")] == ["pro", None, None]
    assert all(record.key.decode() == orjson.loads(record.value)["account"] for record in found)
    assert "refused: 1, not JSON" in world.log.read_text()
    assert '"c1"' not in world.log.read_text()


def test_a_kill_loses_nothing_and_what_comes_twice_is_the_same(kafka: str, tmp_path: Path) -> None:
    play(kafka, tmp_path, killed)


async def halves(world: World) -> None:
    await create(world.address, "apim-log", "apim-requests")
    models, gateway = RECORDS["apim"]
    pairs = [(models | {"CorrelationId": f"q{at}"}, gateway | {"CorrelationId": f"q{at}"}) for at in range(50)]
    arguments = ("--format", "apim", "--from-topic", "apim-log")
    topics = {"TOPIC_REQUESTS": "apim-requests", "KAFKA_GROUP": "halves"}
    first = world.start(*arguments, **topics)
    await produce(world.address, "apim-log", *((None, orjson.dumps(half)) for half, _ in pairs))
    whole = (models | {"CorrelationId": "whole"}, gateway | {"CorrelationId": "whole"})
    await produce(world.address, "apim-log", *((None, orjson.dumps(half)) for half in whole))
    await read(world.address, "apim-requests", bool)
    first.send_signal(signal.SIGKILL)  # 50 halves wait in its memory alone
    first.wait()
    await produce(world.address, "apim-log", *((None, orjson.dumps(half)) for _, half in pairs))
    world.start(*arguments, **topics)
    found = await read(world.address, "apim-requests", lambda found: len(distinct(found)) == 51)
    for value in distinct(found).values():
        event = orjson.loads(value)
        VALID.validate(event)
        assert (event["tok_in"], event["status"]) == (812, 200)


def test_a_kill_parts_no_halves(kafka: str, tmp_path: Path) -> None:
    play(kafka, tmp_path, halves)


def test_a_collectors_topic_of_protobuf_and_a_file_go_to_the_topic_of_requests(tmp_path: Path) -> None:
    service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=otlp_protobuf.INSTALL
    )
    packed = service.ExportTraceServiceRequest()
    one = packed.resource_spans.add().scope_spans.add().spans.add(start_time_unix_nano=1795565427100000000)
    for key, value in (("gen_ai.request.model", "m"), ("x-account", "acme")):
        one.attributes.add(key=key).value.string_value = value
    said, log = tmp_path / "map.toml", tmp_path / "kong.jsonl"
    said.write_text('[fields]\naccount = "x-account"\n')
    log.write_bytes(b"".join(orjson.dumps(numbered(at)) + b"\n" for at in range(300)))

    async def story(world: World) -> None:
        await produce(world.address, "spans", (None, packed.SerializeToString()))
        world.start("--format", "otlp", "--from-topic", "spans", "--map", str(said))
        done = world.start("--format", "kong", "--input", str(log))
        assert done.wait(30) == 0, world.log.read_text()
        found = await read(world.address, "requests", lambda found: len(found) == 301)
        assert len(distinct(found)) == 301
        missing = world.start("--format", "kong", "--input", str(log), TOPIC_REQUESTS="missing")
        assert missing.wait(30) == 2
        assert "there is no topic missing: `streamproc run` makes it" in world.log.read_text()

    with broker.embedded({"requests": PARTITIONS, "spans": 1}) as address:
        play(address, tmp_path, story)


class Away:
    """Where events go while no broker takes them."""

    def __init__(self) -> None:
        self.tried = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def put(self, events: list[Json]) -> None:
        assert events
        self.tried.set()
        raise UnavailableError("away")


def test_it_stops_when_told_though_the_brokers_take_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STOP_WITHIN_S", 0.2)

    async def story(address: str) -> None:
        kafka = settings.read({"KAFKA_BOOTSTRAP_SERVERS": address, "KAFKA_GROUP": "stops"}).kafka
        await produce(address, "kong-log", (None, orjson.dumps(numbered(1))))
        sink, stop = Away(), asyncio.Event()
        stage = Stage(maker("kong"), sink, parse, None, Counter(), Metrics())
        work = asyncio.create_task(sources.topic(kafka, "kong-log", stage, stop))
        await asyncio.wait_for(sink.tried.wait(), 30)
        stop.set()
        await asyncio.wait_for(work, 10)
        assert stage.metrics.value("ingest_brokers_up") == 0
        async with AIOKafkaConsumer(bootstrap_servers=address, group_id="stops-ingest") as consumer:
            assert await consumer.committed(TopicPartition("kong-log", 0)) is None, "not there, so not done"

    with broker.embedded({"kong-log": 1}) as address:
        asyncio.run(story(address))
