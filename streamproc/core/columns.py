"""Columns of one table that grow together: adding rows costs by the rows added, not by those held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.core.arrays import Array

GROWTH = 4  # a full table gains one part in so many


class Columns:
    """Arrays of equal length by name, each (rows, ...); `kinds` gives dtype and shape of a row of each.

    There is more room than rows, and what is room alone has no memory yet: the system gives a page when it is written.
    """

    def __init__(self, kinds: Mapping[str, tuple[Any, tuple[int, ...]]]) -> None:
        self.rows = 0
        self._room = {name: np.empty((0, *shape), dtype) for name, (dtype, shape) in kinds.items()}

    def __getitem__(self, name: str) -> Array:
        """A column's rows; what is written there is written into the table."""
        return self._room[name][: self.rows]

    def extend(self, count: int) -> None:
        """Add `count` rows, whose values are whatever stood there."""
        rows = self.rows + count
        for name, held in self._room.items():
            if rows > len(held):
                self._room[name] = np.empty((rows + rows // GROWTH, *held.shape[1:]), held.dtype)
                self._room[name][: self.rows] = held[: self.rows]
        self.rows = rows

    def arrays(self) -> dict[str, Array]:
        """All columns, for a snapshot."""
        return {name: self[name] for name in self._room}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take the columns that `arrays()` gave."""
        self._room = {name: arrays[name].astype(held.dtype) for name, held in self._room.items()}
        self.rows = min(map(len, self._room.values()))
