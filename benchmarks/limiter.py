"""The limiter on a real Kafka: how soon it is ready, how soon a decision is obeyed, what a check costs.

Where there is a redis-server: how long its mirror takes and what checks cost meanwhile, and shared buckets.

    python -m benchmarks.limiter [subjects]

Times are of the wall clock, beside a plain consumer that reads the same topic and does nothing.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer

from streamproc import broker
from streamproc.contract.decisions import Limit
from tests.gateway.redis_server import PROGRAM, RedisServer
from tests.gateway.test_limiter import CHANGES, Limiter, World, create, decision, obeyed_s, play, produce

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBJECTS = 100_000
CHECKS = 2_000
TOPIC = "limited"


def main(arguments: Sequence[str]) -> None:
    """Fill the topic, and measure on it."""
    subjects = int(arguments[0]) if arguments else SUBJECTS
    with tempfile.TemporaryDirectory() as folder, broker.kafka(Path(folder) / "kafka") as address:
        asyncio.run(create(address, TOPIC))
        decisions = (decision(f"a{n:07d}", hours=72) for n in range(subjects))
        asyncio.run(produce(address, TOPIC, *decisions))
        play(address, TOPIC, Path(folder), lambda world: measure(world, subjects))
        if PROGRAM is not None:
            server = RedisServer(Path(folder))
            server.start()
            play(address, TOPIC, Path(folder), lambda world: measure_redis(world, server))
            server.kill()


async def measure(world: World, subjects: int) -> None:
    """Print all of it."""
    plain_s = await read_plainly(world.address, subjects)
    print(f"a plain consumer reads {subjects:,} decisions in {plain_s:.2f} s")
    limiter = await ready(world, "first start", plain_s)
    known = await limiter.in_force()
    limiter.process.kill()
    limiter = await ready(world, "after kill -9", plain_s)
    assert await limiter.in_force() == known
    print(f"the same {len(known):,} decisions as before")
    print(f"memory {memory_mb(limiter.process.pid):.0f} MB")
    delays = sorted([await obeyed_s(world, limiter, f"new{n}") for n in range(CHANGES)])
    print(f"obeyed after: p50 {delays[CHANGES // 2] * 1e3:.1f} ms, p99 {delays[CHANGES * 99 // 100 - 1] * 1e3:.1f} ms")
    checks = sorted([await check_s(limiter, f"a{n:07d}") for n in range(CHECKS)])
    nothing = sorted([await nothing_s(limiter) for _ in range(CHECKS)])
    for name, times in (("a check over HTTP", checks), ("/healthz the same way", nothing)):
        print(f"{name}: p50 {times[CHECKS // 2] * 1e6:.0f} us, p99 {times[CHECKS * 99 // 100] * 1e6:.0f} us")


async def measure_redis(world: World, server: RedisServer) -> None:
    """Print how long the mirror takes, and what checks cost meanwhile and with buckets in Redis."""
    limit = decision("slow", "throttle", limit=Limit(requests_per_min=1e9))
    await produce(world.address, world.topic, limit)
    own = world.start(REDIS_URL=server.url)
    await world.wait(own.ready, within_s=60)
    await mirrored(own, server)
    quiet = sorted([await check_s(own, "a0000001") for _ in range(CHECKS)])
    server.ask("FLUSHALL")
    start = time.monotonic()
    writing = asyncio.create_task(mirrored(own, server))
    busy = []
    while not writing.done():
        busy.append(await check_s(own, "a0000001"))
    keys = server.ask("DBSIZE")
    print(f"a flushed Redis has all {keys - 1:,} subjects again after {time.monotonic() - start:.2f} s", end=", ")
    memory = int(server.ask("INFO", "memory")["used_memory"])
    print(f"{memory / keys:.0f} bytes each")
    shared = world.start(REDIS_URL=server.url, GATEWAY_BUCKETS="redis")
    await world.wait(shared.ready, within_s=60)
    await mirrored(shared, server)
    throttles = [sorted([await check_s(one, "slow", passes=True) for _ in range(CHECKS)]) for one in (own, shared)]
    rows = zip(("a check", "a check meanwhile", "a throttle in memory", "a throttle in Redis"),
               (quiet, sorted(busy), *throttles), strict=True)  # fmt: skip
    for name, times in rows:
        n = len(times)
        print(f"{name}: p50 {times[n // 2] * 1e6:.0f} us, p99 {times[n * 99 // 100] * 1e6:.0f} us")
    print(f"counted in memory after all: {await shared.metric('fallen_back_checks_total'):.0f}")


async def mirrored(limiter: Limiter, server: RedisServer) -> None:
    """Return once Redis has what the limiter has."""
    subjects = await limiter.metric("remembered_subjects")
    while await asyncio.to_thread(server.ask, "DBSIZE") <= subjects:
        await asyncio.to_thread(time.sleep, 0.02)


async def ready(world: World, name: str, plain_s: float) -> Limiter:
    """Start a limiter, wait until it is ready, and print how long that took."""
    start = time.monotonic()
    limiter = world.start()
    await world.wait(limiter.ready, within_s=60)
    took_s = time.monotonic() - start
    print(
        f"{name}: ready in {took_s:.2f} s from the start of the process, {took_s / plain_s:.1f} of the plain consumer's"
    )
    return limiter


async def read_plainly(address: str, subjects: int) -> float:
    """Return how long a consumer takes that does nothing, in seconds."""
    start = time.monotonic()
    seen = 0
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        while seen < subjects:
            seen += sum(map(len, (await consumer.getmany(timeout_ms=200, max_records=2_000)).values()))
    return time.monotonic() - start


async def check_s(limiter: Limiter, account: str, *, passes: bool = False) -> float:
    """Return how long a check of an account takes, a suspended one by default, in seconds."""
    start = time.perf_counter()
    assert await limiter.passes(account) is passes
    return time.perf_counter() - start


async def nothing_s(limiter: Limiter) -> float:
    """Return how long an answer takes that needs no work, in seconds."""
    start = time.perf_counter()
    assert (await limiter.get("/healthz"))[0] == 200
    return time.perf_counter() - start


def memory_mb(pid: int) -> float:
    """Return the memory that a process holds, where the system says it."""
    with suppress(OSError):
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024
    return float("nan")


if __name__ == "__main__":
    main(sys.argv[1:])
