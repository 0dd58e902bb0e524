"""Faust with runs: what one fetch brought of one partition travels through Faust as one message.

Faust spends some 70 microseconds on a message whatever it holds, which is 14,000 records a second. Here a
message is a `Run` of up to 2,500 records, its offset is that of the last, and Faust's share falls below 3 %.

    app = RunApp("streamproc", broker="kafka://...", keeper=keeper)
    requests = app.run_topic("requests", kept=True)

    @app.agent(requests)
    async def accounts(stream):
        async for event in stream.noack().events():
            run = event.value
            ...
            event.ack()  # the run is worked off; Faust need not wait for it

What may be committed is decided here and not by Faust. Runs count as worked off in the order in which they
were handed out, whatever the order of their acks. On a topic that is `kept`, the commit also stays at or
below what a durable snapshot covers, which the keeper says with `RunApp.covered`. So a kill loses nothing: a
partition goes on where its snapshot ends, and where there is none, at the commit.

This leans on internals of faust-streaming 0.15.3: `tests/worker/test_faust_internals.py` watches them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from faust.types import TP, AgentT, AppT, ConsumerMessage, Message, TopicT
    from faust.types.transports import TPorTopicSet, TransportT

__all__ = [
    "FETCH_WAIT_MS",
    "MAX_QUEUED_RUNS",
    "MAX_RUN_RECORDS",
    "Keeper",
    "Run",
    "RunApp",
    "RunConsumer",
    "new_event_loop",
]

MAX_RUN_RECORDS: Final = 2_500  # bounds how long an agent holds the event loop
FETCH_WAIT_MS: Final = 50  # of a fetch that finds nothing
MAX_QUEUED_RUNS: Final = 8  # a partition's runs in memory before fetching pauses


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one partition, at least one, as fetched: nothing is decoded."""

    records: Sequence[ConsumerRecord]

    @property
    def partition(self) -> int:
        """The partition they are of."""
        return int(self.records[0].partition)

    @property
    def first_offset(self) -> int:
        """The offset of the first record."""
        return int(self.records[0].offset)

    @property
    def next_offset(self) -> int:
        """The offset after the last record: where whoever has worked off the run goes on."""
        return int(self.records[-1].offset) + 1

    @property
    def values(self) -> list[bytes | None]:
        """The records' values, None for a tombstone."""
        return [record.value for record in self.records]

    @property
    def offsets(self) -> list[int]:
        """The records' offsets: ascending, with holes where compaction or transactions left some."""
        return [record.offset for record in self.records]

    def since(self, offset: int) -> Run | None:
        """Return what lies at or after `offset`, None if nothing does.

        A state that has everything below its next offset takes `run.since(next)`, so that a run handed out
        again, or cut elsewhere, counts once.
        """
        if self.first_offset >= offset:
            return self
        rest = [record for record in self.records if record.offset >= offset]
        return Run(rest) if rest else None


class Keeper(Protocol):
    """Who keeps the state: two calls from the consumer, both at moments when no run is in work."""

    async def claim(self, partitions: set[TP]) -> Mapping[TP, int]:
        """Take over these partitions, all that this worker has; return where those with a snapshot go on."""

    async def settle(self) -> None:
        """Make the state durable and say so with `RunApp.covered`: another worker may claim it next."""


@dataclass(slots=True)
class Progress:
    """How far one partition is: runs handed out, worked off in order, covered by a durable snapshot.

    `handed_out` holds the last offset of each run that is not known to be worked off, in order.
    """

    kept: bool
    handed_out: deque[int] = field(default_factory=deque)
    done: int | None = None
    covered: int | None = None

    def hand_out(self, first: int, last: int) -> None:
        """Note that the run of these offsets goes to an agent, once more if the partition was sought back."""
        while self.handed_out and self.handed_out[-1] >= first:
            self.handed_out.pop()
        self.handed_out.append(last)

    def settle(self, acked: set[int]) -> None:
        """Take those of `acked` out of it that come next, in order, up to the first run that is not acked."""
        while self.handed_out and self.handed_out[0] in acked:
            last = self.handed_out.popleft()
            acked.discard(last)
            self.done = last + 1

    def committable(self) -> int | None:
        """Return the next offset that may be committed now, None if nothing may."""
        if not self.kept:
            return self.done
        if self.done is None or self.covered is None:
            return None
        return min(self.done, self.covered)


