"""The communities of one view and the traffic that lies in their cores: what every statistic reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamproc.core.arrays import pairs_of, stable_order
from streamproc.core.uses import MISSING_TURNS, SERVED, SITTING

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Ints, Keys, Numbers, Rows
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


@dataclass(frozen=True)
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
    use_turns: Numbers  # (uses,) earlier assistant turns
    use_sitting: Bools  # (uses,) within 15 minutes of the account's previous request and no earlier turn
    use_served: Bools  # (uses,) answered with a success
    use_elicits: Numbers  # (uses,) bit mask of elicitation patterns
    use_tok_in: Numbers
    use_tok_out: Numbers

    core_community: Ints  # (core components,) 0 .. n-1
    core_component: Ints  # (core components,) id of the component
    core_holders: Ints  # (core components,) members of the community that hold it

    @cached_property
    def first_uses(self) -> Ints:
        """Position of the first core use of each member, and of the end, shape (members + 1,)."""
        return np.searchsorted(self.use_member, np.arange(self.member_row.size + 1))

    @cached_property
    def community_uses(self) -> Ints:
        """Position of the first core use of each community, and of the end, shape (n + 1,)."""
        return self.first_uses[np.searchsorted(self.member_community, np.arange(self.n + 1))]


def find(view: View, community: Rows, n: int, accounts: AccountTable, policy: CoresPolicy) -> Cores:
    """The cores of the `n` communities of a view; `community` is by row of the account table, -1 for none."""
    core, core_of_pair = _core_components(view, community, n, policy)
    members, requests = _members(view, community, core_of_pair, accounts.key, policy)
    uses, use_core = _core_uses(view, core_of_pair, members)
    active = np.flatnonzero(view.requests)
    turns, flags = view.column("turns", uses), view.column("flags", uses)
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
        member_core=requests,
        member_all=view.requests[members],
        member_org=accounts.facts("org")[members],
        member_client=accounts.facts("client")[members],
        member_client_full=accounts.facts("client_full")[members],
        member_pathway=accounts.facts("pathway")[members],
        member_signup_ms=accounts.signup_ms[members],
        use_member=np.repeat(np.arange(members.size), requests),
        use_core=use_core,
        use_ms=view.ts_ms(uses),
        use_turns=np.where(turns == MISSING_TURNS, np.int16(-1), turns),
        use_sitting=(flags & SITTING) > 0,
        use_served=(flags & SERVED) > 0,
        use_elicits=view.column("elicits", uses),
        use_tok_in=view.column("tok_in", uses),
        use_tok_out=view.column("tok_out", uses),
        core_community=core.community,
        core_component=core.component,
        core_holders=core.holders,
    )


class _CoreComponents(NamedTuple):
    """Core components by community and component id, and how many accounts of the community hold each."""

    community: Ints
    component: Ints
    holders: Ints


def _core_components(view: View, community: Rows, n: int, policy: CoresPolicy) -> tuple[_CoreComponents, Rows]:
    """The core components, and for each pair of the view the index of that in its community's core, -1 for none."""
    of_pair = community.take(view.pair_account)
    held_enough = view.holders >= policy.min_holders
    likely = np.flatnonzero((of_pair >= 0) & held_enough.take(view.pair_component))
    held = pairs_of(of_pair[likely], view.pair_component[likely], (n, view.holders.size))
    size = np.bincount(community[community >= 0], minlength=n)[held.left]
    expected = view.holders[held.right] / max(view.active, 1) * size
    core = held.count >= np.maximum(policy.min_holders, policy.min_share * size)
    core &= held.count >= policy.min_lift * expected
    number = np.where(core, np.cumsum(core, dtype=np.int32) - 1, -1)
    core_of_pair = np.full(of_pair.size, -1, np.int32)
    core_of_pair[likely[held.order]] = np.repeat(number, held.count)
    found = (column[core].astype(np.int64) for column in (held.left, held.right, held.count))
    return _CoreComponents(*found), core_of_pair


def _members(
    view: View, community: Rows, core_of_pair: Rows, account_key: Keys, policy: CoresPolicy
) -> tuple[Ints, Ints]:
    """Rows of the accounts with enough requests in their community's core, in order, and these requests of each."""
    inside = np.flatnonzero(core_of_pair >= 0)
    account, count = view.pair_account[inside], view.pair_count[inside]
    requests = np.bincount(account, weights=count, minlength=community.size).astype(np.int64)
    members = np.flatnonzero(requests >= policy.min_requests)
    members = members[np.lexsort((account_key[members], community[members]))]
    return members, requests[members]


def _core_uses(view: View, core_of_pair: Rows, members: Ints) -> tuple[Ints, Ints]:
    """The members' uses that lie in a core, by member and time, and the index of the core component of each."""
    member_of = np.full(view.requests.size, -1, np.int32)
    member_of[members] = np.arange(members.size, dtype=np.int32)
    core_of = np.where(member_of.take(view.pair_account) >= 0, core_of_pair, -1)
    core = np.append(core_of, np.int32(-1)).take(view.pair)  # the last entry is that of "no pair", -1
    uses = np.flatnonzero(core >= 0)
    order = stable_order(member_of[view.account[uses]], members.size)  # each account's are in order of time
    uses = uses[order]
    return uses, core[uses].astype(np.int64)
