"""What pages show beyond one subject's account: lists of campaigns, who stands where, how fresh all of it is. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from streamproc.telling import words
from streamproc.telling.campaigns import STRICTEST_FIRST, Rung
from streamproc.telling.near import look_alikes, not_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamproc.console.table import Census
    from streamproc.contract.decisions import Campaign, State
    from streamproc.contract.rounds import CampaignRound, RoundEvent
    from streamproc.telling.near import LookAlike

__all__ = ["STATES", "Fresh", "Near", "Part", "Row", "by_state", "fresh", "near", "part_of", "rows", "rungs"]

STATES: Final[tuple[State, ...]] = ("confirmed", "suspected", "contained", "dormant", "cleared", "merged")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Row:
    """A campaign in a list; `shadow` and `enforce` are its members at throttle or above, by mode.

    `last_round` says what its members were served then, or what holds it back; empty if no round is known that saw it.
    """

    id: str
    state: State
    members: int
    exchanges: int
    leaked: int
    leaked_share: float
    age: str
    log10_lr: float
    likelier: str
    heard: str
    shadow: int
    enforce: int
    last_round: str


@dataclass(frozen=True, slots=True)
class Part(Generic[Item]):
    """A page of a longer list; pages count from 1."""

    items: Sequence[Item]
    total: int
    number: int
    pages: int


@dataclass(frozen=True, slots=True)
class Near:
    """What the last round saw and left alone: in a sentence, and the groups that came nearest."""

    what: str
    groups: Sequence[LookAlike]


@dataclass(frozen=True, slots=True)
class Fresh:
    """How fresh what is shown is, in a sentence; `stale` when it must not be relied on."""

    what: str
    stale: bool


def rows(campaigns: Iterable[Campaign], census: Census, now_ms: int, seen: RoundEvent | None = None) -> list[Row]:
    """Tell campaigns in a line each, those with the most evidence first; `seen` is the newest round, if known."""
    rounds = {one.campaign: one for one in seen.campaigns} if seen else {}
    chosen = sorted(campaigns, key=lambda event: (-event.log10_lr, event.campaign))
    return [
        Row(
            event.campaign, event.state, event.members, event.exchanges, event.leaked_before_action,
            event.leaked_before_action / max(event.exchanges, 1), words.age(now_ms - event.first_seen_ms),
            event.log10_lr, words.likelier(event.log10_lr), words.age(now_ms - event.ts_ms),
            census.campaigns[event.campaign, "shadow"], census.campaigns[event.campaign, "enforce"],
            _last_round(rounds.get(event.campaign)),
        )
        for event in chosen
    ]  # fmt: skip


def _last_round(one: CampaignRound | None) -> str:
    if one is None:
        return ""
    if one.withheld:
        return "held back by the day's budget"
    return f"{one.served:,} served, {one.turned_away:,} turned away" if one.served or one.turned_away else "silent"


def by_state(campaigns: Iterable[Campaign]) -> dict[State, list[Campaign]]:
    """Sort campaigns by their state; every state has its list."""
    found: dict[State, list[Campaign]] = {state: [] for state in STATES}
    for event in campaigns:
        found[event.state].append(event)
    return found


def rungs(census: Census) -> list[Rung]:
    """How many subjects stand on each rung, shadow beside enforce."""
    counts: Counter[tuple[str, str]] = Counter(census.rungs)
    return [
        Rung(action, words.RUNGS[action], counts[action, "shadow"], counts[action, "enforce"])
        for action in STRICTEST_FIRST
    ]


def near(seen: RoundEvent | None) -> Near:
    """Tell the newest round."""
    if seen is None:
        return Near(not_told(None), ())
    what = (
        f"The round of {words.stamp(seen.ts_ms)} looked at {words.count(seen.accounts, 'account')} and found them in "
        f"{seen.communities:,} communities."
    )
    return Near(what, look_alikes(seen, ()))


def part_of(items: Sequence[Item], number: int, size: int) -> Part[Item]:
    """A page of the list: the nearest one that there is."""
    pages = max(1, -(-len(items) // size))
    number = min(max(number, 1), pages)
    return Part(items[(number - 1) * size : number * size], len(items), number, pages)


def fresh(why_not_ready: str | None, answered_s: float, newest_ms: int, lag: int, now_s: float, *, up: bool) -> Fresh:
    """Tell how fresh it is.

    Args:
        why_not_ready: why not all was read yet, None once it was.
        answered_s: when the brokers last answered, Unix; 0 for never.
        newest_ms: event time of the newest event, 0 for none.
        lag: events that are not read yet.
        now_s: the time.
        up: whether the brokers answer.
    """
    if not up:
        since = f"since {words.stamp(int(answered_s * 1000))}" if answered_s else "yet"
        return Fresh(f"The brokers have not answered {since}: what stands here may be old.", stale=True)
    if why_not_ready is not None:
        return Fresh(f"Not all is read yet: {why_not_ready}. What stands here is incomplete.", stale=True)
    if not newest_ms:
        return Fresh("The topics are read to their end, and hold no event.", stale=False)
    newest = f"the newest event is of {words.stamp(newest_ms)}, {words.age(int(now_s * 1000) - newest_ms)} ago"
    if lag:
        return Fresh(f"{words.count(lag, 'event')} behind the topics' end; {newest}.", stale=False)
    return Fresh(f"Read to the topics' end at {words.clock(int(answered_s * 1000))}; {newest}.", stale=False)
