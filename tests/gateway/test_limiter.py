"""`streamproc limiter` as a process against a broker: real Kafka where it can run, else the embedded one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamproc import broker
from streamproc.contract.decisions import Limit
from tests.gateway.events import SECRET, event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from streamproc.contract.decisions import Action, Kind

TOPIC = "enforcement"
PARTITIONS = 3
CHANGES = 100


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def now_ms() -> int:
    return int(time.time() * 1000)


def decision(name: str, action: Action = "suspend", *, kind: Kind = "account", **more: Any) -> tuple[str, bytes]:
    return f"{kind}:{name}", event(name, action, now_ms() - 1000, kind=kind, **more)


class Kafka:
    """A broker that can be stopped and started again with its data."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._stack = ExitStack()

    def start(self) -> None:
        self._stack.enter_context(broker.kafka(self._folder, self._port))

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    reason = broker.available()
    if reason is not None:
        pytest.skip(reason)
    made = Kafka(tmp_path_factory.mktemp("kafka"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def create(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    made = NewTopic(topic, PARTITIONS, 1, topic_configs={"cleanup.policy": "compact"})
    try:
        reply = await admin.create_topics([made])
        assert [code for _, code, *_ in reply.topic_errors] == [0]
    finally:
        await admin.close()


async def produce(address: str, topic: str, *decisions: tuple[str, bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=2) as producer:
        for key, value in decisions:
            await producer.send(topic, value, key=key.encode())
        await producer.flush()


@dataclass
class Limiter:
    process: subprocess.Popen[bytes]
    port: int
    session: aiohttp.ClientSession

    async def get(self, path: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with self.session.get(f"http://127.0.0.1:{self.port}{path}", **options) as answer:
                return answer.status, await answer.read()
        except aiohttp.ClientConnectionError:
            return 0, b""

    async def check(self, account: str, **more: Any) -> dict[str, Any]:
        body = {"subjects": {"account": account, **more.pop("subjects", {})}, **more}
        async with self.session.post(f"http://127.0.0.1:{self.port}/v1/check", json=body) as answer:
            assert answer.status == 200
            return orjson.loads(await answer.read())  # type: ignore[no-any-return]

    async def passes(self, account: str) -> bool:
        return bool((await self.check(account))["passes"])

    async def ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200

    async def in_force(self) -> set[bytes]:
        status, body = await self.get("/v1/decisions")
        assert status == 200
        return set(body.splitlines())

    async def metric(self, series: str) -> float:
        rows = (line.rpartition(" ") for line in (await self.get("/metrics"))[1].decode().splitlines())
        return next(float(value) for name, _, value in rows if name == f"streamproc_gateway_{series}")


@dataclass
class World:
    """Starts limiters on one topic, and stops what it started."""

    address: str
    topic: str
    folder: Path
    session: aiohttp.ClientSession
    started: list[subprocess.Popen[bytes]]

    def start(self, **more: str) -> Limiter:
        port = free_port()
        told = {
            "KAFKA_BOOTSTRAP_SERVERS": self.address, "TOPIC_ENFORCEMENT": self.topic, "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(port), "APPEAL_URL": "https://example.org/{decision}", **more,
        }  # fmt: skip
        with (self.folder / "limiter.log").open("ab") as out:
            command = [sys.executable, "-m", "streamproc.cli", "limiter"]
            process = subprocess.Popen(command, env={**os.environ, **told}, stdout=out, stderr=out)
        self.started.append(process)
        return Limiter(process, port, self.session)

    def log(self) -> str:
        return (self.folder / "limiter.log").read_text()

    async def wait(self, done: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
        deadline = time.monotonic() + within_s
        while not await done():
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.02)


def play(address: str, topic: str, folder: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        started: list[subprocess.Popen[bytes]] = []
        async with aiohttp.ClientSession() as session:
            try:
                await story(World(address, topic, folder, session, started))
            finally:
                for process in started:
                    process.kill()
                    process.wait()

    asyncio.run(run())


async def obeyed_s(world: World, limiter: Limiter, account: str) -> float:
    """Return how long it takes from a decision's arrival at the broker to the first refusal."""
    await produce(world.address, world.topic, decision(account))
    start = time.monotonic()
    await world.wait(lambda: refused(limiter, account))
    return time.monotonic() - start


async def refused(limiter: Limiter, account: str) -> bool:
    return not await limiter.passes(account)


async def killed_and_begun_again(world: World) -> None:
    limiter = world.start()
    await world.wait(limiter.ready)
    delays = sorted([await obeyed_s(world, limiter, f"acct-{n}") for n in range(CHANGES)])
    assert delays[-2] <= 1.0, delays[-5:]
    freed = decision("acct-3", "release", step=1)
    limited = decision("slow", "throttle", limit=Limit(requests_per_min=1))
    await produce(world.address, world.topic, freed, limited, decision("o1", "restrict", kind="org"), ("x", b"{"))
    await world.wait(lambda: limiter.passes("acct-3"))
    known = await limiter.in_force()
    assert len(known) == CHANGES + 1
    limiter.process.send_signal(signal.SIGKILL)
    limiter.process.wait()

    again = world.start(GATEWAY_UNREADY="closed")
    await world.wait(again.ready, within_s=5)
    assert await again.in_force() == known
    answer = await again.check("acct-5", api="anthropic", capabilities=["tools"])
    assert answer["answer"]["status"] == 403
    assert answer["headers"]["x-should-retry"] == "false"
    assert answer["answer"]["body"]["error"]["appeal"] == f"https://example.org/{answer['decision']['id']}"
    assert not (await again.check("a9", subjects={"org": "o1"}, capabilities=["tools"]))["passes"]
    assert (await again.check("a9", subjects={"org": "o1"}))["passes"]
    throttled = [await again.check("slow", tokens=5) for _ in range(3)][-1]
    assert throttled["answer"]["status"] == 429
    assert 1 <= int(throttled["headers"]["retry-after"]) <= 60
    await world.wait(lambda: counted(again, 'bad_events_total{reason="not_json"}', 1))
    again.process.terminate()
    assert again.process.wait(10) == 0
    for secret in ("acct-", SECRET):
        assert secret not in world.log()


def test_a_decision_is_obeyed_within_a_second_and_after_a_kill_the_same_hold(kafka: Kafka, tmp_path: Path) -> None:
    asyncio.run(create(kafka.address, "killed"))
    play(kafka.address, "killed", tmp_path, killed_and_begun_again)


async def counted(limiter: Limiter, series: str, value: float) -> bool:
    return await limiter.metric(series) == value


async def follow(limiter: Limiter, accept: str, seen: list[dict[str, Any]]) -> None:
    url = f"http://127.0.0.1:{limiter.port}/v1/decisions/stream"
    async with limiter.session.get(url, headers={"Accept": accept}, timeout=aiohttp.ClientTimeout()) as answer:
        async for line in answer.content:
            if line.strip():
                seen.append(orjson.loads(line.removeprefix(b"data: ")))  # noqa: PERF401 - watched as it grows


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_who_follows_hears_what_is_in_force_and_what_begins_and_ends(accept: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await produce(world.address, world.topic, decision("a1"))
        limiter = world.start()
        await world.wait(limiter.ready)
        seen: list[dict[str, Any]] = []
        following = asyncio.create_task(follow(limiter, accept, seen))

        async def has(n: int) -> bool:
            return len(seen) >= n

        await world.wait(lambda: has(2))
        await produce(world.address, world.topic, decision("a1", "release", step=1))
        await world.wait(lambda: has(3))
        await produce(world.address, world.topic, decision("a2", hours=2.3 / 3600))
        await world.wait(lambda: has(5))
        limiter.process.terminate()
        assert limiter.process.wait(10) == 0
        await following
        told = [
            ({held["subject"]["id"] for held in one["new"]}, {held["subject"]["id"] for held in one["deleted"]})
            for one in seen
        ]
        nobody: set[str] = set()
        assert told == [({"a1"}, nobody), (nobody, nobody), (nobody, {"a1"}), ({"a2"}, nobody), (nobody, {"a2"})]
        assert [one["startup"] for one in seen] == [True, False, False, False, False]
        assert all("reasons" not in held for one in seen for held in one["new"])

    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, story)


def test_what_is_asked_wrongly_is_refused_in_one_line(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        limiter = world.start()
        await world.wait(limiter.ready)
        for body in (
            b"",
            b"{",
            b"[]",
            b'{"subject":{}}',
            b'{"subjects":{"acount":"a"}}',
            b'{"subjects":{"account":7}}',
        ):
            async with world.session.post(f"http://127.0.0.1:{limiter.port}/v1/check", data=body) as answer:
                assert answer.status == 400
                assert (await answer.text()).count("\n") == 1
        assert await limiter.metric("bad_checks_total") == 6
        assert (await limiter.get("/v1/decisions?kind=account&id=a1")) == (200, b"")

    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, story)


async def broker_away(world: World, kafka: Kafka) -> None:
    """First nothing is known, then the topic comes, the broker goes, and comes again."""
    opened, closed = world.start(GATEWAY_UNREADY="open"), world.start(GATEWAY_UNREADY="closed")
    for limiter in (opened, closed):
        await world.wait(lambda limiter=limiter: is_alive(limiter))  # type: ignore[misc]
        assert not await limiter.ready()
        assert (await limiter.get("/v1/decisions"))[0] == 503
    assert await opened.passes("a1")
    assert (await closed.check("a1"))["answer"]["status"] == 503
    assert "no verdicts yet" in world.log()
    await create(world.address, world.topic)
    await world.wait(opened.ready)
    await world.wait(closed.ready)
    await produce(world.address, world.topic, decision("a1"), decision("short", hours=6 / 3600))
    await world.wait(lambda: refused(opened, "short"))
    kafka.stop()
    await world.wait(lambda: counted(opened, "broker_up", 0))
    assert await opened.ready()
    assert not await opened.passes("a1")
    await world.wait(lambda: opened.passes("short"))  # a decision lapses, whoever is dead
    kafka.start()
    await world.wait(lambda: counted(opened, "broker_up", 1))
    assert await obeyed_s(world, opened, "a2") <= 2.0
    assert "the brokers do not answer" in world.log()


async def is_alive(limiter: Limiter) -> bool:
    return (await limiter.get("/healthz"))[0] == 200


def test_without_a_topic_or_a_broker_it_goes_on_with_what_it_knows(kafka: Kafka, tmp_path: Path) -> None:
    play(kafka.address, "away", tmp_path, lambda world: broker_away(world, kafka))
