from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streamproc import settings
from streamproc.worker import topics
from streamproc.worker.runs import MAX_RUN_RECORDS
from streamproc.worker.state import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RECORDS = 20_000
PARTITIONS = 4
WORKER = Path(__file__).with_name("counting_worker.py")


async def produce(address: str, topic: str, numbers: Iterable[int]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=20) as producer:
        for number in numbers:
            await producer.send(topic, str(number).encode(), partition=number % PARTITIONS)


async def offsets(address: str, group: str, topic: str) -> tuple[list[int], list[int]]:
    """Return what the group has committed, and the ends, by partition."""
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=address, group_id=group) as consumer:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        return [await consumer.committed(place) or 0 for place in places], [ends[place] for place in places]


class Workers:
    """Workers of one group on one topic, with one log."""

    def __init__(self, address: str, topic: str, folder: Path) -> None:
        self.address, self.topic, self.group = address, topic, f"group-{topic}"
        self.folder = folder
        self.log = folder / "runs.jsonl"
        self.state = folder / "state"
        self.started: list[subprocess.Popen[bytes]] = []
        self.output = folder / "workers.log"

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.address,
            "KAFKA_GROUP": self.group,
            "KAFKA_SESSION_S": "6",
        }
        with self.output.open("ab") as out:
            command = [sys.executable, str(WORKER), self.topic, str(self.log), *options]
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=self.folder)
        self.started.append(process)
        return process

    def rows(self) -> list[list[int]]:
        """Return [pid, partition, first, next, and the state after it: next, count, sum] of each run."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def wait(self, done: Callable[[], Any], within_s: float = 40) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline, self.output.read_text()[-4000:]
            time.sleep(0.05)

    def all_counted(self, records: int) -> Callable[[], bool]:
        return lambda: sum({row[1]: row[5] for row in self.rows()}.values()) >= records

    def offsets(self) -> tuple[list[int], list[int]]:
        return asyncio.run(offsets(self.address, self.group, self.topic))


@pytest.fixture
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, str], Workers]]:
    made: list[Workers] = []

    def make(broker: str, topic: str) -> Workers:
        made.append(Workers(request.getfixturevalue(broker), topic, tmp_path))
        return made[-1]

    yield make
    for process in (process for group in made for process in group.started):
        process.kill()
        process.wait()


def counts(group: Workers) -> dict[int, tuple[int, int]]:
    """Return the last count and sum of each partition."""
    return {row[1]: (row[5], row[6]) for row in group.rows()}


def expected(records: int) -> dict[int, tuple[int, int]]:
    shares = [range(partition, records, PARTITIONS) for partition in range(PARTITIONS)]
    return {partition: (len(share), sum(share)) for partition, share in enumerate(shares)}


@pytest.mark.parametrize("broker", ["embedded_broker", "real_kafka"])
def test_an_agent_gets_every_record_once_in_runs(broker: str, workers: Callable[[str, str], Workers]) -> None:
    group = workers(broker, "read-in-runs")
    asyncio.run(produce(group.address, group.topic, range(RECORDS)))
    process = group.start()
    group.wait(group.all_counted(RECORDS))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, group.output.read_text()
    assert counts(group) == expected(RECORDS)
    assert {path.name for path in group.folder.iterdir()} == {"runs.jsonl", "workers.log"}, "it leaves no folders"
    sizes = [row[3] - row[2] for row in group.rows()]
    assert sum(sizes) == RECORDS
    assert max(sizes) <= MAX_RUN_RECORDS
    assert len(sizes) < RECORDS / 100
    committed, ends = group.offsets()
    assert committed == ends


def test_a_killed_worker_loses_nothing_and_its_state_counts_each_record_once(
    workers: Callable[[str, str], Workers],
) -> None:
    group = workers("real_kafka", "killed")
    asyncio.run(produce(group.address, group.topic, range(RECORDS)))
    options = ("--state", str(group.state), "--slow", "0.25")
    killed = group.start(*options)
    group.wait(lambda: len(group.rows()) >= 6)
    killed.kill()
    committed, ends = group.offsets()
    store = StateStore(str(group.state))
    saved = [json.loads(store.load(f"counts-{p}") or b"[0]")[0] for p in range(PARTITIONS)]
    assert all(offset <= position for offset, position in zip(committed, saved, strict=True))
    assert sum(saved) > 0, "it was killed before its first snapshot: nothing was shown"
    assert sum(committed) < sum(ends), "it was killed after its work: nothing was shown"

    successor = group.start(*options)
    group.wait(group.all_counted(RECORDS))
    successor.send_signal(signal.SIGTERM)
    assert successor.wait(60) == 0, group.output.read_text()
    assert counts(group) == expected(RECORDS)
    assert group.offsets() == (ends, ends)
    by_first = {row[1]: row[2] for row in reversed(group.rows()) if row[0] == successor.pid}
    assert [by_first[p] for p in range(PARTITIONS) if p in by_first] == [
        saved[p] for p in range(PARTITIONS) if p in by_first
    ], "the successor goes on where the snapshots end"


def test_partitions_change_hands_in_good_order_without_a_repeat(
    workers: Callable[[str, str], Workers],
) -> None:
    group = workers("real_kafka", "shared")
    asyncio.run(produce(group.address, group.topic, range(RECORDS)))
    options = ("--state", str(group.state), "--slow", "0.4")
    first = group.start(*options)
    group.wait(lambda: len(group.rows()) >= 2)
    second = group.start(*options)
    records = RECORDS
    while not any(row[0] == second.pid for row in group.rows()):  # until it has joined, and had something to do
        assert records < 2 * RECORDS, group.output.read_text()
        asyncio.run(produce(group.address, group.topic, range(records, records + 400)))
        records += 400
        time.sleep(0.5)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0, group.output.read_text()
    group.wait(group.all_counted(records))
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0, group.output.read_text()
    assert counts(group) == expected(records)
    committed, ends = group.offsets()
    assert committed == ends
    handled = Counter((row[1], offset) for row in group.rows() for offset in range(row[2], row[3]))
    assert set(handled.values()) == {1}


def test_a_run_that_fails_stops_the_worker_and_is_not_committed(
    workers: Callable[[str, str], Workers],
) -> None:
    group = workers("real_kafka", "poisoned")
    asyncio.run(produce(group.address, group.topic, range(400)))
    process = group.start()
    group.wait(group.all_counted(400))
    asyncio.run(produce(group.address, group.topic, [-1]))
    assert process.wait(60) == 1
    committed, ends = group.offsets()
    assert sum(committed) <= 400 < sum(ends)
    assert "a poisoned record" in group.output.read_text()


def test_a_torn_snapshot_is_made_good_by_reading_again_from_the_one_before(
    workers: Callable[[str, str], Workers],
) -> None:
    group = workers("real_kafka", "torn")
    asyncio.run(produce(group.address, group.topic, range(400)))
    first = group.start("--state", str(group.state))
    group.wait(group.all_counted(400))
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0, group.output.read_text()
    committed, ends = group.offsets()
    assert committed == ends

    for snapshot in group.state.iterdir():
        snapshot.write_bytes(snapshot.read_bytes()[:-1])
    store = StateStore(str(group.state))
    for partition in range(PARTITIONS):
        before = range(partition, 200, PARTITIONS)
        state = [len(before), len(before), sum(before)]
        store.save(f"counts-{partition}", len(before), json.dumps(state).encode())
    group.log.unlink()
    second = group.start("--state", str(group.state))
    group.wait(group.all_counted(400))
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0, group.output.read_text()
    assert counts(group) == expected(400)


def test_a_snapshot_that_cannot_be_understood_stops_the_worker(workers: Callable[[str, str], Workers]) -> None:
    group = workers("embedded_broker", "read-in-runs")
    StateStore(str(group.state)).save("counts-0", 5, b"from another version")
    process = group.start("--state", str(group.state))
    assert process.wait(60) == 1
    assert "JSONDecodeError" in group.output.read_text()


def test_topics_are_created_and_found_right(real_kafka: str) -> None:
    told = settings.read(
        {"KAFKA_BOOTSTRAP_SERVERS": real_kafka, "KAFKA_PARTITIONS": "3", "TOPIC_REQUESTS": "made.requests"}
    )
    first = asyncio.run(topics.ensure(told))
    assert first == {
        "made.requests": 3,
        "requests.dead": 1,
        "uses": 1,
        "enforcement": 3,
        "campaigns": 1,
        "rounds": 1,
        "labels": 1,
    }
    assert asyncio.run(topics.ensure(told)) == first


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"TOPIC_USES": "wide", "KAFKA_PARTITIONS": "2"}, "topic wide has 2 partitions, must have 1"),
        ({"TOPIC_LABELS": "wide"}, "topic wide has cleanup.policy=delete, must have compact"),
    ],
)
def test_a_topic_that_is_set_wrongly_is_refused_in_one_line(real_kafka: str, wrong: dict[str, str], line: str) -> None:
    wide = {"KAFKA_BOOTSTRAP_SERVERS": real_kafka, "TOPIC_REQUESTS": "wide", "KAFKA_PARTITIONS": "2"}
    asyncio.run(topics.ensure(settings.read(wide)))
    told = settings.read({"KAFKA_BOOTSTRAP_SERVERS": real_kafka, "TOPIC_REQUESTS": "other", **wrong})
    with pytest.raises(topics.TopicError, match=line) as caught:
        asyncio.run(topics.ensure(told))
    assert "\n" not in str(caught.value)


def test_a_broker_that_creates_none_is_told_apart_from_one_that_has_them(embedded_broker: str) -> None:
    lacking = settings.read({"KAFKA_BOOTSTRAP_SERVERS": embedded_broker})
    with pytest.raises(topics.TopicError, match=r"create them: .*--topic labels --partitions 1 .*compact"):
        asyncio.run(topics.ensure(lacking))
    having = settings.read({"KAFKA_BOOTSTRAP_SERVERS": embedded_broker, "TOPIC_LABELS": "read-in-runs"})
    found = asyncio.run(topics.ensure(having))
    assert found["requests"] == 3
    assert "rounds" not in found  # it is optional


def test_no_broker_is_said_in_one_line() -> None:
    told = settings.read({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    with pytest.raises(settings.SettingsError, match=r"KAFKA_BOOTSTRAP_SERVERS: no broker answers"):
        asyncio.run(topics.ensure(told))
