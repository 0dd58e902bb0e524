from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from streamproc.gateway import streams as module
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.streams import Streams
from streamproc.gateway.verdicts import Verdicts
from tests.gateway.events import NOW, event


def test_who_reads_too_slowly_is_cut_off_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 5)

    async def story() -> tuple[list[str], list[bytes], float]:
        metrics = Metrics()
        streams = Streams(metrics)
        verdicts = Verdicts(100, 600_000, streams.tell)
        slow, quick = (streams.follow(lambda: verdicts.in_force(NOW)) for _ in range(2))
        await anext(slow)
        await anext(quick)
        heard: list[str] = []
        for n in range(8):
            verdicts.take(event(f"a{n}"), NOW)
            heard += [held["subject"]["id"] for held in orjson.loads(await anext(quick))["new"]]
        rest = [message async for message in slow]
        streams.close()
        assert [message async for message in quick] == []
        assert metrics.value("gateway_streams") == 0
        return heard, rest, metrics.value("gateway_dropped_streams_total")

    heard, rest, dropped = asyncio.run(story())
    assert heard == [f"a{n}" for n in range(8)]
    assert rest == []
    assert dropped == 1


def test_what_is_in_force_comes_in_pieces_and_a_silent_stream_says_that_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    monkeypatch.setattr(module, "ALIVE_EVERY_S", 0.01)

    async def story() -> list[dict[str, Any]]:
        streams = Streams(Metrics())
        verdicts = Verdicts(100, 600_000, streams.tell)
        for n in range(7):
            verdicts.take(event(f"a{n}"), NOW)
        following = streams.follow(lambda: verdicts.in_force(NOW))
        seen = [orjson.loads(await anext(following)) for _ in range(6)]
        await following.aclose()
        return seen

    seen = asyncio.run(story())
    assert [len(one["new"]) for one in seen] == [3, 3, 1, 0, 0, 0]
    assert [one["startup"] for one in seen] == [True, True, True, False, False, False]


def test_there_are_as_many_streams_as_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STREAMS", 1)

    async def story() -> None:
        streams = Streams(Metrics())
        assert not streams.full
        following = streams.follow(list)
        await anext(following)
        assert streams.full
        await following.aclose()
        assert not streams.full

    asyncio.run(story())
