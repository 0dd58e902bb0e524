"""The two reducers as the worker runs them: a reducer, how far it is, and how it is written down.

A stage has one lock. Whoever works off a record or takes a snapshot holds it, so that a snapshot never sees a
record half worked off.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from streamproc import heap
from streamproc.contract.decisions import encode
from streamproc.contract.labels import Label
from streamproc.contract.rounds import encode_round
from streamproc.core.accounts.batch import Dead
from streamproc.core.accounts.reducer import Accounts
from streamproc.core.campaigns.reducer import Campaigns, Output
from streamproc.core.clock import UNSET_MS
from streamproc.core.snapshot import SnapshotError
from streamproc.replay import dead_letter
from streamproc.worker import uses_topic
from streamproc.worker.counted import NOT_OURS, count_batch, count_campaigns, count_output, count_state
from streamproc.worker.uses_topic import Idle, UsesError

if TYPE_CHECKING:
    from streamproc.contract.decisions import Enforcement
    from streamproc.core.accounts.batch import Batch
    from streamproc.core.policy import Policy
    from streamproc.settings import TopicNames
    from streamproc.worker.metrics import Metrics
    from streamproc.worker.outbox import Outbox
    from streamproc.worker.runs import Run
    from streamproc.worker.state import StateStore
    from streamproc.worker.uses_topic import Message

__all__ = ["AccountsStage", "CampaignsStage"]

CAMPAIGNS: Final = "campaigns"
BLOCKS: Final = "block-"
POSITION_BYTES: Final = 8


class AccountsStage:
    """One partition of `requests`: runs in, batches of uses and dead letters out."""

    def __init__(self, partition: int, policy: Policy, topics: TopicNames, outbox: Outbox, metrics: Metrics) -> None:
        self.partition = partition
        self.name = f"accounts-{partition}"
        self.lock = asyncio.Lock()
        self.saved = 0  # position of the last durable snapshot
        self.heard_s = time.monotonic()  # when the last run came, or the last mark that there is none was sent
        self._reducer = Accounts(partition, policy)
        self._topics, self._outbox, self._metrics = topics, outbox, metrics

    @property
    def position(self) -> int:
        """The next offset of the partition."""
        return self._reducer.next_offset

    @property
    def watermark_s(self) -> float | None:
        """Event time up to which the partition is complete, Unix seconds; None before its first time."""
        watermark_ms = self._reducer.clock.watermark_ms
        return None if watermark_ms == UNSET_MS else watermark_ms / 1000

    async def work(self, run: Run) -> None:
        """Work off what is new of a run."""
        async with self.lock:
            self.heard_s = time.monotonic()
            fresh = run.since(self.position)
            if fresh is None:
                return
            with self._metrics.timed("stage_seconds", stage="accounts"):
                batch = self._reducer.observe(fresh.values, fresh.offsets)
            await self._send(batch)

    async def _send(self, batch: Batch) -> None:
        count_batch(batch, self._metrics)
        for dead in batch.dead:
            await self._outbox.send(
                self._topics.dead, dead_letter(dead, topic=self._topics.requests, partition=self.partition)
            )
        await self._outbox.send(self._topics.uses, uses_topic.encode(batch))

    async def say_idle(self) -> None:
        """Say that the partition is silent, so that it does not hold time back.

        Events that the reducer holds back until enough accounts tell the time go on being held: no single clock
        may set it, however long the night.
        """
        self.heard_s = time.monotonic()
        await self._outbox.send(self._topics.uses, uses_topic.encode(Idle(self.partition)))

    def restore(self, store: StateStore) -> None:
        """Take the newest snapshot, if there is one.

        Raises:
            SnapshotError: it is of another format version or of another partition.
        """
        data = store.load(self.name)
        if data is not None:
            self._reducer.restore(data)
        self.saved = self.position

    def save(self, store: StateStore) -> int:
        """Write a snapshot, durable on return; returns its size in bytes. The lock is the caller's to hold."""
        data = self._reducer.snapshot()
        store.save(self.name, self.position, data)
        self.saved = self.position
        return len(data)


