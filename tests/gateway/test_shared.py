"""Buckets that several gateways share, and the mirror, by limiters as processes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from streamproc import broker, settings
from streamproc.contract.decisions import Limit
from streamproc.gateway import shared
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.shared import SharedBuckets
from streamproc.gateway.verdicts import Subjects, Verdict, Verdicts
from tests.gateway.events import NOW, event
from tests.gateway.redis_server import RedisServer, needs_redis
from tests.gateway.test_limiter import PARTITIONS, TOPIC, Limiter, World, counted, decision, play, produce, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

pytestmark = needs_redis
A_WHILE = {"GATEWAY_BUCKETS_WAIT_S": "5"}  # for tests in which Redis is well and the machine is busy
LIMIT = Limit(requests_per_min=6)


def with_buckets(url: str, story: Callable[[SharedBuckets, Metrics], Coroutine[Any, Any, None]], **more: str) -> None:
    async def run() -> None:
        metrics = Metrics()
        told = settings.read({"REDIS_URL": url, "GATEWAY_BUCKETS": "redis", **more})
        buckets = SharedBuckets(told.gateway, metrics)
        try:
            await story(buckets, metrics)
        finally:
            await buckets.close()

    asyncio.run(run())


def throttled(limit: Limit | None = LIMIT) -> Verdict:
    verdicts = Verdicts(10, 600_000)
    verdicts.take(event(action="throttle", limit=limit), NOW)
    found = verdicts.verdict(Subjects(account="a1"), NOW)
    assert found is not None
    return found


async def passed(buckets: SharedBuckets, times: int, tokens: int = 0, limit: Limit | None = LIMIT) -> int:
    return [await buckets.wait_s(throttled(limit), tokens) for _ in range(times)].count(None)


def test_two_limiters_let_as_much_through_as_one_where_they_share_and_twice_as_much_where_not(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async def both(world: World, **more: str) -> int:
        limiters = [world.start(**more) for _ in range(2)]
        for limiter in limiters:
            await world.wait(limiter.ready, within_s=60)
        answers = [await limiters[n % 2].check("a1") for n in range(20)]
        for limiter in limiters:
            assert await limiter.metric("fallen_back_checks_total") == 0
            limiter.process.terminate()
            assert limiter.process.wait(10) == 0
        assert all(1 <= int(one["headers"]["retry-after"]) <= 60 for one in answers if not one["passes"])
        return sum(one["passes"] for one in answers)

    async def story(world: World) -> None:
        await produce(world.address, world.topic, decision("a1", "throttle", limit=LIMIT))
        together = {"REDIS_URL": redis_server.url, "GATEWAY_BUCKETS": "redis", **A_WHILE}
        assert await both(world, **together) == 6
        assert await both(world) in range(12, 15)  # a minute may end meanwhile
        assert "a1" not in world.log()

    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, story)


def test_buckets_in_redis_hold_what_those_in_memory_hold(redis_server: RedisServer) -> None:
    async def story(buckets: SharedBuckets, _: Metrics) -> None:
        waits = [
            await buckets.wait_s(throttled(Limit(tokens_per_min=100, requests_per_min=2)), n) for n in (60, 60, 40)
        ]
        assert [wait is None for wait in waits] == [True, False, True]  # what one refuses costs nothing in the other
        assert waits[1] is not None
        assert 50 < waits[1] <= 60
        assert await passed(buckets, 3, limit=Limit(requests_per_min=0)) == 0
        assert await passed(buckets, 3, 500, Limit(tokens_per_min=70)) == 1
        together = [buckets.wait_s(throttled(Limit(requests_per_min=9)), 0) for _ in range(60)]
        assert (await asyncio.gather(*together)).count(None) == 9

    with_buckets(redis_server.url, story, **A_WHILE)


@pytest.mark.parametrize("harm", ["pause", "kill"])
def test_where_redis_is_slow_or_away_memory_counts_and_nobody_waits(
    redis_server: RedisServer, harm: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "AGAIN_S", 0.5)

    async def story(buckets: SharedBuckets, metrics: Metrics) -> None:
        async def timed(times: int) -> list[tuple[float | None, float]]:
            async def one() -> tuple[float | None, float]:
                start = time.perf_counter()
                return await buckets.wait_s(throttled(), 0), time.perf_counter() - start

            return await asyncio.gather(*(one() for _ in range(times)))

        assert await passed(buckets, 8) == 6
        getattr(redis_server, harm)()
        burst = await timed(60)
        assert max(took_s for _, took_s in burst) < 2.0  # they wait together, each as long as it may
        assert [wait_s for wait_s, _ in burst].count(None) == 6  # as many as in memory alone
        calm = await timed(20)
        assert all(wait_s is not None and took_s < 0.7 for wait_s, took_s in calm)  # nobody waits again
        await asyncio.sleep(0.5)
        assert sum(took_s > 0.7 for _, took_s in await timed(20)) == (harm == "pause")  # one finds out for all
        assert metrics.value("gateway_fallen_back_checks_total") == 100
        redis_server.resume() if harm == "pause" else redis_server.start()
        await asyncio.sleep(0.6)
        before = metrics.value("gateway_fallen_back_checks_total")
        assert await passed(buckets, 8) == (0 if harm == "pause" else 6)  # what was counted there counts again
        assert metrics.value("gateway_fallen_back_checks_total") == before

    with_buckets(redis_server.url, story, GATEWAY_BUCKETS_WAIT_S="1")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def read_by(world: World, server: RedisServer, *accounts: str) -> None:
    async def has() -> bool:
        return server.verdicts().keys() == {f"account:{name}" for name in accounts}

    await world.wait(has)


def test_a_limiter_mirrors_and_neither_its_end_nor_that_of_redis_stops_anything(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async def story(world: World) -> None:
        await produce(world.address, world.topic, decision("a1"))
        first, second = (world.start(REDIS_URL=redis_server.url) for _ in range(2))
        await world.wait(first.ready)
        await world.wait(second.ready)
        await read_by(world, redis_server, "a1")
        start = time.monotonic()
        await produce(world.address, world.topic, decision("a2"))
        await read_by(world, redis_server, "a1", "a2")
        assert time.monotonic() - start < 1.5
        await produce(world.address, world.topic, decision("a2", "release", step=1))
        await read_by(world, redis_server, "a1")

        redis_server.kill()
        await world.wait(lambda: counted(first, "mirror_up", 0))
        await produce(world.address, world.topic, decision("a3"))
        await world.wait(lambda: refused(first, "a3"))
        redis_server.start()
        await read_by(world, redis_server, "a1", "a3")
        redis_server.ask("FLUSHALL")
        await read_by(world, redis_server, "a1", "a3")

        await produce(world.address, world.topic, decision("short", hours=4 / 3600))
        await read_by(world, redis_server, "a1", "a3", "short")
        for limiter in (first, second):
            limiter.process.kill()
        await read_by(world, redis_server, "a1", "a3")  # what has ended, with nobody to remove it
        assert world.log().count("the mirror waits") == 2  # once of each
        assert "a3" not in world.log()

    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, story)


def test_a_wrong_address_is_refused_and_one_where_nothing_is_stops_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await produce(world.address, world.topic, decision("a1"), decision("slow", "throttle", limit=LIMIT))
        wrong = world.start(REDIS_URL="redis://localhost:port")
        assert wrong.process.wait(20) == 2
        assert world.log().splitlines()[-1].startswith("streamproc: REDIS_URL: ")
        away: Limiter = world.start(REDIS_URL="redis://127.0.0.1:1", GATEWAY_BUCKETS="redis")
        await world.wait(away.ready)
        await world.wait(lambda: refused(away, "a1"))
        assert [await away.passes("slow") for _ in range(7)].count(True) in (6, 7)
        assert await away.metric("mirror_up") == 0
        await world.wait(lambda: counted(away, "mirror_waiting_subjects", 2))

    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, story)
