"""The worker: agents that carry runs to the stages, and what happens from time to time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from faust.types import TP

from streamproc.contract.errors import EventError
from streamproc.contract.labels import decode_label
from streamproc.core import policy as policies
from streamproc.core.accounts.batch import Dead
from streamproc.health import HealthServer
from streamproc.replay import dead_letter
from streamproc.settings import SettingsError
from streamproc.worker import topics, uses_topic
from streamproc.worker.counted import LABEL_VALUES
from streamproc.worker.keeper import StageKeeper
from streamproc.worker.launch import launch, make_app
from streamproc.worker.metrics import Metrics
from streamproc.worker.outbox import Outbox

if TYPE_CHECKING:
    from streamproc.core.policy import Policy
    from streamproc.settings import Settings
    from streamproc.worker.runs import Run

__all__ = ["Worker", "load_policy", "run"]

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5  # lags, ages, marks of silence, snapshots that are due
STALL_EVERY_S: Final = 0.05
CONTROL_RECORDS: Final = 1  # a producer's transaction ends with a record that no consumer is given


def run(settings: Settings, *, owned: bool = False) -> int:
    """Run the worker until it is told to stop (INT, TERM); returns the exit code.

    An `owned` one also stops at the end of its standard input, which is when its owner ends, however that is.

    Raises:
        SettingsError: the environment, a topic or the state is not as it must be.
        PolicyError: the policy cannot be used.
    """
    policy = load_policy(settings)
    found = asyncio.run(topics.ensure(settings))
    partitions = found[settings.topics.requests]
    if settings.topics.rounds not in found:
        settings = replace(settings, topics=replace(settings.topics, rounds=""))
    if owned:
        threading.Thread(target=_end_with_input, daemon=True).start()
    worker = Worker(settings, policy, partitions)
    code = launch(worker.app, stop_within_s=settings.stop_s)
    if worker.refusal is not None:
        raise worker.refusal
    return code


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def load_policy(settings: Settings) -> Policy:
    """Return the policy of the file that the settings name, or the packaged one, in the mode that they name.

    Raises:
        PolicyError: it cannot be used.
        SettingsError: the file cannot be read.
    """
    try:
        text = policies.default_text() if settings.policy is None else settings.policy.read_bytes()
    except OSError as reason:
        raise SettingsError(f"POLICY: {settings.policy} cannot be read ({reason.strerror})") from reason
    policy = policies.parse(text)
    return policy if settings.mode is None else msgspec.structs.replace(policy, mode=settings.mode)


class Worker:
    """One process's share of the work.

    `refusal` is the operator's mistake that ended it, None if there was none.
    """

    def __init__(self, settings: Settings, policy: Policy, partitions: int) -> None:
        self.settings = settings
        self.refusal: SettingsError | None = None
        self.metrics = Metrics(LABEL_VALUES)
        self.outbox = Outbox(settings.kafka)
        self.keeper = StageKeeper(settings, policy, partitions, self.outbox, self.metrics)
        self.app = make_app(settings, keeper=self.keeper)
        self.keeper.covered = self.app.covered
        self.health = HealthServer(
            settings.http_host, settings.http_port, metrics=self.metrics,
            healthy=lambda: "crashed" if self.app.crashed else None, ready=lambda: self.keeper.why_not_ready,
        )  # fmt: skip
        self.app.opening, self.app.closing = self._open, self._close
        self._add_agents()
        self.app.task(self._look_after)
        self.app.task(self._watch_loop)

    def _add_agents(self) -> None:
        app, names = self.app, self.settings.topics
        for topic, kept, work in (
            (names.requests, True, self._requests),
            (names.uses, True, self._uses),
            (names.labels, False, self._labels),
        ):
            app.agent(app.run_topic(topic, kept=kept), name=topic)(_agent(work))

    async def _open(self) -> None:
        try:
            await self.health.start()
        except SettingsError as reason:
            self.refusal = reason
            raise
        await self.outbox.start()

    async def _close(self) -> None:
        self.refusal = self.refusal or self.keeper.refusal
        await self.outbox.stop()
        await self.health.stop()

    # -- the agents' work ------------------------------------------------------------------------------

    async def _requests(self, run: Run) -> None:
        stage = self.keeper.accounts.get(run.partition)
        if stage is not None:  # else it went to another worker while the run was on its way
            await stage.work(run)

    async def _uses(self, run: Run) -> None:
        if self.keeper.campaigns is not None:
            await self.keeper.campaigns.work(run)

    async def _labels(self, run: Run) -> None:
        """Pass labels on to whoever has campaigns."""
        names = self.settings.topics
        for record in run.records:
            try:
                label = decode_label(record.value)
            except EventError as bad:
                self.metrics.add("bad_events_total", reason=bad.reason)
                dead = Dead(record.offset, bad.reason, bad.detail, record.value)
                await self.outbox.send(names.dead, dead_letter(dead, topic=names.labels, partition=run.partition))
            else:
                self.metrics.add("labels_total", label=label.label)
                await self.outbox.send(names.uses, uses_topic.encode(label))
        await self.outbox.flush()

    # -- from time to time -----------------------------------------------------------------------------

    async def _look_after(self) -> None:
        while not self.app.should_stop:
            await asyncio.sleep(EVERY_S)
            if self.keeper.why_not_ready is None:
                await self._say_who_is_idle()
                await self.keeper.save_due()
            self._show()

    async def _say_who_is_idle(self) -> None:
        """Say it of partitions that are read to their end and silent; again while they are, as time goes on."""
        for partition, stage in list(self.keeper.accounts.items()):
            lag = self._lag(TP(self.settings.topics.requests, partition), stage.position)
            silent_s = time.monotonic() - stage.heard_s
            if silent_s >= self.settings.idle_s and lag is not None and lag <= CONTROL_RECORDS:
                await stage.say_idle()

    def _lag(self, tp: TP, position: int) -> int | None:
        """Return how many records wait, None while the broker has not said or a rebalance has the partition."""
        try:
            end = self.app.consumer.highwater(tp)
        except AssertionError:  # aiokafka's answer for a partition that was just taken away
            return None
        return None if end is None else max(end - position, 0)

    def _show(self) -> None:
        names = {self.settings.topics.requests: "requests", self.settings.topics.uses: "uses"}
        for tp, stage in self.keeper.stages().items():
            place = {"topic": names[tp.topic], "partition": str(tp.partition)}
            self.metrics.set("next_offset", stage.position, **place)
            lag = self._lag(tp, stage.position)
            if lag is not None:
                self.metrics.set("lag_events", lag, **place)
        for partition, accounts in self.keeper.accounts.items():
            if accounts.watermark_s is not None:
                self.metrics.set("watermark_seconds", accounts.watermark_s, partition=str(partition))
        for reducer, age_s in self.keeper.ages_s().items():
            self.metrics.set("snapshot_age_seconds", age_s, reducer=reducer)

    async def _watch_loop(self) -> None:
        """Measure how long anything holds the event loop."""
        longest = 0.0
        while not self.app.should_stop:
            start = time.perf_counter()
            await asyncio.sleep(STALL_EVERY_S)
            longest = max(longest, time.perf_counter() - start - STALL_EVERY_S)
            self.metrics.set("loop_stall_seconds", longest)


def _agent(work: Any) -> Any:
    """Return an agent that works off runs; what it cannot work off stops the worker, and is not acked."""

    async def carry(stream: Any) -> None:
        async for event in stream.noack().events():
            await work(event.value)
            event.ack()

    return carry
