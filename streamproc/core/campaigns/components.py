"""Components: near-equal values of a link field (templates) taken together.

A new 64-bit SimHash joins the component of the nearest kept value within `radius` bits, or founds one.  Candidates
share one of four 16-bit bands with it, which finds every pair up to 3 bits apart and most up to 8 (Manku, Jain and
Das Sarma 2007, "Detecting near-duplicates for web crawling").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamproc.core.arrays import Array, Bools, Ints, Keys, Rows, rank_within
from streamproc.core.keys import KeyIndex

BANDS = 4
BAND_BITS = 16
MOST_UNSETTLED = 2048  # values in the small span at least, before it is merged into the large one
MAX_CANDIDATES = 64  # looked at per band and value: bounds the work when many kept values share a band


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs (value at `left`, kept value at `right`) that lie within the radius of each other."""

    left: Ints
    right: Rows
    distance: Ints


class _Sorted:
    """A span of values sorted by each of their bands; positions count from `first`."""

    def __init__(self, values: Keys, first: int) -> None:
        self._orders: list[Rows] = []
        self._bands: list[NDArray[np.uint16]] = []
        for band in range(BANDS):
            keys = _band(values, band)
            order = np.argsort(keys, kind="stable")
            self._orders.append((order + first).astype(np.int32))
            self._bands.append(keys[order])

    def candidates(self, values: Keys) -> tuple[Ints, Rows]:
        """Pairs (value at left, position at right) that share a band; a pair may come more than once."""
        lefts, rights = [], []
        for band, (held, order) in enumerate(zip(self._bands, self._orders, strict=True)):
            keys = _band(values, band)
            low = np.searchsorted(held, keys, side="left")
            counts = np.minimum(np.searchsorted(held, keys, side="right") - low, MAX_CANDIDATES)
            left = np.repeat(np.arange(values.size), counts)
            within = np.arange(left.size) - np.repeat(np.cumsum(counts) - counts, counts)
            lefts.append(left)
            rights.append(order[np.repeat(low, counts) + within])
        return np.concatenate(lefts), np.concatenate(rights)


