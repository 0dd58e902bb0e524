"""Relief: what goes when a table is full, and how blocks are rewritten without it.

What carries least evidence goes first: accounts with the fewest uses, components that one account alone holds; among
equals those used longest ago.  An eighth is freed at once, so that relief is rare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamproc.core.arrays import Bools
from streamproc.core.campaigns.accounts import AccountTable
from streamproc.core.campaigns.blocks import Block
from streamproc.core.campaigns.components import Components

FREED = 8  # one in so many


def accounts_to_go(blocks: Sequence[Block], accounts: AccountTable, cap: int) -> Bools:
    """Which account rows (rows,) to forget, to be an eighth below the cap."""
    uses = np.zeros(accounts.rows, np.int64)
    for block in blocks:
        uses += np.bincount(block.account, minlength=accounts.rows)
    held = np.ones(accounts.rows, np.bool_)
    held[accounts.free] = False
    rows = np.flatnonzero(held)
    order = rows[np.lexsort((accounts.key[rows], accounts.last_ms[rows], uses[rows]))]
    gone = np.zeros(accounts.rows, np.bool_)
    gone[order[: max(rows.size - (cap - cap // FREED), 0)]] = True
    return gone


def components_to_go(blocks: Sequence[Block], components: Components, cap: int) -> Bools:
    """Which component ids (ids,) to forget: those of one holder, to be an eighth below the cap."""
    alone = ~_shared(blocks, components.ids)
    order = components.oldest_first(alone)
    gone = np.zeros(components.ids, np.bool_)
    gone[order[: max(len(components) - (cap - cap // FREED), 0)]] = True
    return gone


def _shared(blocks: Sequence[Block], ids: int) -> Bools:
    """Which component ids (ids,) more than one account uses, counted without a copy of all uses."""
    holder = np.full(ids + 1, -1, np.int32)  # some account of each; the last is that of uses without a component
    for block in blocks:
        holder[block.component] = block.account
    shared = np.zeros(ids + 1, np.bool_)
    for block in blocks:
        shared[block.component[holder[block.component] != block.account]] = True
    return shared[:-1]


def without_accounts(blocks: Sequence[Block], gone: Bools) -> list[Block]:
    """The blocks without the uses of the accounts that go."""
    return [block.keep(~gone[block.account]) for block in blocks]


def without_components(blocks: Sequence[Block], gone: Bools) -> list[Block]:
    """The blocks with the uses of the components that go as ones without a component."""
    lost = np.append(gone, False)
    return [block.replace(component=np.where(lost[block.component], -1, block.component)) for block in blocks]
