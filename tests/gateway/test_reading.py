"""What the reader of the topic says of itself."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress

import pytest

from streamproc import broker, following, settings
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.reading import Reader
from streamproc.gateway.verdicts import Verdicts
from tests.gateway.test_limiter import PARTITIONS, TOPIC, decision, produce


def test_it_is_current_once_it_has_read_to_the_end_and_while_the_brokers_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(following, "ASK_EVERY_S", 0.05)

    async def story(address: str, stop_broker: ExitStack) -> None:
        metrics = Metrics()
        verdicts = Verdicts(100, 600_000)
        told = settings.read({"KAFKA_BOOTSTRAP_SERVERS": address})
        reader = Reader(told.kafka, TOPIC, verdicts, metrics)
        assert not reader.current
        await produce(address, TOPIC, decision("a1"))
        running = asyncio.create_task(reader.run())
        async with asyncio.timeout(20):
            while not reader.current:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
            assert reader.why_not_ready is None
            assert len(verdicts) == 1
            stop_broker.close()
            while reader.current:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert reader.why_not_ready is None
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    with ExitStack() as stop_broker:
        address = stop_broker.enter_context(broker.embedded({TOPIC: PARTITIONS}))
        asyncio.run(story(address, stop_broker))
