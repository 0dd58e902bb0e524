"""The whole way for tests: events into Kafka, `streamproc run` as processes, what came out; and what replay says."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from streamproc.contract.decisions import encode
from streamproc.contract.rounds import encode_round
from streamproc.core import policy as policies
from streamproc.replay import Replayed, replay
from streamproc.sim import scenario
from streamproc.worker.uses_topic import Idle
from streamproc.worker.uses_topic import encode as encode_message
from tests import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARTITIONS = 4
# The packaged policy with more rounds, shorter views and lower thresholds, so that a short stream brings decisions.
EAGER = {
    "round_slots": "6",
    "view_hours": "[24, 12]",
    "thresholds": "[[-0.5, -0.5], [-0.5, -0.5]]",
    "min_families": "1",
    "max_new_per_day": "40",
}


def write_policy(path: Path) -> Path:
    text = policies.default_text().decode()
    for key, value in EAGER.items():
        text, found = re.subn(rf"(?m)^{key} *=.*$", f"{key} = {value}", text)
        assert found == 1, key
    path.write_text(text)
    return path


@dataclass(frozen=True)
class Traffic:
    """A stream of events with what a replay of it decides."""

    lines: list[bytes]
    accounts: list[bytes]  # of each line: the key
    end_ms: int  # the end of the last slot that holds an event
    policy: Path
    replayed: Replayed

    @staticmethod
    def make(folder: Path, *, accounts: int, days: float, seed: int) -> Traffic:
        policy_path = write_policy(folder / "policy.toml")
        policy = policies.parse(policy_path.read_bytes())
        stream = scenario.simulate("sync_pool", seed=seed, accounts=accounts, days=days)
        lines = [orjson.dumps(event) for event in stream.events]
        slot_ms = policy.time.slot_s * 1000
        last_ms = max(event["ts_ms"] for event in stream.events)
        return Traffic(
            lines,
            [event["account"].encode() for event in stream.events],
            (last_ms // slot_ms + 1) * slot_ms,
            policy_path,
            replay(lines, policy, PARTITIONS),
        )

    def enforcements(self) -> set[bytes]:
        return set(map(encode, self.replayed.enforcements))

    def campaigns(self) -> set[bytes]:
        return set(map(encode, self.replayed.campaigns))

    def rounds(self) -> set[bytes]:
        return set(map(encode_round, self.replayed.surveys))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """A worker with the port of its metrics."""

    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body, (0, "") while nobody answers."""
        return asking.get(f"http://127.0.0.1:{self.port}{path}", within_s=5)

    def value(self, name: str) -> float:
        """Return the sum of a metric's series."""
        rows = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines() if not line.startswith("#"))
        return sum(float(value) for series, _, value in rows if series.partition("{")[0] == f"streamproc_{name}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Pipeline:
    """Workers of one group on topics of their own."""

    address: str
    name: str  # before the topics' names; empty for the plain ones
    folder: Path
    policy: Path
    started: list[Process] = field(default_factory=list)

    def topic(self, setting: str) -> str:
        plain = {"dead": "requests.dead"}.get(setting, setting)
        return f"{self.name}.{plain}" if self.name else plain

    def environment(self, port: int, **more: str) -> dict[str, str]:
        names = ("requests", "dead", "uses", "enforcement", "campaigns", "rounds", "labels")
        return {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.address,
            "KAFKA_GROUP": f"group-{self.name}",
            "KAFKA_SESSION_S": "6",
            "KAFKA_PARTITIONS": str(PARTITIONS),
            "STATE_URL": str(self.folder / "state"),
            "POLICY": str(self.policy),
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(port),
            "SNAPSHOT_S": "1",
            **{f"TOPIC_{name.upper()}": self.topic(name) for name in names},
            **more,
        }

    def start(self, **more: str) -> Process:
        """Start a worker and return once it is ready."""
        port = free_port()
        with (self.folder / "workers.log").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamproc.cli", "run"], env=self.environment(port, **more),
                stdout=out, stderr=out, cwd=self.folder,
            )  # fmt: skip
        self.started.append(Process(process, port))
        worker = self.started[-1]
        self.wait(lambda: worker.get("/readyz")[0] == 200)
        return worker

    def wait(self, done: Callable[[], Any], within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def log(self) -> str:
        return (self.folder / "workers.log").read_text()[-6000:]

    def close(self) -> None:
        for worker in self.started:
            worker.process.kill()
            worker.process.wait()

    # -- what goes in and comes out ---------------------------------------------------------------------

    def produce(self, traffic: Traffic, rows: range) -> None:
        pairs = ((traffic.accounts[row], traffic.lines[row]) for row in rows)
        asyncio.run(_produce(self.address, self.topic("requests"), pairs))

    def say_the_end(self, traffic: Traffic) -> None:
        """Wait until all that was produced has been passed on, and say the end of the input of every partition."""
        self.say_the_end_at(traffic.end_ms)

    def say_the_end_at(self, end_ms: int) -> None:
        self.wait(lambda: self.read_to_the_end("requests"))
        marks = ((None, encode_message(Idle(p, end_ms))) for p in range(PARTITIONS))
        asyncio.run(_produce(self.address, self.topic("uses"), marks))
        self.wait(lambda: self.read_to_the_end("uses"))

    def read_to_the_end(self, setting: str) -> bool:
        committed, ends = asyncio.run(_offsets(self.address, f"group-{self.name}", self.topic(setting)))
        return committed == ends

    def records(self, setting: str) -> list[ConsumerRecord]:
        return asyncio.run(_read(self.address, self.topic(setting)))

    def said(self, setting: str) -> list[bytes]:
        return [record.value for record in self.records(setting)]


async def _produce(address: str, topic: str, pairs: Iterable[tuple[bytes | None, bytes]]) -> None:
    options = {"linger_ms": 50, "max_batch_size": 400_000}
    async with AIOKafkaProducer(bootstrap_servers=address, **options) as producer:
        for key, value in pairs:
            await producer.send(topic, value, key=key)


async def _offsets(address: str, group: str, topic: str) -> tuple[list[int], list[int]]:
    """Return what the group has committed, and the ends, by partition."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=address) as consumer:
        places = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        ends = await consumer.end_offsets(places)
    async with AIOKafkaConsumer(bootstrap_servers=address, group_id=group) as consumer:
        consumer.assign(places)
        return [await consumer.committed(place) or 0 for place in places], [ends[place] for place in places]


async def _read(address: str, topic: str) -> list[ConsumerRecord]:
    async with AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        left = {place for place, end in ends.items() if end > 0}
        values: list[ConsumerRecord] = []
        while left:
            for place, records in (await consumer.getmany(timeout_ms=1000)).items():
                values += records
                if records and records[-1].offset + 1 >= ends[place]:
                    left.discard(place)
        return values
