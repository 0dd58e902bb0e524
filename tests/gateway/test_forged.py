"""What else may lie on the topic: a running limiter counts and ignores it, and refuses nobody for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from streamproc import broker
from streamproc.gateway.decoding import Refusal
from tests.gateway.events import HOUR, event
from tests.gateway.test_limiter import PARTITIONS, TOPIC, World, counted, decision, now_ms, play, produce, refused

if TYPE_CHECKING:
    from pathlib import Path

EVERYBODY = [f"honest{n}" for n in range(20)]


def forged(now: int) -> list[tuple[Refusal, str, bytes | None]]:
    """What a careless or hostile writer may send, each with the reason for which it is ignored."""
    real = orjson.loads(event("honest0", ts_ms=now - 1000))

    def changed(**fields: Any) -> bytes:
        return orjson.dumps(real | fields)

    def of(subject: dict[str, str]) -> bytes:
        return changed(subject=subject)

    key = "account:honest0"
    return [
        (Refusal.NOT_JSON, key, b'{"v": 1, "action": "suspend"'),
        (Refusal.NOT_JSON, key, b"\xff\xfe"),
        (Refusal.NOT_OBJECT, key, b"[]"),
        (Refusal.TOO_LARGE, key, b" " * 70_000),
        (Refusal.BAD_VERSION, key, changed(v=2)),
        (Refusal.EMPTY, "account:nobody", None),
        (Refusal.MISTYPED_FIELD, key, of({"kind": "everybody", "id": "*"})),
        (Refusal.MISTYPED_FIELD, "account:", of({"kind": "account", "id": ""})),
        (Refusal.MISTYPED_FIELD, key, changed(action="ban")),
        (Refusal.MISSING_FIELD, key, orjson.dumps({name: real[name] for name in real if name != "expires_ms"})),
        (Refusal.OTHER_KEY, "account:honest1", event("honest0", ts_ms=now - 1000)),
        (Refusal.FUTURE, key, event("honest0", ts_ms=now + HOUR)),
        (Refusal.FUTURE, "org:all", event("all", ts_ms=now + 400 * 24 * HOUR, kind="org")),
        (Refusal.ABSURD_SEQ, key, event("honest0", "release", ts_ms=now - 1000, seq=2**52)),
        (Refusal.ABSURD_END, key, changed(expires_ms=None)),
        (Refusal.ABSURD_END, key, changed(expires_ms=now + 3 * 366 * 24 * HOUR)),
    ]


async def with_forged_events(world: World) -> None:
    cases = forged(now_ms())
    before, after = decision("a1"), decision("a2")
    limiter = world.start(GATEWAY_UNREADY="closed")
    await produce(world.address, world.topic, before, *((key, value) for _, key, value in cases[:8]))
    await world.wait(limiter.ready)  # it begins with some of them, and the rest come while it runs
    await produce(world.address, world.topic, *((key, value) for _, key, value in cases[8:]), after)
    await world.wait(lambda: refused(limiter, "a2"))
    assert not await limiter.passes("a1")
    for reason, times in Counter(reason for reason, *_ in cases).items():
        await world.wait(lambda reason=reason, times=times: counted(limiter, series(reason), times))  # type: ignore[misc]
    for name in EVERYBODY:
        told = await limiter.check(name, subjects={"org": "all", "payer": "*", "key": "x"}, capabilities=["tools"])
        assert told["passes"]
    assert len(await limiter.in_force()) == 2
    assert limiter.process.poll() is None
    assert "honest" not in world.log()


def series(reason: Refusal) -> str:
    return f'bad_events_total{{reason="{reason}"}}'


def test_what_is_malformed_forged_or_of_the_future_is_counted_and_stops_nobody(tmp_path: Path) -> None:
    assert {reason for reason, *_ in forged(now_ms())} == set(Refusal)
    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, with_forged_events)


def test_a_forged_release_of_a_larger_seq_ends_with_the_worker_s_next_word(tmp_path: Path) -> None:
    """A release that is well formed cannot be told from the worker's: the topic's access list keeps others off."""

    async def story(world: World) -> None:
        limiter = world.start()
        await produce(world.address, world.topic, decision("a1"))
        await world.wait(limiter.ready)
        await world.wait(lambda: refused(limiter, "a1"))
        await produce(world.address, world.topic, decision("a1", "release", step=7))
        await world.wait(lambda: limiter.passes("a1"))
        await asyncio.sleep(0.01)
        await produce(world.address, world.topic, decision("a1"))
        await world.wait(lambda: refused(limiter, "a1"))

    with broker.embedded({TOPIC: PARTITIONS}) as address:
        play(address, TOPIC, tmp_path, story)
