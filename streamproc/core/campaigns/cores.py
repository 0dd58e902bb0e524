"""The communities of one view and the traffic that lies in their cores: what every statistic reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.arrays import stable_order
from streamproc.core.campaigns.view import count_pairs
from streamproc.core.uses import MISSING_TURNS, SERVED, SITTING

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Ints, Keys, Rows
    from streamproc.core.campaigns.accounts import AccountTable
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import CoresPolicy


@dataclass(frozen=True, slots=True)
class Population:
    """Facts of every account active in the view, one row an account: what is common and what is rare.

    A key of 0 is a missing value.
    """

    client: Keys
    client_full: Keys
    pathway: Keys
    org: Keys
    signup_ms: Ints


@dataclass(frozen=True, slots=True)
class Cores:
    """Communities, their members and the members' uses of core components, in one view.

    Members are accounts of the community with at least two core requests; rows are sorted by community and
    account key.  Core uses are sorted by member and time.  Every index points into an array of this object.
    Missing numbers are -1 (`use_turns`, `use_tok_*`, `signup_ms`, `use_elicits`), missing keys 0.
    """

    start_ms: int
    end_ms: int
    n: int
    population: Population

    member_row: Rows  # (members,) row of the account table
    member_community: Ints  # (members,) 0 .. n-1
    member_core: Ints  # (members,) requests in the community's core
    member_all: Ints  # (members,) all requests of the account in the view
    member_org: Keys
    member_client: Keys  # client family
    member_client_full: Keys  # family, version and TLS fingerprint together
    member_pathway: Keys
    member_signup_ms: Ints

    use_member: Ints  # (uses,) index of the member
    use_core: Ints  # (uses,) index of the core component
    use_ms: Ints  # (uses,) event time
    use_turns: Ints  # (uses,) earlier assistant turns
    use_sitting: Bools  # (uses,) within 15 minutes of the account's previous request and no earlier turn
    use_served: Bools  # (uses,) answered with a success
    use_elicits: Ints  # (uses,) bit mask of elicitation patterns
    use_tok_in: Ints
    use_tok_out: Ints

    core_community: Ints  # (core components,) 0 .. n-1
    core_component: Ints  # (core components,) id of the component
    core_holders: Ints  # (core components,) members of the community that hold it


def find(view: View, community: Rows, n: int, accounts: AccountTable, policy: CoresPolicy) -> Cores:
    """The cores of the `n` communities of a view; `community` is by row of the account table, -1 for none."""
    core, holders = _core_components(view, community, n, policy)
    index = _CoreIndex(core, view.holders.size)
    requests = _core_requests(view, community, index)
    members = np.flatnonzero(requests >= policy.min_requests)
    members = members[np.lexsort((accounts.key[members], community[members]))]
    active = np.flatnonzero(view.requests)
    uses, order, use_member, use_core = _core_uses(view, community, index, members)

    def numbers(name: str) -> Ints:
        return view.column(name, uses)[order]

    turns, flags = numbers("turns"), numbers("flags")
    return Cores(
        start_ms=view.start_ms,
        end_ms=view.end_ms,
        n=n,
        population=Population(
            **{name: accounts.facts(name)[active] for name in ("client", "client_full", "pathway", "org")},
            signup_ms=accounts.signup_ms[active],
        ),
        member_row=members.astype(np.int32),
        member_community=community[members].astype(np.int64),
        member_core=requests[members],
        member_all=view.requests[members],
        member_org=accounts.facts("org")[members],
        member_client=accounts.facts("client")[members],
        member_client_full=accounts.facts("client_full")[members],
        member_pathway=accounts.facts("pathway")[members],
        member_signup_ms=accounts.signup_ms[members],
        use_member=use_member,
        use_core=use_core,
        use_ms=view.ts_ms(uses)[order],
        use_turns=np.where(turns == MISSING_TURNS, -1, turns),
        use_sitting=(flags & SITTING) > 0,
        use_served=(flags & SERVED) > 0,
        use_elicits=numbers("elicits"),
        use_tok_in=numbers("tok_in"),
        use_tok_out=numbers("tok_out"),
        core_community=core >> 32,
        core_component=core & 0xFFFFFFFF,
        core_holders=holders,
    )


def _core_components(view: View, community: Rows, n: int, policy: CoresPolicy) -> tuple[Ints, Ints]:
    """Keys (community << 32 | component) of the core components, ascending, and their holders in the community."""
    of_pair = community[view.pair_account]
    inside = np.flatnonzero(of_pair >= 0)
    held = count_pairs(of_pair[inside], view.pair_component[inside], (n, view.holders.size))
    owner = np.repeat(np.arange(n), np.diff(held.indptr))
    size = np.bincount(community[community >= 0], minlength=n)[owner]
    expected = view.holders[held.indices] / max(view.active, 1) * size
    core = held.data >= np.maximum(policy.min_holders, policy.min_share * size)
    core &= held.data >= policy.min_lift * expected
    keys = (owner[core] << 32) | held.indices[core]
    return keys, held.data[core].astype(np.int64)


class _CoreIndex:
    """Finds the core component of a community and a component id.

    Most components lie in no core, and one flag an id says so; the few others are searched for.
    """

    def __init__(self, core: Ints, ids: int) -> None:
        self._core = core
        self.in_any = np.zeros(ids + 1, np.bool_)  # the last entry is that of "no component", -1
        self.in_any[core & 0xFFFFFFFF] = True

    def find(self, community: Rows, component: Rows) -> Ints:
        """The index of the core component of each pair, -1 where it lies in no core; none of them is -1."""
        keys = (community.astype(np.int64) << 32) | component
        at = np.minimum(np.searchsorted(self._core, keys), max(self._core.size - 1, 0))
        return np.where(self._core[at] == keys, at, -1) if self._core.size else np.full(keys.size, -1)


def _core_requests(view: View, community: Rows, core: _CoreIndex) -> Ints:
    """Requests of each account row in its own community's core, shape (rows,)."""
    pairs = np.flatnonzero(core.in_any[view.pair_component] & (community[view.pair_account] >= 0))
    account = view.pair_account[pairs]
    inside = core.find(community[account], view.pair_component[pairs]) >= 0
    return np.bincount(account[inside], weights=view.pair_count[pairs[inside]], minlength=community.size).astype(
        np.int64
    )


def _core_uses(view: View, community: Rows, core: _CoreIndex, members: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Which uses of the view lie in a core, ascending, and their order by member and time.

    With the index of the member and of the core component of each, in that order.
    """
    member_of = np.full(community.size, -1, np.int64)
    member_of[members] = np.arange(members.size)
    uses = np.flatnonzero(core.in_any[view.component] & (member_of[view.account] >= 0))
    account = view.account[uses]
    at = core.find(community[account], view.component[uses])
    inside = at >= 0
    uses, member, at = uses[inside], member_of[account[inside]], at[inside]
    order = stable_order(member, members.size)  # uses are in order of time for each account
    return uses, order, member[order], at[order]
