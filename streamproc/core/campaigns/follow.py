"""Following campaigns from round to round: which hit belongs to which, when one is confirmed, what it has taken."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from streamproc.contract import TASK_CLASS_CODES
from streamproc.core.campaigns.members import CoreTraffic
from streamproc.core.campaigns.memory import Campaign, Hit, Watch
from streamproc.core.campaigns.scorecard import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.arrays import Floats, Ints, Keys, Rows
    from streamproc.core.campaigns.judge import Judged
    from streamproc.core.campaigns.round import Tables
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import Policy

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SHOWN_LINKS = 12
KEPT_HITS = 4


@dataclass(slots=True)
class _Found:
    """A community that scored above its threshold in this round."""

    judged: Judged
    column: int  # number of the view
    community: int
    margin: float
    members: Keys
    core: Rows

    @property
    def log10_lr(self) -> float:
        """Its weight of evidence."""
        return float(self.judged.scores.log10_lr[self.community])


def follow(ts_ms: int, judged: Sequence[Judged], tables: Tables, policy: Policy) -> list[Campaign]:
    """Let this round's hits join campaigns or begin them, confirm those that may be; returns those that changed."""
    parts: dict[str, list[_Found]] = {}
    for one in _found(judged, tables, policy):
        campaign = _campaign_of(one, ts_ms, tables, policy)
        if campaign is not None:
            parts.setdefault(campaign.id, []).append(one)
    hit = {name: tables.memory.campaigns[name] for name in parts}
    for name, campaign in hit.items():
        _record(campaign, parts[name], ts_ms, tables)
    _confirm(sorted(hit.values(), key=lambda c: (-c.hits[-1].log10_lr, c.id)), ts_ms, tables, policy)
    changed = dict(hit)
    for campaign in list(tables.memory.campaigns.values()):
        if campaign.id not in hit and _age(campaign, ts_ms, tables, policy):
            changed[campaign.id] = campaign
    return list(changed.values())


def live(campaign: Campaign, ts_ms: int, policy: Policy) -> bool:
    """Whether the campaign's last hit is recent enough to act on its members."""
    recent = ts_ms - campaign.last_hit_ms < policy.confirm.live_hours * HOUR_MS
    return recent and campaign.state not in {"cleared", "merged"}


def is_mixed(campaign: Campaign, judged: Sequence[Judged], tables: Tables, policy: Policy) -> bool:
    """Whether the campaign's last community is of accounts most of whose traffic is somebody else's."""
    newest = campaign.hits[-1].members
    for one in judged:
        cores = one.cores
        chosen = np.isin(tables.accounts.key[cores.member_row], newest)
        if chosen.any():
            share = cores.member_core[chosen] / np.maximum(cores.member_all[chosen], 1)
            return float(np.median(share)) < policy.members.mixed_below
    return campaign.mixed


def take_members(
    campaign: Campaign, core: Rows, view: View, traffic: CoreTraffic, newest: Ints, rows: Ints, tables: Tables
) -> dict[int, float]:
    """Hold the accounts at `rows` to be members; returns P(member of a campaign) by account key.

    `view` is the longest, `newest` (account rows,) what each was served since the round before.
    """
    judge, keys = tables.judge, tables.accounts.key
    sure = judge.campaign_probability(campaign.hits[-1].log10_lr)
    scores = {
        int(keys[row]): round(sure * judge.member_probability(float(traffic.share[row]), int(traffic.requests[row])), 4)
        for row in rows.tolist()
    }
    _count_exchanges(campaign, scores, traffic, newest, tables)
    campaign.members = scores
    campaign.links = links(core, _held(core, rows, view), tables)
    campaign.capabilities = _capabilities(rows, view)
    unknown = np.count_nonzero(tables.accounts.facts("org")[rows] == 0)
    campaign.limited = bool(2 * unknown > rows.size)
    return scores


def overlap(members: Keys, campaign: Campaign) -> float:
    """Members shared with a campaign's; a confirmed one counts with whom it now holds, too."""
    held = np.array(sorted(campaign.members), np.uint64)
    return max(shared(members, campaign.hits[-1].members), shared(members, held))


def shared(some: Keys, others: Keys) -> float:
    """Accounts in both over those of the smaller; keys ascending."""
    smaller = min(some.size, others.size)
    return np.intersect1d(some, others, assume_unique=True).size / smaller if smaller else 0.0


