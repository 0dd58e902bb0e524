"""Sets and sorted indices of 64-bit keys as numpy arrays: bounded, vectorised, without Python objects per key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0)


class KeySet:
    """An open-addressing hash set of non-zero 64-bit keys with linear probing, filled by whole arrays.

    Sixteen bytes a key at most; membership of a run of keys costs a handful of numpy calls whatever its length.
    """

    def __init__(self, keys: Keys | None = None) -> None:
        self._slots: Keys = np.zeros(1024, np.uint64)
        self._count = 0
        if keys is not None:
            self.add(keys)

    def __len__(self) -> int:
        return self._count

    def keys(self) -> Keys:
        """All keys in ascending order, shape (len,)."""
        return np.sort(self._slots[self._slots != _EMPTY])

    def __contains__(self, key: int) -> bool:
        return bool(self.contains(np.array([key], np.uint64))[0])

    def contains(self, keys: Keys) -> Bools:
        """Which of `keys` (n,) are in the set."""
        held = np.zeros(len(keys), np.bool_)
        pending = np.arange(len(keys))
        at = self._home(keys)
        while pending.size:
            found = self._slots[at]
            match = found == keys[pending]
            held[pending[match]] = True
            open_ = ~match & (found != _EMPTY)
            pending = pending[open_]
            at = (at[open_] + 1) & (self._slots.size - 1)
        return held

    def add(self, keys: Keys) -> None:
        """Put `keys` in; those already there change nothing."""
        fresh = np.unique(keys)
        fresh = fresh[~self.contains(fresh)]
        self._grow(self._count + fresh.size)
        self._place(fresh)
        self._count += fresh.size

    def _home(self, keys: Keys) -> Ints:
        shift = np.uint64(65 - self._slots.size.bit_length())
        return ((keys * _SPREAD) >> shift).astype(np.int64)

    def _place(self, keys: Keys) -> None:
        at = self._home(keys)
        while keys.size:
            free = self._slots[at] == _EMPTY
            self._slots[at[free]] = keys[free]
            lost = self._slots[at] != keys
            keys, at = keys[lost], (at[lost] + 1) & (self._slots.size - 1)

    def _grow(self, count: int) -> None:
        if 2 * count <= self._slots.size:
            return
        held = self.keys()
        self._slots = np.zeros(1 << (2 * count).bit_length(), np.uint64)
        self._place(held)


class KeyIndex:
    """A sorted index from 64-bit keys to numbers (rows of a table, ids of components).

    Lookups are binary searches over whole arrays; putting m keys in copies the index once.  Twelve bytes a key.
    """

    def __init__(self, keys: Keys | None = None, numbers: NDArray[np.int32] | None = None) -> None:
        self.keys: Keys = np.empty(0, np.uint64) if keys is None else keys
        self.numbers: NDArray[np.int32] = np.empty(0, np.int32) if numbers is None else numbers

    def __len__(self) -> int:
        return self.keys.size

    def find(self, keys: Keys) -> NDArray[np.int32]:
        """The number of each key (n,), -1 where it is not known."""
        if not self.keys.size:
            return np.full(len(keys), -1, np.int32)
        at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        return np.where(self.keys[at] == keys, self.numbers[at], np.int32(-1)).astype(np.int32)

    def insert(self, keys: Keys, numbers: NDArray[np.int32]) -> None:
        """Add unknown `keys`, ascending and distinct, with their `numbers`."""
        at = np.searchsorted(self.keys, keys)
        self.keys = np.insert(self.keys, at, keys)
        self.numbers = np.insert(self.numbers, at, numbers)

    def keep(self, kept: Bools) -> None:
        """Drop the keys where `kept` (len,) is false."""
        self.keys, self.numbers = self.keys[kept], self.numbers[kept]
