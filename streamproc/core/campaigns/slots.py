"""Open slots: uses wait here, by their own times, until every partition's watermark has passed their slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core import uses as columns
from streamproc.core.arrays import starts_of
from streamproc.core.uses import COLUMNS, Uses

if TYPE_CHECKING:
    from streamproc.core.arrays import Ints


class OpenSlots:
    """Uses of slots that are not closed yet, in order of arrival.  `slot_ms` is a slot's length."""

    def __init__(self, slot_ms: int) -> None:
        self.slot_ms = slot_ms
        self.waiting: dict[int, list[Uses]] = {}

    def put(self, uses: Uses, first_open: int | None) -> int:
        """Put each use into its slot; those of closed slots go to the first open one.  Returns how many did."""
        slot = uses.ts_ms // self.slot_ms
        late = 0
        if first_open is not None:
            late = int(np.count_nonzero(slot < first_open))
            slot = np.maximum(slot, first_open)
        order = np.argsort(slot, kind="stable")
        starts = starts_of(slot[order])
        for rows in np.split(order, starts[1:]):
            if rows.size:
                whole = rows.size == len(uses)
                self.waiting.setdefault(int(slot[rows[0]]), []).append(uses if whole else uses.take(rows))
        return late

    def first(self) -> int | None:
        """The earliest slot that holds a use."""
        return min(self.waiting, default=None)

    def close(self, slot: int) -> Uses:
        """Take out the uses of `slot`, in an order that does not depend on how they came."""
        uses = columns.concat(self.waiting.pop(slot, []))
        return uses.take(_canonical(uses)) if len(uses) else uses


def _canonical(uses: Uses) -> Ints:
    """Order by account and time; where these are equal, by all other columns."""
    order = np.lexsort((uses.ts_ms, uses.account))
    account, ts_ms = uses.account[order], uses.ts_ms[order]
    if np.any((account[1:] == account[:-1]) & (ts_ms[1:] == ts_ms[:-1])):
        rest = [getattr(uses, name) for name in COLUMNS if name not in {"account", "ts_ms"}]
        order = np.lexsort((*rest, uses.ts_ms, uses.account))
    return order
