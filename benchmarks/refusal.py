"""How soon a new account of a confirmed campaign is refused: Kafka, the worker and the gateways, all real.

    python -m benchmarks.refusal

A campaign is made up without some of its accounts, moved by whole rounds to the last hours, and fed until it is
confirmed.  Then those accounts come one by one, each with three requests at once; timed is from the last one's
acknowledgement by the broker to the first refusal by the limiter, by a real Envoy and by a real LiteLLM, where they
are.  Needs Java and Maven, as `streamproc.broker` says.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
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
from tests.gateway import litellm_proxy, proxies
from tests.gateway.litellm_proxy import CONTENT, IDENTITY, pseudonym
from tests.gateway.model_api import serving
from tests.gateway.test_envoy import ask
from tests.gateway.test_limiter import Limiter, World, free_port, play

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SCENARIO, SEED, ACCOUNTS, DAYS = "sync_pool", 7, 1000, 2.0
NEWCOMERS = 60
REQUESTS = 3  # what the watchlist needs of an account, and one more
MINUTE_MS = 60_000
PARTITIONS = 4


@dataclass(frozen=True)
class Story:
    """The stream until its campaign is confirmed and its watchlist holds, and who comes then."""

    before: list[bytes]
    goes_on_ms: int  # event time at which the stream goes on
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
        round_ms = policy.time.round_slots * policy.time.slot_s * 1000
        by = (
            (now_ms - begins_ms) // round_ms * round_ms
        )  # rounds fall as in the replay, and what they decide still holds
        before = [event | {"ts_ms": event["ts_ms"] + by} for event in events if event["ts_ms"] < begins_ms]
        core = _core(before, set(members))
        return Story(list(map(orjson.dumps, before)), begins_ms + by, dict(_newcomers(stream.events, held_out, core)))


def _core(events: list[dict[str, Any]], members: set[str]) -> set[str]:
    """Return the templates that a tenth of the members use, and others less than they."""
    holders = {(event["template_fp"], event["account"]) for event in events if "template_fp" in event}
    everybody = Counter(template for template, _ in holders)
    own = Counter(template for template, account in holders if account in members)
    least = len({account for _, account in holders if account in members}) / 10
    return {template for template in own if own[template] > max(least, 0.6 * everybody[template])}


def _newcomers(
    events: list[dict[str, Any]], accounts: set[str], core: set[str]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each account with some of its requests, on different templates that the campaign has shown."""
    for account in sorted(accounts):
        of_templates = {
            event["template_fp"]: event
            for event in events
            if event["account"] == account and event.get("template_fp") in core
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
    """Wait for the campaign, then send the newcomers one after the other; each asks at one gateway."""
    limiter = world.start()
    await world.wait(limiter.ready, within_s=60)
    await world.wait(lambda: confirmed(limiter), within_s=300)
    newcomers = list(story.newcomers.items())
    goes_on_s = time.monotonic()

    def clock_ms() -> int:
        return story.goes_on_ms + int((time.monotonic() - goes_on_s) * 1000)

    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(AIOKafkaProducer(**told.kafka.client_options()))
        asks = {"limiter": limiter.passes} | await gateways(world, stack, tuple(story.newcomers))
        for number, (name, passes) in enumerate(asks.items()):
            some = newcomers[number :: len(asks)]
            times = sorted([await refused_s(producer, told.topics.requests, passes, clock_ms, *one) for one in some])
            at = {percent: times[min(len(times) * percent // 100, len(times) - 1)] * 1e3 for percent in (50, 99)}
            print(f"refused by {name:8} after: p50 {at[50]:4.0f} ms, p99 {at[99]:4.0f} ms ({len(times)} newcomers)")


async def gateways(
    world: World, stack: AsyncExitStack, accounts: tuple[str, ...]
) -> dict[str, Callable[[str], Awaitable[bool]]]:
    """Start what there is, and return how each is asked whether the account of that pseudonym passes."""
    raw = {pseudonym("account", name): name for name in accounts}
    asks: dict[str, Callable[[str], Awaitable[bool]]] = {}
    if proxies.envoy() is not None:
        made = proxies.World(world.folder, accounts, address=world.address, collects=False)
        envoys = await stack.enter_async_context(made)
        envoys.start_authz(IDENTITY_PEPPER=IDENTITY, CONTENT_PEPPER=CONTENT)
        envoys.start_envoy()
        await envoys.wait(envoys.ready)
        await envoys.wait(envoys.envoy_ready)
        body = orjson.dumps(litellm_proxy.chat("What is a queue?"))

        async def by_envoy(account: str) -> bool:
            return (await ask(envoys, raw[account], proxies.CHAT, body))[0] == 200

        asks["Envoy"] = by_envoy
    if litellm_proxy.MISSING is None:
        proxy = stack.enter_context(litellm(world))
        proxy.session = world.session

        async def by_litellm(account: str) -> bool:
            return await proxy.ask(raw[account]) == 200

        asks["LiteLLM"] = by_litellm
    return asks


@contextmanager
def litellm(world: World) -> Iterator[litellm_proxy.Proxy]:
    """A proxy with a model API behind it."""
    with serving() as api, litellm_proxy.proxy(world.folder, api.port, world.address) as proxy:
        yield proxy


async def confirmed(limiter: Limiter) -> bool:
    """Whether members are acted on."""
    return await limiter.metric('subjects{action="throttle",mode="enforce"}') > 0


async def refused_s(
    producer: AIOKafkaProducer,
    topic: str,
    passes: Callable[[str], Awaitable[bool]],
    clock_ms: Callable[[], int],
    raw: str,
    requests: list[dict[str, Any]],
) -> float:
    """Send an account's requests, and return how long the first refusal takes, in seconds."""
    account = pseudonym("account", raw)
    for request in requests:
        value = orjson.dumps(request | {"ts_ms": clock_ms(), "account": account})
        await producer.send_and_wait(topic, value, key=account.encode())
    start = time.monotonic()
    while await passes(account):
        if time.monotonic() - start > 60:
            raise TimeoutError("a newcomer is not refused")
        await asyncio.sleep(0.002)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
