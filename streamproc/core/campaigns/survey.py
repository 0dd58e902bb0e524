"""What a round saw and did not act on: the communities and accounts that came nearest, and what was turned away."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from streamproc.contract.rounds import CampaignRound, Community, RoundEvent
from streamproc.core.campaigns import follow, ladder
from streamproc.core.campaigns.outside import NOBODY
from streamproc.core.campaigns.saying import ROUND, link_events, seq_of
from streamproc.core.campaigns.scorecard import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streamproc.contract.rounds import Outsider, Short
    from streamproc.core.arrays import Floats, Ints, Keys
    from streamproc.core.campaigns.accounts import AccountTable
    from streamproc.core.campaigns.judge import Judged
    from streamproc.core.campaigns.memory import Campaign, Memory
    from streamproc.core.campaigns.outside import Outside
    from streamproc.core.campaigns.round import Round, Tables
    from streamproc.core.policy import Policy

MOST_COMMUNITIES = 10
MOST_LOOKED_AT = 40  # of a view, for those that are not the same accounts as one before
MOST_REASONS = 5
MOST_OUTSIDERS = 5
OVER = ("merged", "cleared", "dormant")


def survey(held: Round, tables: Tables, turned_away: dict[str, int], policy: Policy) -> RoundEvent:
    """The event of a round; `turned_away` is by campaign."""
    longest = held.judged[0]
    end_ms = longest.view.end_ms
    near = _near(held.judged, tables, policy)
    return RoundEvent(
        seq=seq_of(held.ts_ms, ROUND),
        ts_ms=held.ts_ms,
        since_ms=end_ms - tables.round_ms,
        until_ms=end_ms,
        accounts=longest.view.active,
        communities=longest.cores.n,
        nearest=tuple(_community(one, tables, policy) for one in near),
        campaigns=tuple(_campaigns(held, tables, turned_away, policy)),
        policy=policy.version,
    )


# Communities.


@dataclass(frozen=True, slots=True)
class _Near:
    """A community that was no hit."""

    judged: Judged
    column: int
    community: int
    memory: int  # the one that is nearer to its threshold
    margin: float
    members: Keys


def _near(judged: Sequence[Judged], tables: Tables, policy: Policy) -> list[_Near]:
    """The nearest to a threshold, of those that are the same accounts in several views or parts only the nearest."""
    found: list[_Near] = []
    for column, one in enumerate(judged):
        found += islice(_of_view(one, column, tables, policy), MOST_LOOKED_AT)
    chosen: list[_Near] = []
    for near in sorted(found, key=lambda n: (-n.margin, int(n.members[0]))):
        if len(chosen) == MOST_COMMUNITIES:
            break
        if all(follow.shared(near.members, other.members) < policy.confirm.min_overlap for other in chosen):
            chosen.append(near)
    return chosen


def _of_view(judged: Judged, column: int, tables: Tables, policy: Policy) -> Iterator[_Near]:
    """A view's communities that were no hit and have members, the nearest to a threshold first."""
    above: Floats = np.round(judged.carried - np.array(policy.score.thresholds[column]), DECIMALS)
    margins = above.max(axis=1)
    cores = judged.cores
    no_hit = np.flatnonzero(~(judged.eligible & (margins > 0)) & (judged.measures.sizes > 0))
    for community in no_hit[np.argsort(-margins[no_hit], kind="stable")].tolist():
        members = np.sort(tables.accounts.key[cores.member_row[cores.member_community == community]])
        memory = int(above[community].argmax())
        yield _Near(judged, column, community, memory, float(margins[community]), members)


def _community(near: _Near, tables: Tables, policy: Policy) -> Community:
    judged, community = near.judged, near.community
    cores = judged.cores
    core = np.flatnonzero(cores.core_community == community)
    links = follow.links(cores.core_component[core].astype(np.int32), cores.core_holders[core], tables)
    return Community(
        view_hours=policy.time.view_hours[near.column],
        accounts=near.members.size,
        organisations=int(judged.organisations[community]),
        score=float(judged.carried[community, near.memory]),
        threshold=policy.score.thresholds[near.column][near.memory],
        log10_lr=float(judged.scores.log10_lr[community]),
        families=tables.judge.families(judged, community),
        short_of=_short_of(near, policy),
        campaign=_campaign_of(near.members, tables.memory, policy),
        evidence=tables.judge.reasons(judged, community, near.column)[:MOST_REASONS],
        links=link_events(links),
    )


def _short_of(near: _Near, policy: Policy) -> tuple[Short, ...]:
    judged, community = near.judged, near.community
    short: dict[Short, bool] = {
        "score": near.margin <= 0,
        "families": not judged.spoken[community],
        "organisations": bool(judged.organisations[community] < policy.confirm.min_organisations),
    }
    return tuple(name for name, is_short in short.items() if is_short)


def _campaign_of(members: Keys, memory: Memory, policy: Policy) -> str | None:
    """The campaign that a community overlaps with most, the eldest of several."""
    overlaps = {c.id: follow.overlap(members, c) for c in memory.campaigns.values() if c.state not in OVER}
    best = max(overlaps, key=lambda name: overlaps[name], default=None)
    return best if best is not None and overlaps[best] >= policy.confirm.min_overlap else None


# Campaigns.


def _campaigns(held: Round, tables: Tables, turned_away: dict[str, int], policy: Policy) -> Iterator[CampaignRound]:
    withheld = {campaign.id for campaign in follow.withheld(held.ts_ms, tables, policy)}
    for campaign in tables.memory.campaigns.values():
        if campaign.state in OVER:
            continue
        around = held.outside.get(campaign.id, NOBODY)
        yield CampaignRound(
            campaign=campaign.id,
            state=campaign.state,
            hits=len(campaign.hits),
            log10_lr=campaign.hits[-1].log10_lr if campaign.last_hit_ms == held.ts_ms else None,
            withheld=campaign.id in withheld,
            served=_sum_of(campaign, held.newest, tables.accounts),
            turned_away=turned_away.get(campaign.id, 0),
            outsiders=around.accounts,
            nearest=tuple(islice(_left_alone(around, tables.memory), MOST_OUTSIDERS)),
        )


def _sum_of(campaign: Campaign, served: Ints, accounts: AccountTable) -> int:
    rows = accounts.find(np.array(list(campaign.members), np.uint64))
    return int(served[rows[rows >= 0]].sum())


def _left_alone(around: Outside, memory: Memory) -> Iterable[Outsider]:
    for key, told in around.nearest:
        standing = memory.standings.get(key)
        if standing is None or not ladder.limits(standing.action):
            yield told
