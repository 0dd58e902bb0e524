"""Sets and sorted indices of 64-bit keys as numpy arrays: bounded, vectorised, without Python objects per key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0)

_MERGED = 4  # a run of a key index is merged into the one before it until that is so many times as long ...
_SHORT = 2048  # ... and holds more keys than this


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
    """An index from 64-bit keys to numbers (rows of a table).

    Keys lie in ascending runs, each some times as long as the next; lookups are binary searches over whole arrays.
    What is put in makes a short run, and short ones are merged: a key is copied a few times in all.  12 bytes a key.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, Numbers]] = []

    def __len__(self) -> int:
        return sum(keys.size for keys, _ in self._runs)

    def find(self, keys: Keys) -> Numbers:
        """The number of each key (n,), -1 where it is not known."""
        found = np.full(len(keys), -1, np.int32)
        for held, numbers in self._runs:
            at = np.searchsorted(held, keys)
            at[at == held.size] = 0
            known = np.flatnonzero(held[at] == keys)
            found[known] = numbers[at[known]]
        return found

    def insert(self, keys: Keys, numbers: Numbers) -> None:
        """Add unknown `keys`, ascending and distinct, with their `numbers`."""
        if not keys.size:
            return
        runs = self._runs
        runs.append((keys, numbers))
        while len(runs) > 1 and runs[-2][0].size <= max(_SHORT, _MERGED * runs[-1][0].size):
            last = runs.pop()
            runs[-1] = _merged((runs[-1], last))

    def drop(self, gone: Bools) -> None:
        """Forget the keys of the numbers where `gone` (numbers,) holds."""
        kept = [(keys, numbers, ~gone[numbers]) for keys, numbers in self._runs]
        self._runs = [(keys[stays], numbers[stays]) for keys, numbers, stays in kept if stays.any()]


def _merged(runs: Sequence[tuple[Keys, Numbers]]) -> tuple[Keys, Numbers]:
    keys, numbers = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    order = np.argsort(keys, kind="stable")  # timsort: ascending runs are merged in one pass
    return keys[order], numbers[order]