def links(core: Rows, held: Ints, tables: Tables) -> tuple[tuple[str, int], ...]:
    """Of the components `core`, those that most accounts hold (`held`, of each), as (template, accounts)."""
    order = np.lexsort((core, -held))[:SHOWN_LINKS]
    founders = tables.components.founder(core[order])
    return tuple((f"{int(f):016x}", int(n)) for f, n in zip(founders, held[order], strict=True))


def keep_watch(campaign: Campaign, core: Rows, exclusive: Floats, ts_ms: int, tables: Tables, policy: Policy) -> None:
    """Watch the kept values of the stable core for new accounts: those components that mostly members use.

    `exclusive` (component ids,) as `members.belonging` tells it.
    """
    watched = core[exclusive[core] >= policy.members.min_exclusivity]
    values, ids = tables.components.kept(watched)
    component = np.searchsorted(watched, ids)
    campaign.watch = Watch(values, component, ts_ms + policy.members.watch_days * DAY_MS)


def _found(judged: Sequence[Judged], tables: Tables, policy: Policy) -> list[_Found]:
    """This round's hits, the clearest first: communities above a threshold of their view, in either memory."""
    found = []
    for column, (one, thresholds) in enumerate(zip(judged, policy.score.thresholds, strict=True)):
        above = np.round((one.carried - np.array(thresholds)).max(axis=1), DECIMALS)
        for community in np.flatnonzero(one.eligible & (above > 0)).tolist():
            cores = one.cores
            members = np.sort(tables.accounts.key[cores.member_row[cores.member_community == community]])
            core = cores.core_component[cores.core_community == community].astype(np.int32)
            found.append(_Found(one, column, community, float(above[community]), members, core))
    return sorted(found, key=lambda f: (-f.margin, int(f.members[0])))


def _joined(members: Keys, ts_ms: int, tables: Tables, policy: Policy) -> list[Campaign]:
    """The campaigns that a community of `members` belongs to, the eldest first."""
    return [
        campaign
        for campaign in tables.memory.campaigns.values()
        if campaign.state not in {"merged", "cleared"}
        and ts_ms - campaign.last_hit_ms < tables.span_ms
        and overlap(members, campaign) >= policy.confirm.min_overlap
    ]


def _campaign_of(one: _Found, ts_ms: int, tables: Tables, policy: Policy) -> Campaign | None:
    """The campaign that a hit belongs to, begun if there is none; None when no more can be kept."""
    campaigns = tables.memory.campaigns
    joined = _joined(one.members, ts_ms, tables, policy)
    if joined:
        eldest = joined[0]
        for other in joined[1:]:
            other.state, other.merged_into = "merged", eldest.id
        return eldest
    if len(campaigns) >= policy.caps.campaigns:
        return None
    digest = hashlib.blake2b(one.members.tobytes() + ts_ms.to_bytes(8, "big"), digest_size=8)
    campaign = Campaign(id="c" + digest.hexdigest(), first_seen_ms=_first_seen(one))
    campaign.predecessor = _predecessor(one, tables)
    campaign.hits = [Hit(ts_ms, one.members, one.core, one.log10_lr)]
    campaigns[campaign.id] = campaign
    return campaign


def _first_seen(one: _Found) -> int:
    cores = one.judged.cores
    member = cores.member_community == one.community
    return int(cores.use_ms[member[cores.use_member]].min(initial=cores.end_ms))


def _predecessor(one: _Found, tables: Tables) -> str | None:
    """The newest earlier campaign that watches at least two of the hit's components."""
    founders = set(tables.components.kept(one.core)[0].tolist())
    for campaign in reversed(tables.memory.campaigns.values()):
        if campaign.watch is not None:
            shared = [v in founders for v in campaign.watch.values.tolist()]
            if np.unique(campaign.watch.component[np.array(shared, np.bool_)]).size >= 2:  # noqa: PLR2004
                return campaign.id
    return None


