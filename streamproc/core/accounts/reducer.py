"""The accounts reducer: runs of raw messages of one partition in, uses and the partition's time out."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from streamproc import contract
from streamproc.core import snapshot
from streamproc.core.accounts.batch import Batch, Dead
from streamproc.core.accounts.duplicates import Duplicates
from streamproc.core.clock import UNSET_MS, PartitionClock
from streamproc.core.keys import KeySet
from streamproc.core.uses import (
    ENFORCED,
    FAILED,
    MISSING_TURNS,
    SERVED,
    Uses,
    empty,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.arrays import Bools, Bytes, Ints, Keys
    from streamproc.core.policy import Policy

OPENING_EVENTS = 64  # held back until the partition's first time is known from several accounts
FUTURE = (contract.BadReason.FUTURE, "ts_ms is far ahead of the partition's time")
MOST_TURNS = 7  # earlier turns are told apart up to here


class Accounts:
    """Decodes one partition, drops duplicates and keeps its clock.

    The first events of a partition are held back until they are of `future_accounts` accounts or 64 in number, so
    that no single clock sets its time.
    """

    def __init__(self, partition: int, policy: Policy) -> None:
        self._partition = partition
        self._policy = policy
        self.clock = PartitionClock(policy.time)
        self.duplicates = Duplicates(policy.caps.duplicates)
        self.opening: list[tuple[int, bytes | None]] = []
        self.next_offset = 0

    def observe(self, values: Sequence[bytes | None], offsets: Sequence[int]) -> Batch:
        """Take a run of messages with their offsets, ascending."""
        if len(offsets):
            self.next_offset = offsets[-1] + 1
        if self.clock.high_ms > UNSET_MS:
            return self._read(values, np.asarray(offsets, np.int64))
        decoded = contract.decode(values)
        self.opening += [(offsets[at], values[at]) for at in decoded.index.tolist()]
        batch = self._open(complete=False)
        batch.dead += self._dead(decoded.bad, values, offsets)
        batch.counts["events"] += len(decoded.bad)
        return batch

    def flush(self) -> Batch:
        """The end of the input: what is held back comes out."""
        return self._open(complete=True)

    def snapshot(self) -> bytes:
        """All state, the next input offset inside."""
        meta = {
            "partition": self._partition,
            "next_offset": self.next_offset,
            "high_ms": self.clock.high_ms,
            "lead": (self.clock.lead_account, self.clock.lead_ms),
            "shown": list(self.clock.shown.items()),
            "opening": [
                (offset, None if value is None else base64.b64encode(value).decode()) for offset, value in self.opening
            ],
        }
        generations: snapshot.Arrays = {str(hour): keys.keys() for hour, keys in self.duplicates.generations.items()}
        return snapshot.pack(meta, snapshot.under("duplicates", generations))

    def restore(self, data: bytes) -> None:
        """Take the state that `snapshot` wrote.

        Raises:
            SnapshotError: it is torn, of another format version or of another partition.
        """
        meta, arrays = snapshot.unpack(data)
        if meta["partition"] != self._partition:
            raise snapshot.SnapshotError(f"of partition {meta['partition']}, not {self._partition}")
        self.next_offset = meta["next_offset"]
        self.clock.high_ms = meta["high_ms"]
        self.clock.lead_account, self.clock.lead_ms = meta["lead"]
        self.clock.shown = dict(meta["shown"])
        self.opening = [
            (offset, None if value is None else base64.b64decode(value)) for offset, value in meta["opening"]
        ]
        generations = snapshot.within("duplicates", arrays)
        self.duplicates.generations = {int(hour): KeySet(keys.view(np.uint64)) for hour, keys in generations.items()}

    def _open(self, *, complete: bool) -> Batch:
        """Let the events held back pass once enough of them are there to tell the time."""
        columns = contract.decode([value for _, value in self.opening[:OPENING_EVENTS]]).columns
        accounts = np.unique(columns.account_key, return_index=True)[1]
        needed = self._policy.time.future_accounts
        if accounts.size >= needed:
            columns = columns.take(np.arange(np.sort(accounts)[needed - 1] + 1))
        elif not accounts.size or (not complete and len(self.opening) < OPENING_EVENTS):
            held_from = self.opening[0][0] if self.opening else self.next_offset
            return Batch(self._partition, held_from, UNSET_MS, np.empty(0, np.int64), empty())
        held, self.opening = self.opening, []
        values, offsets = [value for _, value in held], np.array([offset for offset, _ in held], np.int64)
        return self._read(values, offsets, len(columns))

    def _read(self, values: Sequence[bytes | None], offsets: Ints, first: int = 0) -> Batch:
        """Read a run; its `first` events are those that set the partition's time."""
        decoded = contract.decode(values)
        columns, index = decoded.columns, decoded.index
        future, watermark_ms = self._pass_time(columns.ts_ms, columns.account_key, first)
        present = np.flatnonzero(~future)
        again = self.duplicates.seen(columns.event_key[present], columns.ts_ms[present], watermark_ms[present])
        self.duplicates.expire(self.clock.watermark_ms)
        kept = present[~again]
        uses = _uses(columns if kept.size == len(columns) else columns.take(kept))
        late = self._admit(uses.ts_ms, watermark_ms[kept])
        dead = self._dead(decoded.bad, values, offsets)
        dead += [Dead(int(offsets[at]), *FUTURE, values[at]) for at in index[future].tolist()]
        counts = self._counts(decoded, len(values))
        counts["duplicates"] += int(np.count_nonzero(again))
        counts["late"] += late
        return Batch(
            self._partition, self.next_offset, self.clock.watermark_ms, offsets[index[kept]], uses, dead, counts
        )

    def _pass_time(self, ts_ms: Ints, account: Keys, first: int) -> tuple[Bools, Ints]:
        """Which events (n,) lie too far in the future, and the watermark that each met."""
        if not first:
            return self.clock.advance(ts_ms, account)
        opened = self.clock.start(ts_ms[:first], account[:first])
        rest = self.clock.advance(ts_ms[first:], account[first:])
        return np.concatenate([opened[0], rest[0]]), np.concatenate([opened[1], rest[1]])

    def _admit(self, ts_ms: Ints, watermark_ms: Ints) -> int:
        """Move late uses (n,) in place to the slot that was open when they came; returns how many there are."""
        slot_ms = self._policy.time.slot_s * 1000
        open_ms = watermark_ms // slot_ms * slot_ms
        late = ts_ms < open_ms
        ts_ms[late] = open_ms[late]
        return int(np.count_nonzero(late))

    @staticmethod
    def _dead(bad: Sequence[contract.Bad], values: Sequence[bytes | None], offsets: Sequence[int] | Ints) -> list[Dead]:
        return [Dead(int(offsets[one.index]), one.reason, one.detail, values[one.index]) for one in bad]

    def _counts(self, decoded: contract.Decoded, events: int) -> Counter[str]:
        counts = Counter(
            {
                "events": events,
                "mistyped": decoded.mistyped,
                "unknown_fields": decoded.unknown_fields,
                "evicted:duplicates": self.duplicates.evicted,
            }
        )
        self.duplicates.evicted = 0
        counts.update({f"blind:{name}": count for name, count in decoded.missing.items()})
        return counts


