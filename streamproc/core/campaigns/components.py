"""Components: near-equal values of a link field (templates) taken together.

A new 64-bit SimHash joins the component of the nearest kept value within `radius` bits, or founds one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streamproc.core.arrays import Array, Bools, Ints, Keys, Rows, rank_within
from streamproc.core.campaigns.bands import Span
from streamproc.core.campaigns.kept import Kept
from streamproc.core.columns import Columns
from streamproc.core.snapshot import under, within

# Columns by id: dtype and shape of a row.
_COLUMNS = {
    "kept": (np.int16, ()),  # values kept
    "founder": (np.uint64, ()),  # first value
    "last_slot": (np.int32, ()),  # slot of the last use; -1 when the id is free
}


class Components:
    """The table of components of one link field.

    `radius` bits; `kept_values` a component; `capacity` components in all, beyond which none is founded.
    Ids are small integers, used again once no use refers to them.  All methods take values ascending and distinct,
    so that the order of arrival cannot matter.
    """

    def __init__(self, radius: int, kept_values: int, capacity: int) -> None:
        self.radius = radius
        self.kept_values = kept_values
        self.capacity = capacity
        self._values = Kept()
        self._columns = Columns(_COLUMNS)
        self._free: Rows = np.empty(0, np.int32)  # ids to use again, ascending

    def __len__(self) -> int:
        """Components that are alive."""
        return self.ids - self._free.size

    @property
    def ids(self) -> int:
        """One more than the largest id ever given."""
        return self._columns.rows

    @property
    def values(self) -> int:
        """Kept values of all components."""
        return len(self._values)

    def founder(self, ids: Rows) -> Keys:
        """The first value of each component (n,): what stands for it where people read."""
        return self._founder[ids]

    def find(self, values: Keys) -> Rows:
        """The component of each of `values` (n,) that is kept, -1 for others."""
        return self._values.find(values)

    def kept(self, ids: Rows) -> tuple[Keys, Rows]:
        """All kept values of the components `ids` and which component each belongs to, in order of value."""
        wanted = np.zeros(self.ids, np.bool_)
        wanted[ids] = True
        return self._values.of(wanted)

    def take(self, values: Keys, slot: int, may_found: Callable[[Ints], Bools]) -> Rows:
        """The component of each of a slot's values (n,): that of the nearest kept value, or one that it founds.

        `may_found` is asked which of the values (given by index) that nothing kept is near may found components;
        -1 where it says no or no room is left.  Values that are near a founder of this call join it.
        """
        ids = self._values.find(values)
        unknown = np.flatnonzero(ids < 0)
        if unknown.size:
            ids[unknown] = self._values.nearest(values[unknown], self.radius)
            new = unknown[ids[unknown] < 0]
            if new.size:
                founding = new[may_found(new)]
                ids[founding] = self._found(values[founding], slot)
            placed = unknown[ids[unknown] >= 0]
            self._keep(values[placed], ids[placed])
        self._last_slot[ids[ids >= 0]] = slot
        return ids

    def _found(self, values: Keys, slot: int) -> Rows:
        """New components for `values`: most found one, the rest join an earlier founder; -1 when full."""
        joins = _joins_within(values, self.radius)
        founders = np.flatnonzero(joins < 0)
        room = max(0, self.capacity - len(self))
        ids = np.full(values.size, -1, np.int32)
        ids[founders[:room]] = self._new_ids(values[founders[:room]], slot)
        joining = np.flatnonzero(joins >= 0)
        ids[joining] = ids[joins[joining]]
        return ids

    def expire(self, oldest_slot: int) -> None:
        """Forget the components whose last use lies before `oldest_slot`."""
        self.drop(np.flatnonzero((self._last_slot >= 0) & (self._last_slot < oldest_slot)).astype(np.int32))

    def drop(self, ids: Rows) -> None:
        """Forget these components; no use may refer to them any more."""
        if not ids.size:
            return
        gone = np.zeros(self.ids, np.bool_)
        gone[ids] = True
        self._last_slot[ids], self._kept[ids] = -1, 0
        self._free = np.flatnonzero(self._last_slot < 0).astype(np.int32)
        self._values.drop(gone)

    def oldest_first(self, among: Bools) -> Rows:
        """The ids where `among` (ids,) holds, least recently used first."""
        ids = np.flatnonzero(among & (self._last_slot >= 0))
        return ids[np.lexsort((ids, self._last_slot[ids]))].astype(np.int32)

    def _new_ids(self, values: Keys, slot: int) -> Rows:
        reused, self._free = self._free[: values.size], self._free[values.size :]
        fresh = np.arange(self.ids, self.ids + values.size - reused.size, dtype=np.int32)
        self._columns.extend(fresh.size)
        ids = np.concatenate([reused, fresh])
        self._founder[ids] = values
        self._last_slot[ids] = slot
        self._kept[ids] = 0
        return ids

    def _keep(self, values: Keys, ids: Rows) -> None:
        """Keep `values` as members of their components, as far as each has room."""
        order = np.argsort(ids, kind="stable")
        rank = np.empty(ids.size, np.int64)
        rank[order] = rank_within(ids[order])
        room = rank < self.kept_values - self._kept[ids]
        values, ids = values[room], ids[room]
        np.add.at(self._kept, ids, 1)
        self._values.insert(values, ids)

    @property
    def _kept(self) -> NDArray[np.int16]:
        return self._columns["kept"].view(np.int16)

    @property
    def _founder(self) -> Keys:
        return self._columns["founder"].view(np.uint64)

    @property
    def _last_slot(self) -> Rows:
        return self._columns["last_slot"].view(np.int32)

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        return self._columns.arrays() | under("values", self._values.arrays())

    def load(self, arrays: dict[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        self._columns.load(arrays)
        self._values.load(within("values", arrays))
        self._free = np.flatnonzero(self._last_slot < 0).astype(np.int32)


def _joins_within(values: Keys, radius: int) -> Ints:
    """Which earlier founder among `values` each joins, -1 for founders; values are taken in order."""
    joins = np.full(values.size, -1, np.int64)
    if values.size < 2:  # noqa: PLR2004
        return joins
    pairs = Span.of(values).near(values, radius)
    earlier = np.flatnonzero(pairs.right < values[pairs.left])
    left, distance = pairs.left[earlier], pairs.distance[earlier]
    right = np.searchsorted(values, pairs.right[earlier])
    order = np.lexsort((right, distance, left))
    for later, founder in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if joins[later] < 0 and joins[founder] < 0:
            joins[later] = founder
    return joins
