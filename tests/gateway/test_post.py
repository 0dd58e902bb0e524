"""Events to the brokers: in batches, in order, and nobody waits or fails whatever the brokers do."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson
from aiokafka import AIOKafkaConsumer

from streamproc import broker, settings
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.post import BATCH_EVENTS, Post

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

TOPIC = "requests"


def event(account: str, n: int, **more: Any) -> dict[str, Any]:
    return {"v": 1, "id": f"{account}-{n}", "ts_ms": n, "account": account, **more}


def post(address: str, metrics: Metrics, most_waiting: int = 10_000) -> Post:
    kafka = settings.read({"KAFKA_BOOTSTRAP_SERVERS": address}).kafka
    return Post(kafka, TOPIC, metrics, most_waiting)


@asynccontextmanager
async def running(one: Post) -> AsyncGenerator[None, None]:
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(done: Callable[[], bool], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def fates(metrics: Metrics) -> tuple[float, ...]:
    return tuple(metrics.value("gateway_requests_total", fate=fate) for fate in ("sent", "dropped", "failed"))


async def arrived(address: str, n: int, within_s: float = 10) -> list[tuple[bytes, dict[str, Any]]]:
    """Return keys and events of the topic: `n`, or those that are there when the time is over."""
    seen: list[tuple[bytes, dict[str, Any]]] = []
    deadline = time.monotonic() + within_s
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        while len(seen) < n and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen += [(record.key, orjson.loads(record.value)) for record in records]
    return seen


class Door:
    """An address that leads to a broker while it is open; brokers are first reached through it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._behind = host, int(port)
        self._server: asyncio.Server | None = None
        self.address = ""

    async def reserve(self) -> None:
        await self.open()
        await self.close()

    async def open(self) -> None:
        port = int(self.address.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", port)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._behind)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()


def test_each_accounts_events_arrive_in_order_and_under_its_key() -> None:
    async def story(address: str) -> None:
        metrics = Metrics()
        one = post(address, metrics)
        n = 3 * BATCH_EVENTS + 7
        for at in range(n):  # before it runs
            one.send(event(f"a{at % 5}", at))
        async with running(one):
            await until(lambda: fates(metrics)[0] == n)
            assert metrics.value("gateway_waiting_requests") == 0
        seen = await arrived(address, n)
        assert len(seen) == n
        for name in (f"a{k}" for k in range(5)):
            times = [held["ts_ms"] for key, held in seen if key == name.encode()]
            assert times == sorted(times)
            assert all(held["account"] == name for key, held in seen if key == name.encode())

    with broker.embedded({TOPIC: 3}) as address:
        asyncio.run(story(address))


def test_without_brokers_events_wait_and_what_is_too_many_is_dropped_and_counted() -> None:
    async def story(address: str) -> None:
        door = Door(address)
        await door.reserve()
        metrics = Metrics()
        one = post(door.address, metrics, most_waiting=10)
        async with running(one):
            for at in range(25):
                began = time.perf_counter()
                one.send(event("a", at))
                assert time.perf_counter() - began < 0.1  # nobody waits
                await asyncio.sleep(0)
            assert fates(metrics) == (0, 15, 0)
            await door.open()
            await until(lambda: fates(metrics)[0] == 10)
            one.send(event("a", 25))
            await until(lambda: fates(metrics)[0] == 11)
        assert [held["ts_ms"] for _, held in await arrived(address, 11)] == [*range(10), 25]
        await door.close()

    with broker.embedded({TOPIC: 1}) as address:
        asyncio.run(story(address))


def test_an_event_that_is_too_large_fails_alone() -> None:
    async def story(address: str) -> None:
        metrics = Metrics()
        one = post(address, metrics)
        for at in range(5):
            one.send(event("a", at, **({"id": "x" * 2_000_000} if at == 2 else {})))
        async with running(one):
            await until(lambda: fates(metrics) == (4, 0, 1))
        assert [held["ts_ms"] for _, held in await arrived(address, 4)] == [0, 1, 3, 4]

    with broker.embedded({TOPIC: 1}) as address:
        asyncio.run(story(address))


def test_several_threads_may_post_at_once() -> None:
    async def story(address: str) -> None:
        metrics = Metrics()
        one = post(address, metrics)

        def work(name: str) -> None:
            for at in range(200):
                one.send(event(name, at))

        async with running(one):
            threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
            for thread in threads:
                thread.start()
            await until(lambda: fates(metrics)[0] == 800)
            for thread in threads:
                thread.join()
        seen = await arrived(address, 800)
        assert len({held["id"] for _, held in seen}) == 800
        for n in range(4):
            assert [held["ts_ms"] for _, held in seen if held["account"] == f"t{n}"] == list(range(200))

    with broker.embedded({TOPIC: 2}) as address:
        asyncio.run(story(address))


def test_what_waits_is_sent_before_the_end() -> None:
    async def story(address: str) -> None:
        metrics = Metrics()
        one = post(address, metrics)
        one.send(event("a", 0))
        n = 2 * BATCH_EVENTS
        async with running(one):
            await until(lambda: fates(metrics)[0] == 1)
            for at in range(1, n):
                one.send(event("a", at))
        assert fates(metrics)[0] == n
        one.send(event("a", n))  # nobody takes it any more, and nobody minds
        assert len(await arrived(address, n)) == n

    with broker.embedded({TOPIC: 1}) as address:
        asyncio.run(story(address))


def test_it_ends_at_once_while_it_looks_for_brokers() -> None:
    async def story() -> None:
        one = post("127.0.0.1:9", Metrics())
        began = time.monotonic()
        async with running(one):
            await asyncio.sleep(0.2)
        assert time.monotonic() - began < 3

    asyncio.run(story())
