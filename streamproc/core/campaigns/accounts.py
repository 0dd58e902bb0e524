"""The account table: what campaigns knows of each account beside its uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.core.arrays import Array, Bools, Ints, Keys, Rows, Singles, rank_within
from streamproc.core.campaigns.names import Names
from streamproc.core.columns import Columns
from streamproc.core.keys import KeyIndex
from streamproc.core.snapshot import under, within

if TYPE_CHECKING:
    from streamproc.core.uses import Uses

FACTS = ("org", "client", "client_full", "pathway", "program", "signup_ms")
NEVER_MS = -(1 << 62)
UNSEEN, STRAYED = -1, -2  # in place of a partition: known from none yet; from more than one

# Columns by row: name -> (dtype, value of a new row).
_NEW: dict[str, tuple[Any, int]] = {
    "key": (np.uint64, 0),
    "org": (np.uint64, 0),
    "client": (np.uint64, 0),
    "client_full": (np.uint64, 0),
    "pathway": (np.uint64, 0),
    "program": (np.uint64, 0),
    "signup_ms": (np.int64, -1),
    "last_ms": (np.int64, NEVER_MS),
    "new_day": (np.int32, -1),
    "new_values": (np.int16, 0),
    "partition": (np.int16, UNSEEN),
}


class AccountTable:
    """One row an account, by 64-bit key; rows are given in order of key as slots close, and used again.

    Facts are the latest known ones: a missing field never overwrites a known one.  `scores` holds the evidence
    that an account carries from round to round, by view and by memory.
    """

    def __init__(self, views: int, memories: int, start_score: float) -> None:
        self._index = KeyIndex()
        self._start_score = start_score
        kinds = {name: (dtype, ()) for name, (dtype, _) in _NEW.items()}
        self.columns = Columns(kinds | {"scores": (np.float32, (views, memories))})
        self.ids = Names()
        self.free: Rows = np.empty(0, np.int32)  # rows to use again, ascending

    def __len__(self) -> int:
        return len(self._index)

    @property
    def rows(self) -> int:
        """One more than the largest row ever given."""
        return self.columns.rows

    @property
    def key(self) -> Keys:
        """Account keys by row."""
        return self.columns["key"].view(np.uint64)

    @property
    def last_ms(self) -> Ints:
        """Event time of each account's last use, by row."""
        return self.columns["last_ms"].view(np.int64)

    def facts(self, name: str) -> Keys:
        """A column of keys among the facts, by row; 0 where it is not known."""
        return self.columns[name].view(np.uint64)

    @property
    def signup_ms(self) -> Ints:
        """Event time of each account's sign-up by row, -1 where it is not known."""
        return self.columns["signup_ms"].view(np.int64)

    @property
    def scores(self) -> Singles:
        """The evidence that each account carries, shape (rows, views, memories)."""
        return self.columns["scores"].view(np.float32)

    def find(self, keys: Keys) -> Rows:
        """Rows of `keys` (n,), -1 for accounts not known."""
        return self._index.find(keys)

    def enter(self, keys: Keys, names: dict[int, str]) -> Rows:
        """Rows of `keys` (ascending, distinct), made where they are new."""
        rows = self._index.find(keys)
        new = np.flatnonzero(rows < 0)
        if new.size:
            made = self._new_rows(new.size)
            rows[new] = made
            self.columns["key"][made] = keys[new]
            self.ids.put(made, [names[key] for key in keys[new].tolist()])
            self._index.insert(keys[new], made)
        return rows

    def learn(self, rows: Rows, uses: Uses) -> None:
        """Take the facts of `uses`, whose accounts are at `rows`; both in ascending order of time an account."""
        for name in FACTS:
            values = getattr(uses, name)
            known = (values > 0).nonzero()[0]
            self.columns[name][rows[known]] = values[known]

    def stray(self, keys: Keys, partition: int) -> int:
        """Note that uses of `keys` (distinct) came by `partition`; returns how many accounts came by another before.

        An account is counted once.  Those whose first slot is still open are not known yet.
        """
        rows = self._index.find(keys)
        rows = rows[rows >= 0]
        seen = self.columns["partition"].view(np.int16)
        strayed = rows[(seen[rows] >= 0) & (seen[rows] != partition)]
        seen[rows[seen[rows] == UNSEEN]] = partition
        seen[strayed] = STRAYED
        return int(strayed.size)

    def spend_new_values(self, rows: Rows, day: int, budget: int) -> Bools:
        """For each of `rows` (ascending, once per new value): whether its account may still bring one that day."""
        spent = self.columns["new_values"].view(np.int16)
        stale = rows[self.columns["new_day"][rows] != day]
        spent[stale] = 0
        self.columns["new_day"][stale] = day
        allowed = spent[rows] + rank_within(rows) < budget
        np.add.at(spent, rows[allowed], 1)
        return allowed

    def drop(self, rows: Rows) -> None:
        """Forget the accounts at `rows`; no use may refer to them any more."""
        if not rows.size:
            return
        gone = np.zeros(self.rows, np.bool_)
        gone[rows] = True
        self._index.drop(gone)
        self.free = np.union1d(self.free, rows).astype(np.int32)
        self.ids.drop(rows)

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        return self.columns.arrays() | under("ids", self.ids.arrays()) | {"free": self.free}

    def load(self, arrays: dict[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        self.columns.load(arrays)
        self.ids.load(within("ids", arrays))
        self.free = arrays["free"].astype(np.int32)
        held = np.ones(self.rows, np.bool_)
        held[self.free] = False
        rows = np.flatnonzero(held).astype(np.int32)
        rows = rows[np.argsort(self.key[rows])]
        self._index = KeyIndex()
        self._index.insert(self.key[rows], rows)

    def _new_rows(self, count: int) -> Rows:
        reused, self.free = self.free[:count], self.free[count:]
        fresh = np.arange(self.rows, self.rows + count - reused.size, dtype=np.int32)
        rows = np.concatenate([reused, fresh])
        self.columns.extend(fresh.size)
        for name, (_, value) in _NEW.items():
            self.columns[name][rows] = value
        self.scores[rows] = self._start_score
        return rows