def _uses(columns: contract.Columns) -> Uses:
    keys, first = np.unique(columns.account_key, return_index=True)
    names = dict(zip(keys.tolist(), [columns.account[at] for at in first.tolist()], strict=True))
    # A source that logs only a share of its requests: what is absent proves nothing, and history is blind.
    turns = np.where(columns.sampled, -1, columns.n_assistant)
    return Uses(
        account=columns.account_key,
        ts_ms=columns.ts_ms.copy(),
        template=columns.template,
        org=columns.org,
        client=columns.client,
        client_full=columns.client_full,
        pathway=columns.pathway,
        program=columns.program,
        signup_ms=columns.signup_ms,
        tok_in=columns.tok_in,
        tok_out=columns.tok_out,
        turns=np.where(turns < 0, MISSING_TURNS, np.minimum(turns, MOST_TURNS)).astype(np.uint8),
        flags=_flags(columns),
        task_class=columns.task_class,
        elicits=columns.elicits,
        names=names,
    )


def _flags(columns: contract.Columns) -> Bytes:
    """The flag bits of each event; one without status and error counts as served."""
    error = columns.error
    enforced = (error == contract.ERROR_CODES["blocked"]) | (error == contract.ERROR_CODES["suspended"])
    failed = ~enforced & ((error > 0) | (columns.status >= 400))  # noqa: PLR2004 - HTTP's own threshold
    served = ~enforced & ~failed
    bits: list[tuple[Bools, int]] = [
        (served, SERVED),
        (enforced, ENFORCED),
        (failed, FAILED),
    ]
    flags = np.zeros(error.size, np.uint8)
    for holds, bit in bits:
        flags[holds] |= bit
    return flags