class Bands:
    """Values findable by each of their four bands; positions are those of insertion.

    New values go to a small span that is sorted anew each time, and into the large one when they have become many.
    """

    def __init__(self, values: Keys) -> None:
        self.values = values
        self.settled = values.size
        self._spans = [_Sorted(values, 0)]

    def append(self, values: Keys) -> None:
        """Add `values` behind those held."""
        self.values = np.concatenate([self.values, values])
        if not values.size:
            return
        if self.values.size - self.settled > max(MOST_UNSETTLED, self.settled // 4):
            self.settled = self.values.size
            self._spans = [_Sorted(self.values, 0)]
        else:
            self._spans[1:] = [_Sorted(self.values[self.settled :], self.settled)]

    def near(self, values: Keys, radius: int) -> _Pairs:
        """All pairs of `values` with values held, at most `radius` bits apart; a pair may come more than once."""
        found = [span.candidates(values) for span in self._spans]
        left, right = (np.concatenate(side) for side in zip(*found, strict=True))
        distance = np.bitwise_count(values[left] ^ self.values[right]).astype(np.int64)
        close = distance <= radius
        return _Pairs(left[close], right[close], distance[close])


def _band(values: Keys, band: int) -> NDArray[np.uint16]:
    return ((values >> np.uint64(band * BAND_BITS)) & np.uint64(0xFFFF)).astype(np.uint16)


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
        self._index = KeyIndex()  # kept value -> component
        self._bands = Bands(np.empty(0, np.uint64))
        self._kept_component: Rows = np.empty(0, np.int32)  # of each kept value, by position in the bands
        self._kept: NDArray[np.int16] = np.zeros(0, np.int16)  # values kept, by id
        self._founder: Keys = np.zeros(0, np.uint64)  # first value, by id
        self._last_slot: Ints = np.full(0, -1, np.int64)  # slot of the last use, by id; -1 when the id is free
        self._free: Rows = np.empty(0, np.int32)  # ids to use again, ascending

    def __len__(self) -> int:
        """Components that are alive."""
        return self._last_slot.size - self._free.size

    @property
    def ids(self) -> int:
        """One more than the largest id ever given."""
        return self._last_slot.size

    @property
    def values(self) -> int:
        """Kept values of all components."""
        return len(self._index)

    def founder(self, ids: Rows) -> Keys:
        """The first value of each component (n,): what stands for it where people read."""
        return self._founder[ids]

    def kept(self, ids: Rows) -> tuple[Keys, Rows]:
        """All kept values of the components `ids` and which component each belongs to, in order of value."""
        chosen = np.isin(self._index.numbers, ids)
        return self._index.keys[chosen], self._index.numbers[chosen]

    def all_kept(self) -> tuple[Keys, Rows]:
        """All kept values in ascending order and the component of each."""
        return self._index.keys, self._index.numbers

    def take(self, values: Keys, slot: int, may_found: Callable[[Ints], Bools]) -> Rows:
        """The component of each of a slot's values (n,): that of the nearest kept value, or one that it founds.

        `may_found` is asked which of the values (given by index) that nothing kept is near may found components;
        -1 where it says no or no room is left.  Values that are near a founder of this call join it.
        """
        ids = self._index.find(values)
        unknown = np.flatnonzero(ids < 0)
        if unknown.size:
            pairs = self._bands.near(values[unknown], self.radius)
            ids[unknown] = _nearest(unknown.size, pairs, self._kept_component)
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
        self._index.keep(~gone[self._index.numbers])
        kept = ~gone[self._kept_component]
        self._kept_component = self._kept_component[kept]
        self._bands = Bands(self._bands.values[kept])

    def oldest_first(self, among: Bools) -> Rows:
        """The ids where `among` (ids,) holds, least recently used first."""
        ids = np.flatnonzero(among & (self._last_slot >= 0))
        return ids[np.lexsort((ids, self._last_slot[ids]))].astype(np.int32)

    def _new_ids(self, values: Keys, slot: int) -> Rows:
        reused, self._free = self._free[: values.size], self._free[values.size :]
        fresh = np.arange(self.ids, self.ids + values.size - reused.size, dtype=np.int32)
        self._kept = np.concatenate([self._kept, np.zeros(fresh.size, np.int16)])
        self._founder = np.concatenate([self._founder, np.zeros(fresh.size, np.uint64)])
        self._last_slot = np.concatenate([self._last_slot, np.zeros(fresh.size, np.int64)])
        ids = np.concatenate([reused, fresh])
        self._founder[ids] = values
        self._last_slot[ids] = slot
        return ids

    def _keep(self, values: Keys, ids: Rows) -> None:
        """Keep `values` as members of their components, as far as each has room."""
        order = np.argsort(ids, kind="stable")
        rank = np.empty(ids.size, np.int64)
        rank[order] = rank_within(ids[order])
        room = rank < self.kept_values - self._kept[ids]
        values, ids = values[room], ids[room]
        np.add.at(self._kept, ids, 1)
        self._index.insert(values, ids)
        self._bands.append(values)
        self._kept_component = np.concatenate([self._kept_component, ids])

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        return {
            "index_keys": self._index.keys,
            "index_numbers": self._index.numbers,
            "band_values": self._bands.values,
            "bands_settled": np.array([self._bands.settled]),
            "kept_component": self._kept_component,
            "kept": self._kept,
            "founder": self._founder,
            "last_slot": self._last_slot,
        }

    def load(self, arrays: dict[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        self._index = KeyIndex(arrays["index_keys"].astype(np.uint64), arrays["index_numbers"].astype(np.int32))
        values, (settled,) = arrays["band_values"].astype(np.uint64), arrays["bands_settled"].tolist()
        self._bands = Bands(values[:settled])
        self._bands.append(values[settled:])
        self._kept_component = arrays["kept_component"].astype(np.int32)
        self._kept = arrays["kept"].astype(np.int16)
        self._founder = arrays["founder"].astype(np.uint64)
        self._last_slot = arrays["last_slot"].astype(np.int64)
        self._free = np.flatnonzero(self._last_slot < 0).astype(np.int32)


def _nearest(count: int, pairs: _Pairs, component: Rows) -> Rows:
    """For each of `count` left values the component of the nearest right one (lowest id first), -1 if none."""
    best = np.full(count, -1, np.int32)
    if pairs.left.size:
        ids = component[pairs.right]
        order = np.lexsort((ids, pairs.distance, pairs.left))
        left = pairs.left[order]
        first = rank_within(left) == 0
        best[left[first]] = ids[order[first]]
    return best


def _joins_within(values: Keys, radius: int) -> Ints:
    """Which earlier founder among `values` each joins, -1 for founders; values are taken in order."""
    joins = np.full(values.size, -1, np.int64)
    pairs = Bands(values).near(values, radius)
    earlier = pairs.right < pairs.left
    if not earlier.any():
        return joins
    left, right, distance = pairs.left[earlier], pairs.right[earlier], pairs.distance[earlier]
    for at in np.lexsort((right, distance, left)):
        later, founder = left[at], right[at]
        if joins[later] < 0 and joins[founder] < 0:
            joins[later] = founder
    return joins
