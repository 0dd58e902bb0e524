"""What streamproc/worker/runs.py relies on inside faust-streaming: an upgrade that changes it fails here."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord
from faust.tables.recovery import Recovery
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import Transport
from faust.types import TP
from mode.threads import ServiceThread

from streamproc.worker.runs import FETCH_WAIT_MS, MAX_QUEUED_RUNS, Run, RunApp, RunConsumer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

TP0 = TP("requests", 0)


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an asynchronous test, and close the loops that Faust made for threads it never started."""

    @functools.wraps(test)
    def run_test() -> None:
        asyncio.run(test())
        while Bench.loops:
            Bench.loops.pop().close()

    return run_test


OVERRIDDEN: list[tuple[type, str, list[str]]] = [
    (driver.Consumer, "_to_message", ["self", "tp", "record"]),
    (driver.Consumer, "_add_gap", ["self", "tp", "offset_from", "offset_to"]),
    (driver.Consumer, "_new_offset", ["self", "tp"]),
    (driver.Consumer, "on_partitions_revoked", ["self", "revoked"]),
    (driver.Consumer, "on_partitions_assigned", ["self", "assigned", "generation_id"]),
    (driver.Consumer, "commit_and_end_transactions", ["self"]),
    (driver.Consumer, "perform_seek", ["self"]),
    (driver.Consumer, "maybe_wait_for_commit_to_finish", ["self"]),
    (driver.Consumer, "_filter_tps_with_pending_acks", ["self", "topics"]),
    (driver.Consumer, "_new_consumer_thread", ["self"]),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
    (faust.App, "on_first_start", ["self"]),
    (faust.App, "on_shutdown", ["self"]),
    (faust.App, "_new_transport", ["self"]),
    (faust.App, "_create_directories", ["self"]),
    (faust.App, "_on_agent_error", ["self", "agent", "exc"]),
]

# The calls that must still lead to what is overridden: function -> what its source says.
CALLED_FROM: list[tuple[Any, str]] = [
    (Consumer.wait_empty, "self.commit_and_end_transactions"),
    (Consumer.on_stop, "self.wait_empty()"),
    (Recovery._resume_streams, "consumer.perform_seek()"),
    (Consumer.force_commit, "self._filter_tps_with_pending_acks(topics)"),
    (Consumer.ack, "offset >= committed"),
    (Consumer._drain_messages, "self._add_gap(tp"),
    (Consumer._filter_committable_offsets, "self._new_offset(tp)"),
    (Consumer.getmany, "self.scheduler.iterate(records)"),
    (faust.App._on_partitions_revoked, "self._consumer_wait_empty"),
    (faust.App._stop_consumer, "self._consumer_wait_empty"),
    (ServiceThread._start_thread, "if self._close_thread_loop_on_stop"),
    (AIOKafkaConsumer.start, "fetch_max_wait_ms=self._fetch_max_wait_ms"),
    (driver.AIOKafkaConsumerThread._create_consumer, "self._create_worker_consumer(transport"),
    (Conductor.acks_enabled_for, "self._acking_topics"),
]


@pytest.mark.parametrize(("owner", "name", "parameters"), OVERRIDDEN)
def test_what_is_overridden_is_there_with_its_parameters(owner: type, name: str, parameters: list[str]) -> None:
    found = inspect.signature(inspect.unwrap(getattr(owner, name)))
    assert list(found.parameters) == parameters


@pytest.mark.parametrize(("function", "call"), CALLED_FROM)
def test_what_is_overridden_is_still_called(function: Any, call: str) -> None:
    assert call in inspect.getsource(inspect.unwrap(function))


@on_a_loop
async def test_a_topics_queue_is_bounded_by_setting_it_afterwards() -> None:
    app = RunApp("bound", broker="kafka://127.0.0.1:1")
    topic = app.run_topic("requests")
    assert topic.maxsize == MAX_QUEUED_RUNS
    assert faust.App("stock", broker="kafka://127.0.0.1:1").topic("t", maxsize=3).maxsize is None


@on_a_loop
async def test_a_fetch_that_finds_nothing_waits_shortly() -> None:
    transport: Any = faust.App("other", broker="kafka://127.0.0.1:1").transport
    made = Bench(kept=False).consumer._thread._create_worker_consumer(transport)
    assert made._fetch_max_wait_ms == FETCH_WAIT_MS
    await made.stop()


@on_a_loop
async def test_the_transport_makes_our_consumer_and_leaves_other_apps_theirs() -> None:
    assert RunApp("ours", broker="kafka://127.0.0.1:1").transport.Consumer is RunConsumer
    assert Transport.Consumer is driver.Consumer


# -- acks and commits ----------------------------------------------------------------------------------


def record(offset: int) -> ConsumerRecord:
    return ConsumerRecord("requests", 0, offset, 0, 0, None, b"1", None, 0, 1, ())


def run(first: int, last: int) -> Run:
    return Run([record(offset) for offset in range(first, last + 1)])


