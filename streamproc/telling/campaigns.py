"""One campaign: its course, what was seen and not seen, what enforcing cuts off, what came near and was left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from streamproc.telling import words
from streamproc.telling.accounts import ends, holds
from streamproc.telling.evidence import Blind, LabelTold, Weighed, blind_to, tell_label, weigh
from streamproc.telling.near import LastRound, LookAlike, last_round, look_alikes, not_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamproc.contract.decisions import Action, Campaign, Enforcement, Kind, Link, Mode, State
    from streamproc.contract.labels import Label
    from streamproc.contract.rounds import RoundEvent

__all__ = ["ACTED_ON", "STRICTEST_FIRST", "CampaignTold", "CutOff", "Member", "Moment", "Rung",
           "tell_campaign", "tell_members"]  # fmt: skip

ACTED_ON: Final = ("throttle", "restrict", "suspend")
STRICTEST_FIRST: Final[tuple[Action, ...]] = ("suspend", "restrict", "throttle", "verify", "observe")
MODES: Final[tuple[Mode, ...]] = ("shadow", "enforce")


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of a campaign's course, and how it stood then."""

    ts_ms: int
    what: str
    state: State
    members: int
    exchanges: int
    leaked: int
    log10_lr: float


@dataclass(frozen=True, slots=True)
class Rung:
    """How many members stand on a rung, by mode."""

    action: Action
    what: str
    shadow: int
    enforce: int


@dataclass(frozen=True, slots=True)
class CutOff:
    """What enforcing takes from the campaign: members at throttle or above, by mode, and what they got on a day."""

    rungs: tuple[Rung, ...]
    shadow: int
    enforce: int
    exchanges_a_day: int  # on the mean, since the campaign's first request
    what: str


@dataclass(frozen=True, slots=True)
class Member:
    """A subject whose newest decision names the campaign; `ends` is empty once it is released."""

    kind: Kind
    id: str
    action: Action
    mode: Mode
    in_force: bool
    ends: str
    probability: float


@dataclass(frozen=True, slots=True)
class CampaignTold:
    """An account of a campaign, as of `now_ms`; `course` oldest first."""

    id: str
    now_ms: int
    state: State
    what: str
    first_seen_ms: int
    as_of_ms: int
    age: str
    members: int
    exchanges: int
    leaked: int
    leaked_share: float
    log10_lr: float
    likelier: str
    families: tuple[str, ...]
    course: tuple[Moment, ...]
    evidence: tuple[Weighed, ...]
    blind: tuple[Blind, ...]
    links: tuple[Link, ...]
    asks_for: tuple[tuple[str, float], ...]  # class of task and its share, the largest first
    cut_off: CutOff
    last_round: LastRound | None  # None if no round is known that saw it
    look_alikes: tuple[LookAlike, ...]
    not_told: str  # what cannot be shown of them, empty if all can
    predecessor: str | None
    merged_into: str | None
    labels: tuple[LabelTold, ...]
    policy: str


def tell_campaign(
    states: Sequence[Campaign],
    held: Iterable[Enforcement],
    others: Iterable[Campaign],
    now_ms: int,
    labels: Sequence[Label] = (),
    seen: RoundEvent | None = None,
) -> CampaignTold:
    """Tell the account of one campaign.

    Args:
        states: what was said of the campaign, at least once, in any order.
        held: the newest decision of each subject that is held to be a member.
        others: the newest event of each campaign, this one may be among them.
        now_ms: as of when; what has lapsed by then does not hold.
        labels: what analysts said of it.
        seen: the newest round, if one was heard of.
    """
    course = sorted({event.seq: event for event in states}.values(), key=lambda event: event.seq)
    newest = course[-1]
    suspected = [one for one in others if one.state == "suspected" and one.campaign != newest.campaign]
    return CampaignTold(
        id=newest.campaign,
        now_ms=now_ms,
        state=newest.state,
        what=words.STATES[newest.state],
        first_seen_ms=newest.first_seen_ms,
        as_of_ms=newest.ts_ms,
        age=words.age(now_ms - newest.first_seen_ms),
        members=newest.members,
        exchanges=newest.exchanges,
        leaked=newest.leaked_before_action,
        leaked_share=newest.leaked_before_action / max(newest.exchanges, 1),
        log10_lr=newest.log10_lr,
        likelier=words.likelier(newest.log10_lr),
        families=_families(newest),
        course=_course(course),
        evidence=weigh(newest.evidence),
        blind=blind_to(newest.blind),
        links=newest.links,
        asks_for=tuple(sorted(newest.capabilities.items(), key=lambda pair: (-pair[1], pair[0]))),
        cut_off=_cut_off(newest, held, now_ms),
        last_round=last_round(seen, newest.campaign),
        look_alikes=look_alikes(seen, suspected, newest.links),
        not_told=not_told(seen),
        predecessor=newest.predecessor,
        merged_into=newest.merged_into,
        labels=tuple(tell_label(label) for label in sorted(labels, key=lambda one: one.ts_ms)),
        policy=newest.policy,
    )


