"""A round: everything that campaigns knows is evaluated anew from blocks, and memory moves on by one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamproc.core.campaigns import communities, cores, days, follow, ladder, members, ties
from streamproc.core.campaigns.habits import Habits
from streamproc.core.campaigns.judge import Judge, Judged
from streamproc.core.campaigns.ladder import Claim
from streamproc.core.campaigns.outside import Outside, outside
from streamproc.core.campaigns.view import View, gather, recent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.contract.decisions import Action
    from streamproc.core.arrays import Bools, Ints
    from streamproc.core.campaigns.accounts import AccountTable
    from streamproc.core.campaigns.blocks import Block
    from streamproc.core.campaigns.components import Components
    from streamproc.core.campaigns.members import CoreTraffic
    from streamproc.core.campaigns.memory import Campaign, Memory, Standing
    from streamproc.core.policy import Policy

HOUR_MS = 3_600_000
NOBODY = np.empty(0, np.int32)


class Change(NamedTuple):
    """An account's standing that has to be said."""

    account: int  # key
    standing: Standing


class Served(NamedTuple):
    """Requests that members of campaigns were served, before the first action on their account and after it."""

    before: int
    after: int


NOTHING = Served(0, 0)


@dataclass(slots=True)
class Round:
    """What a round found: its views as judged, changes to say (by account key) and campaigns that changed."""

    ts_ms: int
    judged: list[Judged]
    newest: Ints  # (account rows,) requests that each was served since the round before
    changes: list[Change] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    served: Served = NOTHING  # to confirmed campaigns, since the round before
    unusual: dict[int, float] = field(default_factory=dict)  # accounts with an unusual day, and its score
    outside: dict[str, Outside] = field(default_factory=dict)  # who else uses a confirmed campaign's core


@dataclass(slots=True)
class Tables:
    """The state that a round reads and moves on."""

    accounts: AccountTable
    components: Components
    memory: Memory
    judge: Judge
    habits: Habits
    span_ms: int  # of the longest view: components in use are not forgotten before
    round_ms: int


def hold(end_ms: int, blocks: Sequence[Block], tables: Tables, exempt: Bools, policy: Policy) -> Round:
    """Evaluate `blocks` (oldest first, up to the round at `end_ms`) and move the memory on.

    `exempt` (account rows,) are accounts of vetted programmes and those an analyst called lawful: observed at most.
    """
    ts_ms = end_ms + policy.time.lateness_s * 1000  # the first moment at which the round could exist
    views = [_view(blocks, end_ms, hours, tables) for hours in policy.time.view_hours]
    judged = [_judge(view, column, tables, policy) for column, view in enumerate(views)]
    found = Round(ts_ms, judged, views[0].served_since(end_ms - tables.round_ms))
    found.campaigns = follow.follow(ts_ms, judged, tables, policy)
    newest = [block.account for block in blocks if block.end_ms > end_ms - tables.round_ms]
    active = np.unique(np.concatenate([*newest, NOBODY]))
    claims = days.unusual(views[-1], active, end_ms // tables.round_ms, tables.accounts, tables.habits, policy.habits)
    found.unusual = {key: claim.score for key, claim in claims.items()}
    contradicted: set[str] = set()
    earlier = _served(tables.memory)
    for campaign in tables.memory.campaigns.values():
        if follow.live(campaign, ts_ms, policy):
            contradicted.add(campaign.id)
            _claim(campaign, found, views, tables, exempt, policy, claims)
    now = _served(tables.memory)
    found.served = Served(now.before - earlier.before, now.after - earlier.after)
    went_on = set(tables.accounts.key[active].tolist())
    found.changes = _settle(ts_ms, claims, contradicted, went_on, tables, policy)
    return found


def _served(memory: Memory) -> Served:
    campaigns = memory.campaigns.values()
    leaked = sum(campaign.leaked for campaign in campaigns)
    return Served(leaked, sum(campaign.exchanges for campaign in campaigns) - leaked)


def _view(blocks: Sequence[Block], end_ms: int, hours: int, tables: Tables) -> View:
    within = recent(blocks, end_ms - hours * HOUR_MS, end_ms)
    return gather(within, tables.accounts.rows, tables.components.ids)


def _judge(view: View, column: int, tables: Tables, policy: Policy) -> Judged:
    graph = ties.tie(view, tables.accounts.key, policy.ties)
    community, n = communities.partition(graph, tables.accounts.rows, policy.communities)
    found = cores.find(view, community, n, tables.accounts, policy.cores)
    return tables.judge.judge(view, community, found, tables.accounts.scores[:, column], column)


def _claim(
    campaign: Campaign, found: Round, views: Sequence[View], tables: Tables,
    exempt: Bools, policy: Policy, claims: dict[int, Claim],
) -> None:  # fmt: skip
    """Enter what a live campaign's round holds of each account; the strongest claim on an account stays."""
    core = members.stable_core(campaign.hits)
    if campaign.confirmed_ms is None or not core.size:
        keys, holds = campaign.hits[-1].members, "suspected"
        scores = dict.fromkeys(keys.tolist(), round(tables.judge.campaign_probability(campaign.hits[-1].log10_lr), 4))
        campaign.members = scores
    else:
        hit = np.isin(tables.accounts.key, campaign.hits[-1].members)
        traffic, belongs, exclusive = members.belonging(views, core, hit, policy.members)
        campaign.mixed = follow.is_mixed(campaign, found.judged, tables, policy)
        if campaign.mixed:
            belongs = _mixed(traffic, policy)
        holds = "mixed" if campaign.mixed else "member"
        accounts = np.flatnonzero(belongs)
        scores = follow.take_members(campaign, core, views[0], traffic, found.newest, accounts, tables)
        follow.keep_watch(campaign, core, exclusive, found.ts_ms, tables, policy)
        found.outside[campaign.id] = outside(
            traffic, np.array(list(scores), np.uint64), tables.accounts, policy.members
        )
    rows = tables.accounts.find(np.array(sorted(scores), np.uint64))
    for key, row in zip(sorted(scores), rows.tolist(), strict=True):
        if row < 0:  # gone from the table since the hit: nothing is known of it that could be acted on
            continue
        most: Action = "observe" if exempt[row] else "throttle" if campaign.limited else "suspend"
        claim = Claim(tables.accounts.ids[row], holds, campaign.id, most, scores[key])
        if key not in claims or claims[key].holds == "unusual" or ladder.TABLE[holds] != "observe":
            claims[key] = claim


def _mixed(traffic: CoreTraffic, policy: Policy) -> Bools:
    enough = traffic.requests >= policy.members.mixed_min_requests
    several = traffic.components >= policy.members.mixed_min_components
    return enough & several & (traffic.exclusive >= policy.members.min_exclusivity)


def _settle(
    ts_ms: int, claims: dict[int, Claim], live: set[str], went_on: set[int], tables: Tables, policy: Policy
) -> list[Change]:
    """Move every account's standing by its claim or the want of one; returns what has to be said, by key."""
    standings = tables.memory.standings
    changes = []
    for key in sorted(claims.keys() | standings.keys()):
        before, claim = standings.get(key), claims.get(key)
        if claim is not None:
            after, said = ladder.raise_to(before, claim, ts_ms, policy.ladder)
            standings[key] = after
        else:
            assert before is not None
            contradicted = before.campaign in live and key in went_on
            lowered = ladder.lower(before, ts_ms, tables.round_ms, policy.ladder, contradicted=contradicted)
            said = lowered is not None
            if lowered is not None:
                after = standings[key] = lowered
        if said:
            changes.append(Change(key, after))
            if after.action == "release":
                del standings[key]
    return changes