class Bench:
    """A consumer without a broker: runs are handed out and acked, what Faust would commit is read off."""

    loops: ClassVar[list[asyncio.AbstractEventLoop]] = []

    def __init__(self, *, kept: bool) -> None:
        self.app = RunApp("bench", broker="kafka://127.0.0.1:1")
        self.app.run_topic("requests", kept=kept)
        self.app.topics._acking_topics.add("requests")  # type: ignore[attr-defined]
        callbacks: dict[str, Any] = dict.fromkeys(("on_partitions_revoked", "on_partitions_assigned"))
        callbacks["on_partitions_revoked"] = callbacks["on_partitions_assigned"] = _nothing
        self.consumer = RunConsumer(self.app.transport, callback=_nothing, **callbacks)
        self.app._consumer = self.consumer
        Bench.loops.append(self.consumer._thread.thread_loop)

    def hand_out(self, first: int, last: int) -> Any:
        return self.consumer._to_message(TP0, run(first, last))

    def commit(self) -> int | None:
        """Return the offset that would be committed now, and take it as committed."""
        tps = self.consumer._filter_tps_with_pending_acks()
        offsets = self.consumer._filter_committable_offsets(tps)
        self.consumer._committed_offset.update(offsets)
        return offsets.get(TP0)


class At:
    """A keeper whose snapshot of every partition ends at one offset."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    async def claim(self, partitions: set[TP]) -> dict[TP, int]:
        return dict.fromkeys(partitions, self.offset)

    async def settle(self) -> None:
        pass


async def _nothing(*_: Any) -> None:
    return None


@on_a_loop
async def test_acks_out_of_order_commit_only_what_is_worked_off_in_order() -> None:
    it = Bench(kept=False)
    first, second, third = it.hand_out(0, 99), it.hand_out(100, 199), it.hand_out(200, 299)
    committed = []
    for message in (first, third, second):
        it.consumer.ack(message)
        committed.append(it.commit())
    assert committed == [100, None, 300]


@on_a_loop
async def test_a_kept_topic_commits_no_further_than_a_snapshot_covers() -> None:
    it = Bench(kept=True)
    first, second = it.hand_out(0, 99), it.hand_out(100, 199)
    it.consumer.ack(first)
    assert it.commit() is None
    it.app.covered(TP0, 50)
    assert it.commit() == 50
    it.app.covered(TP0, 200)
    assert it.commit() == 100, "the second run is not worked off"
    it.consumer.ack(second)
    assert it.commit() == 200
    it.app.covered(TP0, 150)
    assert it.commit() is None, "coverage does not go back"


@on_a_loop
async def test_a_run_handed_out_again_after_a_seek_needs_a_new_ack() -> None:
    it = Bench(kept=False)
    it.hand_out(0, 99)
    for stale in (it.hand_out(100, 199), it.hand_out(200, 299)):
        it.consumer.ack(stale)
    again = [it.hand_out(0, 149), it.hand_out(150, 199), it.hand_out(200, 349)]
    for message in again:
        it.consumer.ack(message)
        assert it.commit() == message.offset + 1
    assert not it.consumer._acked_index[TP0]
    assert not it.consumer._acked[TP0]


@on_a_loop
async def test_acks_between_a_commit_and_a_rebalance_are_not_forgotten() -> None:
    it = Bench(kept=False)
    it.consumer.ack(it.hand_out(0, 99))
    seen: list[int | None] = []

    async def revoked(_: Any) -> None:
        seen.append(it.commit())

    it.consumer._on_partitions_revoked = revoked
    await it.consumer.on_partitions_revoked({TP0})
    assert seen == [100]
    assert it.consumer._progress == {}


async def claimed(*, snapshot: int, committed: int) -> tuple[Bench, dict[TP, int]]:
    """Return a bench that has claimed its partition, and where it was sought to; no broker is asked."""
    it = Bench(kept=True)
    sought: dict[TP, int] = {}

    async def seek_to_committed() -> dict[TP, int]:
        return {TP0: committed}

    async def seek(tp: TP, offset: int) -> None:
        sought[tp] = offset

    it.app.keeper = At(snapshot)
    it.consumer.seek_to_committed = seek_to_committed  # type: ignore[method-assign]
    it.consumer._seek = seek  # type: ignore[method-assign,assignment]
    await it.consumer.on_partitions_assigned({TP0}, 1)
    await it.consumer.perform_seek()
    assert it.consumer._read_offset[TP0] == snapshot
    return it, sought


@on_a_loop
async def test_from_a_snapshot_older_than_the_commit_work_goes_on_and_commits_follow() -> None:
    it, sought = await claimed(snapshot=50, committed=100)
    assert sought == {TP0: 50}
    for first in (50, 100):
        it.consumer.ack(it.hand_out(first, first + 49))
    it.app.covered(TP0, 150)
    assert it.commit() == 150


@on_a_loop
async def test_from_a_snapshot_newer_than_the_commit_the_commit_follows_at_once() -> None:
    it, sought = await claimed(snapshot=150, committed=100)
    assert sought == {TP0: 150}
    assert it.commit() == 150


@on_a_loop
async def test_compaction_holes_do_not_hold_a_commit_back() -> None:
    it = Bench(kept=False)
    message = it.consumer._to_message(TP0, Run([record(3), record(7)]))
    await it.consumer._add_gap(TP0, 0, 7)
    it.consumer.ack(message)
    assert it.commit() == 8
    assert not it.consumer._gap[TP0]


@on_a_loop
async def test_a_message_is_the_run_and_stands_at_its_last_record() -> None:
    message = Bench(kept=False).hand_out(5, 9)
    assert (message.offset, message.partition, message.key, message.headers) == (9, 0, None, None)
    assert message.value.first_offset == 5
