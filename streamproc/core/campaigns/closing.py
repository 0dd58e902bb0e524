"""Closing a slot: its uses become a block, its accounts and new values enter their tables in a fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamproc.core.campaigns.accounts import NEVER_MS
from streamproc.core.campaigns.blocks import Block
from streamproc.core.uses import ENFORCED, MISSING_TURNS, SITTING

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Bytes, Ints, Keys, Rows
    from streamproc.core.campaigns.accounts import AccountTable
    from streamproc.core.campaigns.components import Components
    from streamproc.core.uses import Uses

SITTING_MS = 15 * 60_000
DAY_MS = 86_400_000


class Closed(NamedTuple):
    """A closed slot, and what of it is not in its block."""

    block: Block
    evicted: int  # uses that brought a new value over their account's budget
    turned_away: Keys  # account key of each use that an enforcement turned away


def close(
    uses: Uses, slot: int, slot_ms: int, accounts: AccountTable, components: Components, new_values: int
) -> Closed:
    """Make the block of `slot` from its `uses` (ordered by account and time), entering what is new.

    Uses that an enforcement turned away are left out: what enforcement causes is no evidence.  An account may found
    `new_values` components a day.
    """
    enforced = (uses.flags & ENFORCED) > 0
    turned_away = uses.account[enforced]
    if turned_away.size:
        uses = uses.take(np.flatnonzero(~enforced))
    start_ms = slot * slot_ms
    keys, first = np.unique(uses.account, return_index=True)
    per_account = accounts.enter(keys, uses.names)
    rows = np.repeat(per_account, np.diff(np.append(first, len(uses)))).astype(np.int32)
    flags = uses.flags | _sittings(uses, rows, first, accounts.last_ms)
    accounts.learn(rows, uses)
    np.maximum.at(accounts.last_ms, rows, uses.ts_ms)
    component, evicted = _components(uses.template, rows, slot, slot_ms, accounts, components, new_values)
    offset = np.clip(uses.ts_ms - start_ms, 0, slot_ms - 1).astype(np.uint32)  # a late use counts at the slot's start
    block = Block(
        start_ms, start_ms + slot_ms, rows, component, offset, uses.tok_in, uses.tok_out,
        uses.turns, flags, uses.task_class, uses.elicits,
    )  # fmt: skip
    return Closed(block, evicted, turned_away)


def _sittings(uses: Uses, rows: Rows, first: Ints, last_ms: Ints) -> Bytes:
    """The SITTING bit of each use: within 15 minutes of the account's previous request and no earlier turn."""
    previous = np.empty(len(uses), np.int64)
    previous[1:] = uses.ts_ms[:-1]
    previous[first] = last_ms[rows[first]]
    gap = uses.ts_ms - np.maximum(previous, NEVER_MS // 2)
    opening = (uses.turns == 0) | (uses.turns == MISSING_TURNS)
    return np.where((gap >= 0) & (gap < SITTING_MS) & opening, SITTING, 0).astype(np.uint8)


def _components(
    template: Keys,
    rows: Rows,
    slot: int,
    slot_ms: int,
    accounts: AccountTable,
    components: Components,
    budget: int,
) -> tuple[Rows, int]:
    """The component of each use, -1 without one, and the uses whose value was over their account's budget."""
    values, of_use = np.unique(template, return_inverse=True)
    present = int(values[:1].sum() == 0)  # the first value is the key of "missing" where there is one
    day = slot * slot_ms // DAY_MS

    def may_found(new: Ints) -> Bools:
        """Values that some account brings which may still found components that day."""
        fresh = np.zeros(values.size, np.bool_)
        fresh[new + present] = True
        brings = np.flatnonzero(fresh[of_use])
        pairs = np.unique((rows[brings].astype(np.int64) << 32) | of_use[brings])
        allowed = accounts.spend_new_values((pairs >> 32).astype(np.int32), day, budget)
        fresh[:] = False
        fresh[pairs[allowed] & 0xFFFFFFFF] = True
        return fresh[new + present]

    ids = np.full(values.size, -1, np.int32)
    ids[present:] = components.take(values[present:], slot, may_found)
    return ids[of_use], int(np.count_nonzero(ids[of_use] < 0)) - int(np.count_nonzero(template == 0))