class RunScheduler(DefaultSchedulingStrategy):
    """Cuts what was fetched of run topics into runs; topics and partitions take turns as in Faust."""

    def __init__(self, topics: Mapping[str, bool]) -> None:
        self.topics = topics

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Yield (partition, run or record), round robin."""
        return super().iterate({tp: cut(some) if tp.topic in self.topics else some for tp, some in records.items()})


def cut(records: Sequence[ConsumerRecord]) -> list[Run]:
    """Return the records as runs of at most MAX_RUN_RECORDS, of one length or nearly so."""
    size = -(-len(records) // -(-len(records) // MAX_RUN_RECORDS)) if records else 1
    return [Run(records[start : start + size]) for start in range(0, len(records), size)]


class RunSchema(faust.Schema[None, Run]):
    """Hands the run on undecoded: Faust's codecs see records one by one and are of no use here."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> None:
        """Return no key: a run has many."""

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Run:  # noqa: ARG002
        """Return the run itself."""
        assert isinstance(message.value, Run)
        return message.value


class RunThread(driver.AIOKafkaConsumerThread):
    """Faust's thread of fetching, with a short wait and a quick loop: Faust would give it asyncio's own.

    aiokafka has one fetch on its way to a broker. While that one waits for the partitions that have nothing new,
    the others' records wait with it: for 1.5 s as Faust has it, which would be the latency from one reducer to the
    other.
    """

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        made = super()._create_worker_consumer(transport)
        made._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust passes no setting on
        return made


