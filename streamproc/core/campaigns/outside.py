"""Who uses a campaign's core and is held to be no member: those who come nearest are told, and left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamproc.contract.rounds import Outsider
from streamproc.core.campaigns.scorecard import DECIMALS

if TYPE_CHECKING:
    from streamproc.core.arrays import Keys
    from streamproc.core.campaigns.accounts import AccountTable
    from streamproc.core.campaigns.members import CoreTraffic
    from streamproc.core.policy import MembersPolicy

MOST_KEPT = 40  # of a campaign


class Outside(NamedTuple):
    """Accounts that use a core and are no members, and of those the nearest to it: account key and what is told."""

    accounts: int
    nearest: tuple[tuple[int, Outsider], ...]


NOBODY = Outside(0, ())


def outside(traffic: CoreTraffic, members: Keys, accounts: AccountTable, policy: MembersPolicy) -> Outside:
    """Who has `traffic` in a campaign's core and is not among its `members`.

    Near are those with enough of it to be members, by their share and its exclusivity.
    """
    rows = np.flatnonzero(traffic.requests)
    rows = rows[~np.isin(accounts.key[rows], members)]
    near = rows[(traffic.requests[rows] >= policy.min_requests) & (traffic.components[rows] >= policy.min_components)]
    nearness = np.round(traffic.share[near] * traffic.exclusive[near], DECIMALS)
    order = np.lexsort((accounts.key[near], -nearness))
    return Outside(rows.size, tuple(_outsider(row, traffic, accounts) for row in near[order].tolist()[:MOST_KEPT]))


def _outsider(row: int, traffic: CoreTraffic, accounts: AccountTable) -> tuple[int, Outsider]:
    told = Outsider(
        account=accounts.ids[row],
        requests=int(traffic.requests[row]),
        components=int(traffic.components[row]),
        share=round(float(traffic.share[row]), DECIMALS),
        exclusive=round(float(traffic.exclusive[row]), DECIMALS),
    )
    return int(accounts.key[row]), told
