"""Who has which stage, and its snapshots: taken over at a rebalance, written down from time to time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from streamproc.core.snapshot import SnapshotError
from streamproc.settings import SettingsError
from streamproc.worker.stages import AccountsStage, CampaignsStage
from streamproc.worker.state import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamproc.core.policy import Policy
    from streamproc.settings import Settings
    from streamproc.worker.metrics import Metrics
    from streamproc.worker.outbox import Outbox

__all__ = ["StageKeeper"]

Stage: TypeAlias = AccountsStage | CampaignsStage

WAITING: Final = "waiting for partitions"


class StageKeeper:
    """The stages of this worker, by what it is assigned.

    `covered` is told of every durable snapshot. `why_not_ready` is None once partitions are assigned and their
    state is restored. `refusal` is the operator's mistake that made `claim` fail.
    """

    def __init__(self, settings: Settings, policy: Policy, partitions: int, outbox: Outbox, metrics: Metrics) -> None:
        self.accounts: dict[int, AccountsStage] = {}
        self.campaigns: CampaignsStage | None = None
        self.covered: Callable[[TP, int], None] = lambda _tp, _offset: None
        self.why_not_ready: str | None = WAITING
        self.refusal: SettingsError | None = None
        self._settings, self._policy, self._partitions = settings, policy, partitions
        self._outbox, self._metrics = outbox, metrics
        self._store = StateStore(settings.state_url)
        self._saved_s: dict[str, float] = {}  # when each stage was last known to be durable

    def stages(self) -> dict[TP, Stage]:
        """Return what this worker has."""
        topics = self._settings.topics
        stages: dict[TP, Stage] = {TP(topics.requests, p): stage for p, stage in self.accounts.items()}
        if self.campaigns is not None:
            stages[TP(topics.uses, 0)] = self.campaigns
        return stages

    # -- for the consumer ------------------------------------------------------------------------------

    async def claim(self, partitions: set[TP]) -> Mapping[TP, int]:
        """Make the stages of these partitions from their snapshots; where there is none, from the topic's start.

        Raises:
            SettingsError: a snapshot cannot be used, or is of another cluster.
        """
        try:
            positions = await self._restore(partitions)
            await self._check_ends(positions)
        except SettingsError as reason:
            self.refusal = reason
            raise
        self.why_not_ready = None
        return positions

    async def settle(self) -> None:
        """Make all state durable."""
        self.why_not_ready = WAITING
        for tp, stage in self.stages().items():
            await self._save(tp, stage)

    async def _restore(self, partitions: set[TP]) -> dict[TP, int]:
        topics = self._settings.topics
        gone = set(self.accounts) - {tp.partition for tp in partitions if tp.topic == topics.requests}
        for partition in gone:
            self._metrics.forget_partition(partition)
        self.accounts, self.campaigns = {}, None
        for tp in sorted(partitions):
            if tp.topic == topics.uses:
                self.campaigns = CampaignsStage(self._policy, self._partitions, topics, self._outbox, self._metrics)
            elif tp.partition >= self._partitions:
                raise SettingsError(
                    f"topic {tp.topic} has more partitions than the {self._partitions} at the start: "
                    "stop all workers, delete the state under STATE_URL, start again"
                )
            else:
                self.accounts[tp.partition] = AccountsStage(
                    tp.partition, self._policy, topics, self._outbox, self._metrics
                )
        for stage in self.stages().values():
            try:
                await asyncio.to_thread(stage.restore, self._store)
            except SnapshotError as reason:
                raise SettingsError(f"STATE_URL: snapshot {stage.name}: {reason}") from reason
            self._saved_s[stage.name] = time.monotonic()
        return {tp: stage.position for tp, stage in self.stages().items()}

    async def _check_ends(self, positions: Mapping[TP, int]) -> None:
        """Refuse snapshots that lie beyond the end of what they are of."""
        places = [TopicPartition(tp.topic, tp.partition) for tp, position in positions.items() if position]
        if not places:
            return
        async with AIOKafkaConsumer(**self._settings.kafka.client_options()) as consumer:
            ends = await consumer.end_offsets(places)
        for place, end in ends.items():
            position = positions[TP(place.topic, place.partition)]
            if position > end:
                raise SettingsError(
                    f"STATE_URL: a snapshot ends at offset {position} of {place.topic}-{place.partition}, which "
                    f"ends at {end}: it is of another cluster, name another folder or delete it"
                )

    # -- from time to time -----------------------------------------------------------------------------

    async def save_due(self) -> None:
        """Write a snapshot of each stage whose last one is old enough and that has gone on since."""
        now = time.monotonic()
        for tp, stage in self.stages().items():
            if now - self._saved_s[stage.name] >= self._settings.snapshot_s:
                await self._save(tp, stage)

    def ages_s(self) -> dict[str, float]:
        """Return how old the oldest durable state is, by reducer: 0 where nothing has come since."""
        ages = {"accounts": 0.0, "campaigns": 0.0}
        for stage in self.stages().values():
            if stage.position != stage.saved:
                reducer = stage.name.partition("-")[0]
                ages[reducer] = max(ages[reducer], time.monotonic() - self._saved_s[stage.name])
        return ages

    async def _save(self, tp: TP, stage: Stage) -> None:
        """Have what was sent arrive first: a restart goes on behind the snapshot, and sends nothing again."""
        async with stage.lock:
            if self.stages().get(tp) is not stage:
                return
            if stage.position != stage.saved:
                await self._outbox.flush()
                with self._metrics.timed("stage_seconds", stage="snapshot"):
                    size = await asyncio.to_thread(stage.save, self._store)
                self._metrics.set("snapshot_size_bytes", size, reducer=stage.name.partition("-")[0])
                self.covered(tp, stage.position)
            self._saved_s[stage.name] = time.monotonic()