class RunConsumer(driver.Consumer):
    """Faust's consumer with its bookkeeping of offsets replaced, for run topics, by `Progress`."""

    app: RunApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scheduler = RunScheduler(self.app.run_topics)
        self._progress: dict[TP, Progress] = {}
        self._resume: dict[TP, int] = {}

    def _new_consumer_thread(self) -> RunThread:
        thread = RunThread(self, loop=self.loop, thread_loop=new_event_loop(), beacon=self.beacon)
        thread._close_thread_loop_on_stop = True  # noqa: SLF001 - else nobody closes a loop that was handed in
        return thread

    def progress(self, tp: TP) -> Progress:
        """Return the partition's progress, a fresh one if it has none."""
        known = self._progress.get(tp)
        if known is None:
            known = self._progress[tp] = Progress(kept=self.app.run_topics[tp.topic])
        return known

    def cover(self, tp: TP, next_offset: int) -> None:
        """Note that a durable snapshot has all of the partition below `next_offset`."""
        progress = self.progress(tp)
        progress.covered = max(next_offset, progress.covered or 0)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, Run):
            return super()._to_message(tp, record)
        last = record.records[-1]
        self.progress(tp).hand_out(record.first_offset, last.offset)
        # an ack from before a rebalance says nothing about this time
        self._acked_index[tp].discard(last.offset)
        message = super()._to_message(tp, last)
        message.key = message.headers = None
        message.value = record  # type: ignore[assignment] # opaque to Faust, RunSchema hands it on
        return message

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self.app.run_topics:  # between the last offsets of two runs lies no gap
            await super()._add_gap(tp, offset_from, offset_to)

    def _filter_tps_with_pending_acks(self, topics: TPorTopicSet | None = None) -> Iterator[TP]:
        """Yield our partitions always: their commits wait for snapshots and not only for acks."""
        yield from (tp for tp in super()._filter_tps_with_pending_acks(topics) if tp not in self._progress)
        yield from (tp for tp in self._progress if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self.app.run_topics:
            return super()._new_offset(tp)
        self._take_acks(tp)
        return self.progress(tp).committable()

    def _take_acks(self, tp: TP) -> None:
        progress, acked = self.progress(tp), self._acked_index[tp]
        progress.settle(acked)
        acked.intersection_update(progress.handed_out)  # acks of runs that were given up in a rebalance
        self._acked[tp][:] = acked

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust finish the runs in work and commit, and then forget the partitions."""
        ours = {tp for tp in revoked if tp.topic in self.app.run_topics}
        for tp in ours:
            self._take_acks(tp)  # Faust drops its own record of the acks before it commits
        await super().on_partitions_revoked(revoked)
        for tp in ours:
            self._progress.pop(tp, None)
            self._resume.pop(tp, None)

    async def commit_and_end_transactions(self) -> None:
        """Have the state made durable first: Faust calls this, no run in work, before it lets go."""
        if self.app.keeper is not None and not self.app.crashed:
            await self.app.keeper.settle()
        await self.maybe_wait_for_commit_to_finish()  # or else Faust takes the one under way for this one
        await super().commit_and_end_transactions()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Have the keeper load what it has of the partitions, before any of their records comes."""
        kept = {tp for tp in assigned if self.app.run_topics.get(tp.topic)}
        try:
            self._resume = dict(await self.app.keeper.claim(kept)) if self.app.keeper else {}
        except Exception as reason:  # noqa: BLE001 - aiokafka would log it and leave the worker idle
            await self.crash(reason)
            return
        for tp, offset in self._resume.items():
            progress = self.progress(tp)
            progress.done = progress.covered = offset
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Seek to the committed offsets, and from there to where snapshots end."""
        await super().perform_seek()
        for tp, offset in self._resume.items():
            await self.seek(tp, offset)
            committed = self._committed_offset[tp]
            if committed is not None:
                self._committed_offset[tp] = min(committed, offset)  # Faust drops acks from below it


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's where there is one: a fifth more events a second."""
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not on Windows

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def _nothing() -> None:
    return None


class RunApp(faust.App):
    """A Faust app some of whose topics travel in runs."""

    def __init__(self, *args: Any, keeper: Keeper | None = None, **kwargs: Any) -> None:
        self.keeper = keeper
        self.opening: Callable[[], Awaitable[None]] = _nothing  # before anything else starts
        self.on_before_stop: Callable[[], None] = lambda: None
        self.closing: Callable[[], Awaitable[None]] = _nothing  # after everything else has stopped
        self.run_topics: dict[str, bool] = {}  # name -> whether a snapshot must cover what is committed
        super().__init__(*args, **kwargs)

    def run_topic(self, name: str, *, kept: bool = False, **kwargs: Any) -> TopicT:
        """Return the topic, whose agents get events with a Run as value.

        With `kept`, commits wait for `covered`.
        """
        self.run_topics[name] = kept
        topic = self.topic(name, schema=RunSchema(), **kwargs)
        topic.maxsize = MAX_QUEUED_RUNS  # the argument of that name is lost on its way
        return topic

    def covered(self, tp: TP, next_offset: int) -> None:
        """Say that a durable snapshot has all of the partition below `next_offset`: it may be committed."""
        consumer = self.consumer
        assert isinstance(consumer, RunConsumer)
        consumer.cover(tp, next_offset)

    async def on_first_start(self) -> None:
        """Open what everything else needs."""
        await super().on_first_start()
        await self.opening()

    async def on_stop(self) -> None:
        """Say that stopping begins."""
        self.on_before_stop()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close it."""
        await super().on_shutdown()
        await self.closing()

    def _create_directories(self) -> None:
        """Make none: Faust keeps tables there, and there are none."""

    async def _on_agent_error(self, agent: AgentT[Any], exc: BaseException) -> None:  # noqa: ARG002
        """Stop the worker: Faust would go on behind the run that failed."""
        await self.crash(exc)

    def _new_transport(self) -> TransportT:
        transport = super()._new_transport()
        transport.Consumer = RunConsumer  # type: ignore[misc] # a class variable, but read from the instance
        return transport
