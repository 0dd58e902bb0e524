"""A view: the uses of the last hours gathered for one round, and who holds which component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from streamproc.core.arrays import Ints, Numbers, Rows, pairs_of
from streamproc.core.campaigns.blocks import Block, empty
from streamproc.core.uses import SERVED


@dataclass(frozen=True, slots=True)
class View:
    """Uses in [start_ms, end_ms), with counts by account and by (account, component).

    `requests` is by row of the account table; the pairs are sorted by account and component.  A use is named by its
    position in `account`, which is in the order of the blocks.
    """

    blocks: tuple[Block, ...]
    first: Ints  # (blocks + 1,) position of each block's first use, and of the end
    account: Rows  # (uses,)
    pair: Rows  # (uses,) index of the use's (account, component), -1 where it has no component
    requests: Ints  # (rows,) uses of each account
    active: int  # accounts with a use
    pair_account: Rows  # (pairs,) row of the account
    pair_component: Rows  # (pairs,)
    pair_count: Rows  # (pairs,) uses of the component by the account
    holders: Ints  # (component ids,) accounts that hold each component

    @property
    def start_ms(self) -> int:
        """Where the view begins."""
        return self.blocks[0].start_ms

    @property
    def end_ms(self) -> int:
        """Where it ends: the round's time."""
        return self.blocks[-1].end_ms

    def column(self, name: str, uses: Ints) -> Numbers:
        """A column of the blocks at `uses` (positions), in their order and as narrow as it is there."""
        return np.concatenate([getattr(block, name) for block in self.blocks])[uses]

    def ts_ms(self, uses: Ints) -> Ints:
        """Event times of `uses` (positions), in their order."""
        return np.concatenate([block.ts_ms for block in self.blocks])[uses]

    def since(self, ts_ms: int) -> Ints:
        """Positions of the uses of the blocks that end after `ts_ms`."""
        blocks = sum(block.end_ms <= ts_ms for block in self.blocks)
        return np.arange(self.first[blocks], self.first[-1])

    def served_since(self, ts_ms: int) -> Ints:
        """Requests that each account row was served in the blocks that end after `ts_ms`."""
        uses = self.since(ts_ms)
        uses = uses[(self.column("flags", uses) & SERVED) > 0]
        return np.bincount(self.account[uses], minlength=self.requests.size)


def gather(blocks: Sequence[Block], rows: int, components: int) -> View:
    """The view over `blocks` (oldest first), for an account table of `rows` and a component table of `components`."""
    account = np.concatenate([block.account for block in blocks])
    component = np.concatenate([block.component for block in blocks])
    found = pairs_of(account, component + 1, (rows, components + 1))  # the first component is "none"
    known = np.flatnonzero(found.right > 0)
    number = np.full(found.right.size, -1, np.int32)
    number[known] = np.arange(known.size, dtype=np.int32)
    pair = np.empty(account.size, np.int32)
    pair[found.order] = np.repeat(number, found.count)
    requests = np.bincount(account, minlength=rows)
    pair_component = found.right[known] - 1
    return View(
        blocks=tuple(blocks),
        first=np.cumsum([0, *map(len, blocks)]),
        account=account,
        pair=pair,
        requests=requests,
        active=int(np.count_nonzero(requests)),
        pair_account=found.left[known],
        pair_component=pair_component,
        pair_count=found.count[known],
        holders=np.bincount(pair_component, minlength=components),
    )


def recent(blocks: Sequence[Block], start_ms: int, end_ms: int) -> list[Block]:
    """The blocks of [start_ms, end_ms) between empty ones, so that they span it whatever is there."""
    within = [block for block in blocks if block.end_ms > start_ms]
    return [empty(start_ms, start_ms), *within, empty(end_ms, end_ms)]


def count_pairs(left: Rows, right: Rows, shape: tuple[int, int]) -> sparse.csr_array:
    """How often each pair occurs, as a sparse matrix with sorted indices.

    Counting by way of a sparse matrix is linear in the pairs: ten times as fast as sorting them.
    """
    return sparse.csr_array((np.ones(left.size, np.int32), (left, right)), shape=shape)
