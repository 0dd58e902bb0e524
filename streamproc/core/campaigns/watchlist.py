"""The watchlist: between rounds each use is checked against the kept values of confirmed campaigns.

One list holds for the uses of a fixed span of event time, whenever it was computed, and takes every account's uses
in their order of arrival: what it answers does not depend on timing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamproc.contract.decisions import Reason
from streamproc.core.arrays import Bools, Ints, Keys, Rows
from streamproc.core.campaigns.bands import Span
from streamproc.core.uses import ENFORCED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamproc.core.campaigns.memory import Campaign
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import MembersPolicy
    from streamproc.core.uses import Uses


class WatchHit(NamedTuple):
    """An account that uses a campaign's core: at which use, and how much of its traffic lies in it."""

    account: int  # key
    name: str
    ts_ms: int
    campaign: Watched
    requests: int
    share: float


@dataclass(slots=True)
class Tally:
    """One account's uses since the view began: all, and per campaign those in its core."""

    all: int = 0
    core: dict[int, int] = field(default_factory=dict)
    components: dict[int, set[int]] = field(default_factory=dict)

    def add(self, owner: int, component: int, count: int) -> None:
        """Count uses of a core component of campaign number `owner`."""
        self.core[owner] = self.core.get(owner, 0) + count
        self.components.setdefault(owner, set()).add(component)


@dataclass(frozen=True, slots=True)
class Watched:
    """A campaign as it stood at the list's round: what decisions say, whenever they fall."""

    id: str
    probability: float  # P(campaign | log10_lr)
    evidence: tuple[Reason, ...]
    joined: frozenset[int]  # keys of accounts that were its members by then


@dataclass(slots=True)
class WatchState:
    """A list's state: what it watches, what the shortest view held at its round, what passed since."""

    start_ms: int  # the round's time; uses from here on are counted
    from_ms: int  # uses in [from_ms, to_ms) may be decided on
    to_ms: int
    campaigns: list[Watched]
    values: Keys  # watched values, ascending
    component: Ints  # the watched component of each value
    owner: Ints  # the campaign (index) of each watched component
    accounts: Keys  # accounts of the view, ascending
    requests: Rows  # the view's requests of each
    base_account: Keys  # the view's pairs of account and watched component, by account
    base_component: Ints
    base_count: Ints
    settled: set[int]  # account keys that need no decision
    tallies: dict[int, Tally] = field(default_factory=dict)
    passed: list[Keys] = field(default_factory=list)  # accounts of uses that passed, in order


def begin(
    span_ms: tuple[int, int, int],
    campaigns: Sequence[tuple[Campaign, float]],
    view: View,
    account_key: Keys,
    find: Callable[[Keys], Rows],
    settled: set[int],
) -> WatchState:
    """The list of a round: `span_ms` its (start, from, to), `view` the shortest one at the round.

    `campaigns` come with P(campaign).  `account_key` is by row; `find` gives the component id of kept values, as
    `Components.find` does.
    """
    values, component, owner = _entries([campaign for campaign, _ in campaigns])
    of_pair = _watched_ids(component, find(values), view.holders.size)[view.pair_component]
    pairs = np.flatnonzero(of_pair >= 0)
    pairs = pairs[np.argsort(account_key[view.pair_account[pairs]], kind="stable")]
    rows = np.flatnonzero(view.requests) if values.size else np.empty(0, np.int64)  # else nothing is asked of them
    rows = rows[np.argsort(account_key[rows])]
    return WatchState(
        *span_ms,
        campaigns=[
            Watched(campaign.id, sure, campaign.evidence, frozenset(campaign.joined)) for campaign, sure in campaigns
        ],
        values=values,
        component=component,
        owner=owner,
        accounts=account_key[rows],
        requests=view.requests[rows].astype(np.int32),
        base_account=account_key[view.pair_account[pairs]],
        base_component=of_pair[pairs],
        base_count=view.pair_count[pairs].astype(np.int64),
        settled=settled,
    )


