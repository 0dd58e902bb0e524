"""The account table: what campaigns knows of each account beside its uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.core.arrays import Array, Bools, Floats, Ints, Keys, Rows
from streamproc.core.keys import KeyIndex

if TYPE_CHECKING:
    from streamproc.core.uses import Uses

FACTS = ("org", "client", "client_full", "pathway", "program", "signup_ms")
NEVER_MS = -(1 << 62)

# Columns by row: name -> (dtype, value of a new row).
_COLUMNS: dict[str, tuple[Any, int]] = {
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
}


class AccountTable:
    """One row an account, by 64-bit key; rows are given in order of key as slots close, and used again.

    Facts are the latest known ones: a missing field never overwrites a known one.  `scores` holds the evidence
    that an account carries from round to round, one column a view.
    """

    def __init__(self, views: int, start_score: float) -> None:
        self._index = KeyIndex()
        self._start_score = start_score
        self.ids: list[str] = []
        self.columns: dict[str, Array] = {name: np.empty(0, dtype) for name, (dtype, _) in _COLUMNS.items()}
        self.scores: Floats = np.empty((0, views))
        self.free: Rows = np.empty(0, np.int32)  # rows to use again, ascending

    def __len__(self) -> int:
        return len(self._index)

    @property
    def rows(self) -> int:
        """One more than the largest row ever given."""
        return len(self.ids)

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
            for row, key in zip(made.tolist(), keys[new].tolist(), strict=True):
                self.ids[row] = names[key]
            self._index.insert(keys[new], made)
        return rows

    def learn(self, rows: Rows, uses: Uses) -> None:
        """Take the facts of `uses`, whose accounts are at `rows`; both in ascending order of time an account."""
        for name in FACTS:
            values = getattr(uses, name)
            known = values > 0
            self.columns[name][rows[known]] = values[known]

    def spend_new_values(self, rows: Rows, day: int, budget: int) -> Bools:
        """For each row, once per new value and in fixed order: whether its account may still bring one that day."""
        columns = self.columns
        stale = columns["new_day"][rows] != day
        columns["new_values"][rows[stale]] = 0
        columns["new_day"][rows] = day
        order = np.argsort(rows, kind="stable")
        starts = np.searchsorted(rows[order], rows[order], side="left")
        rank = np.empty(rows.size, np.int64)
        rank[order] = np.arange(rows.size) - starts
        allowed = columns["new_values"][rows].astype(np.int64) + rank < budget
        np.add.at(columns["new_values"], rows[allowed], 1)
        return allowed

    def drop(self, rows: Rows) -> None:
        """Forget the accounts at `rows`; no use may refer to them any more."""
        if not rows.size:
            return
        gone = np.zeros(self.rows, np.bool_)
        gone[rows] = True
        self._index.keep(~gone[self._index.numbers])
        self.free = np.union1d(self.free, rows).astype(np.int32)
        for row in rows.tolist():
            self.ids[row] = ""

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        encoded = [name.encode() for name in self.ids]
        return self.columns | {
            "index_keys": self._index.keys,
            "index_rows": self._index.numbers,
            "scores": self.scores,
            "free": self.free,
            "ids_length": np.fromiter(map(len, encoded), np.uint16, len(encoded)),
            "ids_text": np.frombuffer(b"".join(encoded), np.uint8),
        }

    def load(self, arrays: dict[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        self.columns = {name: arrays[name] for name in _COLUMNS}
        self._index = KeyIndex(arrays["index_keys"].view(np.uint64), arrays["index_rows"].view(np.int32))
        self.scores = arrays["scores"].view(np.float64)
        self.free = arrays["free"].view(np.int32)
        text = arrays["ids_text"].tobytes()
        ends = np.cumsum(arrays["ids_length"], dtype=np.int64).tolist()
        self.ids = [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]

    def _new_rows(self, count: int) -> Rows:
        reused, self.free = self.free[:count], self.free[count:]
        fresh = np.arange(self.rows, self.rows + count - reused.size, dtype=np.int32)
        self.ids.extend([""] * fresh.size)
        rows = np.concatenate([reused, fresh])
        for name, (dtype, value) in _COLUMNS.items():
            self.columns[name] = np.concatenate([self.columns[name], np.empty(fresh.size, dtype)])
            self.columns[name][rows] = value
        grown = np.empty((fresh.size, self.scores.shape[1]))
        self.scores = np.concatenate([self.scores, grown])
        self.scores[rows] = self._start_score
        return rows
