"""Requests that an enforcement turned away since the last round, by account: no evidence, and worth knowing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.arrays import Array, Ints, Keys

if TYPE_CHECKING:
    from streamproc.core.campaigns.memory import Memory


class TurnedAway:
    """Counts by account key; one entry an account and closed slot of the running round."""

    def __init__(self) -> None:
        self._keys: list[Keys] = []
        self._counts: list[Ints] = []

    def add(self, accounts: Keys) -> None:
        """Enter a closed slot's: the account key of each request, shape (n,)."""
        if accounts.size:
            keys, counts = np.unique(accounts, return_counts=True)
            self._keys.append(keys)
            self._counts.append(counts)

    def take(self, memory: Memory) -> Counter[str]:
        """Requests by the campaign for which the account is limited; begins anew."""
        by_campaign: Counter[str] = Counter()
        for keys, counts in zip(self._keys, self._counts, strict=True):
            for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
                standing = memory.standings.get(key)
                if standing is not None and standing.campaign is not None:
                    by_campaign[standing.campaign] += count
        self._keys, self._counts = [], []
        return by_campaign

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        return {
            "key": np.concatenate([np.empty(0, np.uint64), *self._keys]),
            "count": np.concatenate([np.empty(0, np.int64), *self._counts]),
        }

    def load(self, arrays: dict[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        self._keys, self._counts = [arrays["key"].view(np.uint64)], [arrays["count"].view(np.int64)]
