"""Both reducers in one process: what replay, evaluation, benchmarks and the demo call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamproc.core.accounts.batch import Batch, Dead
from streamproc.core.accounts.reducer import Accounts
from streamproc.core.campaigns.reducer import Campaigns, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.policy import Policy


@dataclass(slots=True)
class Observed(Output):
    """What a chunk brought: what campaigns says of it, and the messages that are no events."""

    dead: list[Dead] = field(default_factory=list)


class Engine:
    """The whole of streamproc as one pure object over `partitions` partitions of input."""

    def __init__(self, policy: Policy, partitions: int = 1) -> None:
        self.accounts = [Accounts(partition, policy) for partition in range(partitions)]
        self.campaigns = Campaigns(policy, partitions)

    def observe(self, partition: int, values: Sequence[bytes | None], offsets: Sequence[int]) -> Observed:
        """Take a chunk: consecutive messages of one partition with their offsets, ascending."""
        return self._pass_on(self.accounts[partition].observe(values, offsets))

    def flush(self) -> Observed:
        """The end of the input: everything that waits is decided."""
        total = Observed()
        for accounts in self.accounts:
            opened = self._pass_on(accounts.flush())
            total.dead += opened.dead
            total.add(opened)
        end_ms = self.campaigns.end_ms()
        for partition in range(len(self.accounts)):
            total.add(self.campaigns.idle(partition, end_ms))
        return total

    def _pass_on(self, batch: Batch) -> Observed:
        output = self.campaigns.observe(batch)
        counts = Counter(batch.counts)
        counts.update(output.counts)
        counts.update(f"bad:{dead.reason}" for dead in batch.dead)
        return Observed(output.enforcements, output.campaigns, output.rounds, output.surveys, counts, batch.dead)
