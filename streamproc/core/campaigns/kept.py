"""Kept values of components: found exactly, and by nearness.

They lie in spans of growing size, each some times as large as the next: what a slot brings makes a small one, and
small ones are merged, so that a value is moved a few times in all and never the whole table for a few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamproc.core.arrays import Array, Bools, Keys, Rows
from streamproc.core.campaigns.bands import Span

MERGED = 4  # a span is merged into the one before it until that is so many times as large ...
SMALL = 4096  # ... and holds more values than this
NOWHERE = np.int64(1 << 62)  # beyond any distance
DISTANCE_BIT = (
    32  # a distance stands above an id of 32 bits: the least of both together is the nearest, lowest id first
)


@dataclass(frozen=True, slots=True)
class _Part:
    span: Span
    component: Rows  # of each of the span's values

    def __len__(self) -> int:
        return self.component.size

    def merged(self, other: _Part) -> _Part:
        span, order = self.span.merged(other.span)
        return _Part(span, np.concatenate([self.component, other.component])[order])


class Kept:
    """Kept 64-bit values, each of one component.  36 bytes a value."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def find(self, values: Keys) -> Rows:
        """The component of each of `values` (n,) that is kept itself, -1 for others."""
        ids = np.full(values.size, -1, np.int32)
        for part in self._parts:
            at = part.span.find(values)
            held = (at >= 0).nonzero()[0]
            ids[held] = part.component[at[held]]
        return ids

    def nearest(self, values: Keys, radius: int) -> Rows:
        """The component of the nearest kept value within `radius` bits of each (n,), lowest id first; -1 if none."""
        best = np.full(values.size, NOWHERE)
        for part in self._parts:
            pairs = part.span.nearest(values, radius)
            ids = part.component[part.span.values.searchsorted(pairs.right)]
            np.minimum.at(best, pairs.left, pairs.distance << DISTANCE_BIT | ids)
        return np.where(best < NOWHERE, best, -1).astype(np.int32)

    def insert(self, values: Keys, ids: Rows) -> None:
        """Keep `values`, ascending, distinct and none of them kept, for the components `ids`."""
        if not values.size:
            return
        parts = self._parts
        parts.append(_Part(Span.of(values), ids))
        while len(parts) > 1 and len(parts[-2]) <= max(SMALL, MERGED * len(parts[-1])):
            last = parts.pop()
            parts[-1] = parts[-1].merged(last)

    def drop(self, gone: Bools) -> None:
        """Forget the values of the components where `gone` (ids,) holds."""
        parts = []
        for part in self._parts:
            lost = gone[part.component]
            if not lost.all():
                parts.append(_Part(part.span.without(lost), part.component[~lost]) if lost.any() else part)
        self._parts = parts

    def of(self, wanted: Bools) -> tuple[Keys, Rows]:
        """The values of the components where `wanted` (ids,) holds, ascending, and the component of each."""
        chosen = [(part, wanted[part.component]) for part in self._parts]
        values = np.concatenate([np.empty(0, np.uint64), *(part.span.values[held] for part, held in chosen)])
        ids = np.concatenate([np.empty(0, np.int32), *(part.component[held] for part, held in chosen)])
        order = np.argsort(values, kind="stable")
        return values[order], ids[order]

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        return {
            "values": np.concatenate([np.empty(0, np.uint64), *(part.span.values for part in self._parts)]),
            "component": np.concatenate([np.empty(0, np.int32), *(part.component for part in self._parts)]),
            "lengths": np.array([len(part) for part in self._parts], np.int64),
        }

    def load(self, arrays: dict[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        ends = np.cumsum(arrays["lengths"].astype(np.int64)).tolist()
        values, component = arrays["values"].astype(np.uint64), arrays["component"].astype(np.int32)
        self._parts = [
            _Part(Span.of(values[start:end]), component[start:end].copy())
            for start, end in zip([0, *ends], ends, strict=False)
        ]
