"""How soon a new account of a confirmed campaign is refused: Kafka, the worker and a limiter, all real.

    python -m benchmarks.refusal

A campaign is made up without some of its accounts and fed until it is confirmed.  Then those accounts come one by one,
at the clock's own time, each with three requests at once; timed is from the last one's acknowledgement by the broker
to the first refusal.  Needs Java and Maven, as `streamproc.broker` says.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from aiokafka import AIOKafkaProducer

from streamproc import broker, settings
from streamproc.core import policy as policies
from streamproc.replay import replay
from streamproc.sim.scenario import simulate
from streamproc.worker import topics
from streamproc.worker.feed import feed
from tests.gateway.test_limiter import Limiter, World, free_port, play

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIO, SEED, ACCOUNTS, DAYS = "sync_pool", 7, 1000, 2.0
NEWCOMERS = 40
REQUESTS = 3  # what the watchlist needs of an account, and one more
MINUTE_MS = 60_000
PARTITIONS = 4


@dataclass(frozen=True)
class Story:
    """The stream until its campaign is confirmed, moved so that its watchlist holds now, and who comes then."""

    before: list[bytes]
    newcomers: dict[str, list[dict[str, Any]]]  # account -> requests on the campaign's templates, without their times

    @staticmethod
    def make(now_ms: int) -> Story:
        """Make the stream up, and find in a replay when its campaign is acted on."""
        stream = simulate(SCENARIO, seed=SEED, accounts=ACCOUNTS, days=DAYS)
        members = [line["account"] for line in stream.truth if line["kind"] == "campaign"]
        held_out = set(members[:NEWCOMERS])
        events = [event for event in stream.events if event["account"] not in held_out]
        policy = policies.default()
        said = replay(map(orjson.dumps, events), policy, PARTITIONS).enforcements
        acted = [one for one in said if one.action == "throttle" and one.subject.id in set(members)]
        begins_ms = min(one.ts_ms for one in acted) + (policy.members.watch_delay_s + 60) * 1000
        by = now_ms - begins_ms
        before = [event | {"ts_ms": event["ts_ms"] + by} for event in events if event["ts_ms"] < begins_ms]
        return Story(list(map(orjson.dumps, before)), dict(_newcomers(stream.events, held_out, begins_ms)))


def _newcomers(
    events: list[dict[str, Any]], accounts: set[str], until_ms: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each account with what it would have sent by then: requests on different templates."""
    for account in sorted(accounts):
        of_templates = {
            event["template_fp"]: event
            for event in events
            if event["account"] == account and event["ts_ms"] < until_ms and "template_fp" in event
        }
        if len(of_templates) >= REQUESTS:
            yield account, list(of_templates.values())[:REQUESTS]


def main() -> None:
    """Measure and print."""
    if (reason := broker.available()) is not None:
        sys.exit(f"no real Kafka here: {reason}")
    with tempfile.TemporaryDirectory() as name, broker.kafka(Path(name) / "kafka") as address:
        folder = Path(name)
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": address, "KAFKA_PARTITIONS": str(PARTITIONS), "MODE": "enforce",
            "STATE_URL": str(folder / "state"), "HTTP_PORT": str(free_port()), "IDLE_S": "600",
        }  # fmt: skip
        told = settings.read(environment)
        asyncio.run(topics.ensure(told))
        story = Story.make(int(time.time() * 1000))
        print(f"{SCENARIO}, seed {SEED}: {len(story.before):,} events before, {len(story.newcomers)} newcomers")
        asyncio.run(feed(told.kafka, told.topics.requests, story.before))
        with subprocess.Popen([sys.executable, "-m", "streamproc.cli", "run"], env=environment) as worker:
            try:
                play(address, told.topics.enforcement, folder, lambda world: measure(world, told, story))
            finally:
                worker.terminate()


async def measure(world: World, told: settings.Settings, story: Story) -> None:
    """Wait for the campaign, then send the newcomers one after the other."""
    limiter = world.start()
    await world.wait(limiter.ready, within_s=60)
    await world.wait(lambda: confirmed(limiter), within_s=300)
    async with AIOKafkaProducer(**told.kafka.client_options()) as producer:
        times = sorted([await refused_s(producer, told, limiter, *one) for one in story.newcomers.items()])
    print(f"refused after: p50 {times[len(times) // 2] * 1e3:.0f} ms, p99 {times[int(len(times) * 0.99)] * 1e3:.0f} ms")


async def confirmed(limiter: Limiter) -> bool:
    """Whether members are acted on."""
    return await limiter.metric('subjects{action="throttle",mode="enforce"}') > 0


async def refused_s(
    producer: AIOKafkaProducer, told: settings.Settings, limiter: Limiter, account: str, requests: list[dict[str, Any]]
) -> float:
    """Send an account's requests, and return how long the first refusal takes, in seconds."""
    for request in requests:
        value = orjson.dumps(request | {"ts_ms": int(time.time() * 1000)})
        await producer.send_and_wait(told.topics.requests, value, key=account.encode())
    start = time.monotonic()
    while await limiter.passes(account):
        if time.monotonic() - start > 60:
            raise TimeoutError("a newcomer is not refused")
        await asyncio.sleep(0.002)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
