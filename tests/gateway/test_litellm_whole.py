"""A LiteLLM proxy with the rest around it: without brokers, and with the worker that finds a campaign."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamproc import broker
from tests.gateway import litellm_proxy
from tests.gateway.conversations import HOUR_MS, Turn, made_up
from tests.gateway.litellm_proxy import Events, Proxy, free_port, now_ms, play
from tests.worker.pipeline import PARTITIONS, Pipeline, write_policy

if TYPE_CHECKING:
    from tests.gateway.model_api import ModelApi

HOURS = 24
AT_ONCE = 12
REFUSED = 5

# Events are dated by what this file of the test's says: a day passes in seconds.
CLOCKED = """
from pathlib import Path
from streamproc.gateway.litellm.hooks import Hooks

instance = Hooks(clock_ms=lambda: int(Path("clock").read_text()))
"""

needs_litellm = pytest.mark.skipif(litellm_proxy.MISSING is not None, reason=str(litellm_proxy.MISSING))


@needs_litellm
def test_without_brokers_requests_go_on_and_events_are_dropped_and_counted(tmp_path: Path, model_api: ModelApi) -> None:
    async def story(made: Proxy) -> None:
        answers = [await asyncio.gather(*(made.ask(f"u{n}") for n in range(10))) for _ in range(6)]
        assert {status for some in answers for status in some} == {200}
        assert await made.metric("waiting_requests") <= 20
        assert await made.metric('requests_total{fate="dropped"}') == 40
        assert await made.metric("underway_requests") == 0
        assert await made.metric("ready") == 0
        assert await made.metric('unready_checks_total{unready="open"}') == 60
        assert "begun without verdicts" in made.log()
        assert "no verdicts yet" in made.log()

    nobody = f"127.0.0.1:{free_port()}"
    with litellm_proxy.proxy(tmp_path, model_api.port, nobody, GATEWAY_MOST_WAITING="20") as made:
        play(made, story)


class Driver:
    """Sends conversations as of the times they happened, and notes who was refused, and how."""

    def __init__(self, made: Proxy) -> None:
        self._proxy = made
        self.sent = 0
        self.refused: dict[str, set[int]] = {}

    def is_answered(self) -> bool:
        """Whether the campaign has met with refusals, throttled ones among them."""
        return len(self.refused) >= REFUSED and any(429 in statuses for statuses in self.refused.values())

    def set_clock(self, at_ms: int) -> None:
        aside = self._proxy.folder / "clock.new"
        aside.write_text(str(at_ms))
        os.replace(aside, self._proxy.folder / "clock")  # noqa: PTH105 - at once, for whoever reads

    async def send(self, user: str, messages: list[dict[str, str]]) -> int:
        body = {"model": "chat", "messages": messages}
        status, *_ = await self._proxy.post("/v1/chat/completions", body, user)
        self.sent += 1
        if status != 200:
            self.refused.setdefault(user, set()).add(status)
        return status

    async def play(self, turns: list[Turn]) -> None:
        for some in (turns[at : at + AT_ONCE] for at in range(0, len(turns), AT_ONCE)):
            self.set_clock(some[0].at_ms)
            await asyncio.gather(*(self.send(turn.user, turn.messages) for turn in some))


@needs_litellm
def test_a_campaign_goes_from_litellm_through_the_worker_to_its_own_429s(tmp_path: Path, model_api: ModelApi) -> None:
    topics = {"requests": PARTITIONS, "requests.dead": 1, "uses": 1, "enforcement": 2, "campaigns": 1, "labels": 1}
    day_ms = HOURS * HOUR_MS
    turns = made_up((now_ms() // day_ms - 1) * day_ms, HOURS)  # yesterday, whose decisions hold until tomorrow
    (tmp_path / "clocked.py").write_text(CLOCKED)
    (tmp_path / "clock").write_text(str(turns[0].at_ms))

    async def story(made: Proxy) -> None:
        driver = Driver(made)
        await driver.play(turns)
        everybody = sorted({turn.user for turn in turns})
        deadline = time.monotonic() + 30
        while not driver.is_answered() and time.monotonic() < deadline:
            for user in everybody:
                await driver.send(user, [{"role": "user", "content": "Are you there?"}])
        assert driver.is_answered(), (driver.refused, made.log(), pipeline.log())
        assert all(user.startswith("hired-") for user in driver.refused), driver.refused
        assert await made.metric("failures_total") == 0
        made.process.terminate()
        made.process.wait(15)
        async with Events(made.kafka) as events:
            assert len(await events.all(driver.sent)) == driver.sent  # what waited was sent before the end

    with broker.embedded(topics) as kafka:
        pipeline = Pipeline(kafka, "", tmp_path, write_policy(tmp_path / "policy.toml"))
        try:
            pipeline.start(MODE="enforce")
            with litellm_proxy.proxy(tmp_path, model_api.port, kafka, callbacks="clocked.instance") as made:
                play(made, story)
        finally:
            pipeline.close()