def _record(campaign: Campaign, parts: Sequence[_Found], ts_ms: int, tables: Tables) -> None:
    """Enter a round's hit, which may have parts; the clearest, first, gives score and evidence.

    Parts of one view add up: the pool is split.  Views check each other: what one of them alone counts to the core may
    be a lawful group's that it joined with the pool.
    """
    clearest = parts[0]
    members = np.unique(np.concatenate([part.members for part in parts]))
    cores = [
        np.unique(np.concatenate([part.core for part in parts if part.column == column]))
        for column in sorted({part.column for part in parts})
    ]
    core = reduce(np.intersect1d, cores)
    kept = [hit for hit in campaign.hits if ts_ms - tables.span_ms < hit.ts_ms < ts_ms]
    campaign.hits = [*kept[1 - KEPT_HITS :], Hit(ts_ms, members, core, clearest.log10_lr)]
    if campaign.confirmed_ms is None or clearest.log10_lr >= campaign.log10_lr:
        _tell_evidence(campaign, clearest, tables)
    if campaign.state in {"contained", "dormant"}:
        campaign.state = "confirmed"


def _tell_evidence(campaign: Campaign, clearest: _Found, tables: Tables) -> None:
    """Let this round's evidence stand for the campaign.

    Of a confirmed one the clearest round's stands: what enforcement turns away is no evidence any more, and the better
    it works the more lawful does the rest look.
    """
    campaign.log10_lr = clearest.log10_lr
    campaign.families = tables.judge.families(clearest.judged, clearest.community)
    campaign.evidence = tables.judge.reasons(clearest.judged, clearest.community, clearest.column)
    campaign.blind = clearest.judged.measures.blind(clearest.community)


def _confirm(hit: Sequence[Campaign], ts_ms: int, tables: Tables, policy: Policy) -> None:
    """Confirm what was hit in enough rounds, the worst first, as far as the day's budget goes."""
    recent = sum(
        1
        for campaign in tables.memory.campaigns.values()
        if campaign.confirmed_ms is not None and ts_ms - campaign.confirmed_ms < DAY_MS
    )
    for campaign in hit:
        ripe = campaign.confirmed_ms is None and len(campaign.hits) >= policy.confirm.rounds
        if ripe and campaign.state == "suspected" and recent < policy.confirm.max_new_per_day:
            campaign.state, campaign.confirmed_ms = "confirmed", ts_ms
            recent += 1


def withheld(ts_ms: int, tables: Tables, policy: Policy) -> list[Campaign]:
    """Campaigns hit in this round that only the day's budget leaves suspected."""
    return [
        campaign
        for campaign in tables.memory.campaigns.values()
        if campaign.state == "suspected"
        and campaign.last_hit_ms == ts_ms
        and len(campaign.hits) >= policy.confirm.rounds
    ]


def _age(campaign: Campaign, ts_ms: int, tables: Tables, policy: Policy) -> bool:
    """Move on a campaign without a hit; whether its state changed."""
    if campaign.state == "confirmed" and not live(campaign, ts_ms, policy):
        campaign.state = "contained"
        return True
    if campaign.state == "contained" and campaign.watch is not None and campaign.watch.until_ms <= ts_ms:
        campaign.state, campaign.watch = "dormant", None
        return True
    over = campaign.state in {"suspected", "merged", "dormant", "cleared"}
    if over and ts_ms - campaign.last_hit_ms > tables.span_ms:
        del tables.memory.campaigns[campaign.id]
    return False


def _count_exchanges(
    campaign: Campaign, scores: dict[int, float], traffic: CoreTraffic, newest: Ints, tables: Tables
) -> None:
    """Count what members got: a new member's core requests of the view, then each round's `newest` (rows,)."""
    rows = tables.accounts.find(np.array(list(scores), np.uint64))
    for key, row in zip(scores, rows.tolist(), strict=True):
        if key in campaign.joined:
            campaign.exchanges += int(newest[row])
            continue
        campaign.joined.add(key)
        campaign.exchanges += int(traffic.requests[row])
        campaign.leaked += int(traffic.requests[row])


def _held(core: Rows, rows: Ints, view: View) -> Ints:
    """How many of the members at `rows` hold each component of the core."""
    member = np.zeros(view.requests.size, np.bool_)
    member[rows] = True
    return np.bincount(view.pair_component[member[view.pair_account]], minlength=view.holders.size)[core]


def _capabilities(rows: Ints, view: View) -> dict[str, float]:
    """Share of each class of task in the members' requests."""
    member = np.zeros(view.requests.size, np.bool_)
    member[rows] = True
    uses = np.flatnonzero(member[view.account])
    counts = np.bincount(view.column("task_class", uses), minlength=len(TASK_CLASS_CODES) + 1)
    total = max(int(counts.sum()), 1)
    shares = {name: round(int(counts[code]) / total, 4) for name, code in TASK_CLASS_CODES.items()}
    return {name: share for name, share in shares.items() if share}