def tell_members(held: Iterable[Enforcement], now_ms: int) -> tuple[Member, ...]:
    """Tell who is held to be a member: those in force first, of them the strictest rungs, then the likeliest."""
    members = [
        Member(
            event.subject.kind, event.subject.id, event.action, event.mode, holds(event, now_ms),
            ends(event), event.score,
        )
        for event in held
    ]  # fmt: skip
    return tuple(sorted(members, key=_strictest_first))


def _strictest_first(member: Member) -> tuple[bool, int, float, str, str]:
    rank = STRICTEST_FIRST.index(member.action) if member.action in STRICTEST_FIRST else len(STRICTEST_FIRST)
    return not member.in_force, rank, -member.probability, member.kind, member.id


def _families(event: Campaign) -> tuple[str, ...]:
    return tuple(words.FAMILIES[family] for family in event.families)


def _course(states: Sequence[Campaign]) -> tuple[Moment, ...]:
    """Every step that changed something that people count, and the newest."""
    told = [_moment(states[0], f"{states[0].state}, as first heard here")]
    for before, after in pairwise(states):
        what = _change(before, after)
        if what or after is states[-1]:
            told.append(_moment(after, what or "seen again"))
    return tuple(told)


def _moment(event: Campaign, what: str) -> Moment:
    return Moment(
        event.ts_ms, what, event.state, event.members, event.exchanges, event.leaked_before_action, event.log10_lr
    )


def _change(before: Campaign, after: Campaign) -> str:
    """What is new in state or members, empty if nothing is."""
    if after.state != before.state:
        return after.state if after.merged_into is None else f"merged into {after.merged_into}"
    more = after.members - before.members
    return f"{words.count(abs(more), 'member')} {'more' if more > 0 else 'fewer'}" if more else ""


def _cut_off(event: Campaign, held: Iterable[Enforcement], now_ms: int) -> CutOff:
    """What enforcing takes, counted from what holds at `now_ms`."""
    counts = Counter((one.action, one.mode) for one in held if holds(one, now_ms))
    rungs = tuple(
        Rung(action, words.RUNGS[action], counts[action, "shadow"], counts[action, "enforce"])
        for action in STRICTEST_FIRST
    )
    by_mode = {mode: sum(counts[action, mode] for action in ACTED_ON) for mode in MODES}
    days = max(event.ts_ms - event.first_seen_ms, words.HOUR_MS) / words.DAY_MS
    a_day = round(event.exchanges / days)
    what = _cut_off_words(by_mode["shadow"], by_mode["enforce"], a_day)
    return CutOff(rungs, by_mode["shadow"], by_mode["enforce"], a_day, what)


def _cut_off_words(shadow: int, enforce: int, a_day: int) -> str:
    pace = f"All members together made {words.count(a_day, 'exchange')} a day so far."
    if shadow and enforce:
        limited = (
            f"{words.count(enforce, 'member')} are limited by gateways; {shadow:,} more would be, were it enforced."
        )
    elif enforce:
        limited = f"{words.count(enforce, 'member')} {'is' if enforce == 1 else 'are'} limited by gateways now."
    elif shadow:
        limited = f"Nobody is limited, for it is in shadow; enforcing would limit {words.count(shadow, 'member')}."
    else:
        return f"Nobody is limited, and enforcing would limit nobody now. {pace}"
    return f"{limited} {pace}"
