"""Duplicate deliveries: the keys of (account, request id) of the last hours of event time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.keys import KeySet

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Ints, Keys

GENERATION_MS = 3_600_000
GENERATIONS = 2  # kept behind the watermark's own: a duplicate is known for an hour at least


class Duplicates:
    """Sets of keys, one for each hour of event time; at most `capacity` keys, the oldest hours going first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.generations: dict[int, KeySet] = {}
        self.evicted = 0

    def seen(self, keys: Keys, ts_ms: Ints, watermark_ms: Ints) -> Bools:
        """Which of the events (n,) were seen before, in this run or earlier; all are remembered.

        `watermark_ms` (n,) is what each one met.  An event later than the hours kept is never called a duplicate,
        or the answer would depend on when old hours were forgotten.
        """
        hours = ts_ms // GENERATION_MS
        oldest = watermark_ms // GENERATION_MS - (GENERATIONS - 1)
        known = hours >= oldest
        again = np.zeros(keys.size, np.bool_)
        for hour, generation in self.generations.items():
            near = known & (np.abs(hours - hour) < GENERATIONS) & (hour >= oldest)
            if near.any():
                again[near] |= generation.contains(keys[near])
        again |= _repeated(keys, hours, oldest, known & ~again)
        new = known & ~again
        for hour in np.unique(hours[new]).tolist():
            self.generations.setdefault(hour, KeySet()).add(keys[new & (hours == hour)])
        return again

    def expire(self, watermark_ms: int) -> None:
        """Forget what lies more than an hour before the watermark, and the oldest hours beyond the capacity."""
        oldest = watermark_ms // GENERATION_MS - GENERATIONS + 1
        held = sum(map(len, self.generations.values()))
        for hour in sorted(self.generations):
            if hour >= oldest and held <= self._capacity:
                break
            dropped = len(self.generations.pop(hour))
            self.evicted += dropped if hour >= oldest else 0
            held -= dropped


def _repeated(keys: Keys, hours: Ints, oldest: Ints, among: Bools) -> Bools:
    """Which events (n,) `among` those given follow one of the same key in the run that each still remembers."""
    repeated = np.zeros(keys.size, np.bool_)
    rows = np.flatnonzero(among)
    ordered = np.sort(keys[rows])
    if not np.any(ordered[1:] == ordered[:-1]):
        return repeated
    _, inverse, count = np.unique(keys[rows], return_inverse=True, return_counts=True)
    remembered: dict[int, list[int]] = {}
    for row in rows[count[inverse] > 1].tolist():
        hour = int(hours[row])
        before = remembered.setdefault(int(keys[row]), [])
        repeated[row] = any(abs(hour - other) < GENERATIONS and other >= oldest[row] for other in before)
        if not repeated[row]:
            before.append(hour)
    return repeated