class Watchlist:
    """The logic of one list over its state; counts all uses since the round, decides on those of its span."""

    def __init__(self, state: WatchState, radius: int, policy: MembersPolicy) -> None:
        self.state = state
        self._radius = radius
        self._policy = policy
        self._span = Span.of(state.values)

    def check(self, uses: Uses, ts_ms: Ints, vetted: Bools) -> list[WatchHit]:
        """Count `uses` in their order; returns the accounts that now need a decision.

        `ts_ms` (n,) are their times, `vetted` (n,) those that show their account to be exempt.
        """
        state = self.state
        if not state.values.size or not len(uses):
            return []
        component = self._match(uses)
        told = uses.account[(component >= 0) | vetted]
        counted = np.union1d(told, np.fromiter(state.tallies, np.uint64, len(state.tallies)))
        hits = []
        for at in np.flatnonzero(np.isin(uses.account, counted)).tolist():
            key = int(uses.account[at])
            if vetted[at]:
                state.settled.add(key)
            if key in state.settled:
                continue
            if key not in state.tallies:
                state.tallies[key] = self._begin(key, uses.account[:at])
            tally = state.tallies[key]
            found = self._count(tally, int(component[at]))
            if found is not None and state.from_ms <= ts_ms[at] < state.to_ms:
                state.settled.add(key)
                requests = tally.core[found]
                hits.append(
                    WatchHit(
                        key,
                        uses.names[key],
                        int(ts_ms[at]),
                        state.campaigns[found],
                        requests,
                        requests / tally.all,
                    )
                )
        state.passed.append(uses.account)
        return hits

    def _match(self, uses: Uses) -> Ints:
        """The watched component of each use (n,), -1 for none."""
        values, of_use = np.unique(uses.template, return_inverse=True)
        at = self._span.find(values)
        component = np.where(at >= 0, self.state.component[at], -1)
        unknown = np.flatnonzero((component < 0) & (values > 0))
        pairs = self._span.near(values[unknown], self._radius)
        watched = self.state.component[self._span.find(pairs.right)]
        order = np.lexsort((watched, pairs.distance, pairs.left))[::-1]
        component[unknown[pairs.left[order]]] = watched[order]  # the nearest is written last
        matched = component[of_use]
        matched[(uses.flags & ENFORCED) > 0] = -1
        return matched

    def _begin(self, key: int, before: Keys) -> Tally:
        """The tally of an account at its first watched use: what the view holds of it, and what passed since."""
        state = self.state
        tally = Tally(all=sum(int(np.count_nonzero(keys == np.uint64(key))) for keys in (*state.passed, before)))
        for at in _run_of(state.accounts, key):
            tally.all += int(state.requests[at])
        for pair in _run_of(state.base_account, key):
            component = int(state.base_component[pair])
            tally.add(int(state.owner[component]), component, int(state.base_count[pair]))
        return tally

    def _count(self, tally: Tally, component: int) -> int | None:
        """Count one use; the campaign that it shows the account to be in, if any."""
        tally.all += 1
        if component < 0:
            return None
        owner = int(self.state.owner[component])
        tally.add(owner, component, 1)
        shown = (
            tally.core[owner] >= self._policy.watch_min_requests
            and len(tally.components[owner]) >= self._policy.watch_min_components
            and tally.core[owner] >= self._policy.watch_min_share * tally.all
        )
        return owner if shown else None


def _run_of(sorted_keys: Keys, key: int) -> range:
    """Where `key` stands in an ascending array."""
    wanted = np.uint64(key)
    return range(
        int(np.searchsorted(sorted_keys, wanted, side="left")), int(np.searchsorted(sorted_keys, wanted, side="right"))
    )


def _entries(campaigns: Sequence[Campaign]) -> tuple[Keys, Ints, Ints]:
    """Watched values ascending, the number of each one's component, and the campaign of each component."""
    values: list[Keys] = [np.empty(0, np.uint64)]
    component: list[Ints] = [np.empty(0, np.int64)]
    owner: list[Ints] = [np.empty(0, np.int64)]
    for number, campaign in enumerate(campaigns):
        if campaign.watch is not None and campaign.watch.values.size:
            values.append(campaign.watch.values)
            component.append(campaign.watch.component + sum(part.size for part in owner))
            owner.append(np.full(int(np.max(campaign.watch.component)) + 1, number, np.int64))
    merged, first = np.unique(np.concatenate(values), return_index=True)
    return merged, np.concatenate(component)[first], np.concatenate(owner)


def _watched_ids(component: Ints, known: Rows, ids: int) -> Ints:
    """The watched component of each component id of the table (ids,), -1 for none; through the values both keep."""
    watched = np.full(ids, -1, np.int64)
    held = known >= 0
    watched[known[held]] = component[held]
    return watched