class CampaignsStage:
    """The topic `uses`: messages in, enforcement and campaign events out.

    The reducer runs on a thread of its own, one call at a time: a round takes long, and what it does in numpy
    leaves the interpreter to the event loop. Measured with 50,000 accounts, rounds of 0.6 s and two busy cores: the
    loop stood still for 0.4 s at most (`loop_stall_seconds`).
    """

    def __init__(self, policy: Policy, partitions: int, topics: TopicNames, outbox: Outbox, metrics: Metrics) -> None:
        self.name = CAMPAIGNS
        self.lock = asyncio.Lock()
        self.position = 0  # the next offset of `uses`
        self.saved = 0
        self._reducer = Campaigns(policy, partitions)
        self._topics, self._outbox, self._metrics = topics, outbox, metrics
        self._thread = ThreadPoolExecutor(1, "campaigns")
        self._blocks: set[str] = set()  # names of the blocks of the newest snapshot
        self._ahead: dict[str, Enforcement] = {}  # what the watchlist said ahead of the round that is held next

    async def work(self, run: Run) -> None:
        """Work off what is new of a run, message by message."""
        for record in run.records:
            async with self.lock:
                if record.offset < self.position:
                    continue
                try:
                    await self._take(self._decode(record.value))
                except UsesError as reason:
                    await self._refuse(record.offset, record.value, str(reason))
                self.position = record.offset + 1

    def _decode(self, value: bytes | None) -> Message:
        message = uses_topic.decode(value)
        if isinstance(message, Idle) and not 0 <= message.partition < len(self._reducer.watermarks):
            raise UsesError(f"there is no partition {message.partition}")
        return message

    async def _take(self, message: Message) -> None:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        output = await loop.run_in_executor(self._thread, self._observe, message)
        self._time(time.perf_counter() - started, len(output.rounds))
        await self._send(output)

    async def _refuse(self, offset: int, value: bytes | None, detail: str) -> None:
        self._metrics.add("bad_events_total", reason=NOT_OURS)
        dead = Dead(offset, NOT_OURS, detail, value)
        await self._outbox.send(self._topics.dead, dead_letter(dead, topic=self._topics.uses, partition=0))

    def _time(self, seconds: float, rounds: int) -> None:
        self._metrics.observe("stage_seconds", seconds, stage="campaigns")
        for _ in range(rounds):  # what else such a call does is little beside a round
            self._metrics.observe("round_seconds", seconds / rounds)

    def _observe(self, message: Message) -> Output:
        output = self._pass_on(message)
        if output.rounds:
            heap.trim()
        return output

    def _pass_on(self, message: Message) -> Output:
        if isinstance(message, Idle):
            ts_ms = max(self._reducer.watermarks) if message.ts_ms is None else message.ts_ms
            return self._reducer.idle(message.partition, ts_ms)
        if isinstance(message, Label):
            return self._reducer.label(message)
        return self._reducer.observe(message)

    async def _send(self, output: Output) -> None:
        """Send what was said, so that the last message of a subject is the one with the greatest seq.

        In catch-up the watchlist may speak of a use some minutes behind a round that is not held yet. What it said
        is sent once more behind the round's own word, since compaction keeps what was sent last.
        """
        count_output(output, self._metrics)
        count_state(output, self._reducer, self._metrics)
        for event in sorted(output.enforcements, key=lambda said: (said.seq, said.key)):
            await self._outbox.send(self._topics.enforcement, encode(event), key=event.key)
            last = self._ahead.get(event.key)
            if last is not None and last.seq > event.seq:
                await self._outbox.send(self._topics.enforcement, encode(last), key=last.key)
            else:
                self._ahead[event.key] = event
        for campaign in output.campaigns:
            await self._outbox.send(self._topics.campaigns, encode(campaign), key=campaign.key)
        for survey in output.surveys if self._topics.rounds else ():
            await self._outbox.send(self._topics.rounds, encode_round(survey), key=survey.key)
        if output.rounds:
            held_ms = output.rounds[-1].ts_ms
            self._ahead = {key: event for key, event in self._ahead.items() if event.ts_ms > held_ms}

    def restore(self, store: StateStore) -> None:
        """Take the newest snapshot; without one the blocks that are there are of no use and would be in the way.

        Raises:
            SnapshotError: it is of another format version or of another number of partitions, or lacks a block.
        """
        data = store.load(self.name)
        if data is None:
            for name in store.names(BLOCKS):
                store.delete(name)
            return

        def block(name: str) -> bytes:
            piece = store.get(name)
            if piece is None:
                raise SnapshotError(f"block {name} is missing: delete the state and start from the topic's start")
            self._blocks.add(name)
            return piece

        self._reducer.restore(data[POSITION_BYTES:], block)
        self.position = self.saved = int.from_bytes(data[:POSITION_BYTES])
        count_campaigns(self._reducer, self._metrics)

    def save(self, store: StateStore) -> int:
        """Write a snapshot, durable on return; returns its size in bytes. The lock is the caller's to hold."""
        pieces = self._reducer.snapshot()
        before, self._blocks = self._blocks, set(pieces.blocks)
        size = len(pieces.data)
        for name in sorted(self._blocks - before):
            block = pieces.blocks[name]()
            store.put_once(name, block)
            size += len(block)
        store.save(self.name, self.position, self.position.to_bytes(POSITION_BYTES) + pieces.data)
        for name in store.names(BLOCKS):
            if name not in self._blocks | before:  # those of the snapshot before are kept, as it is
                store.delete(name)
        self.saved = self.position
        return size
