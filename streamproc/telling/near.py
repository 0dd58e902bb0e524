"""What came near and was left alone: groups that look like a campaign, accounts beside it, and its last round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from streamproc.telling import words
from streamproc.telling.evidence import weigh, weighed_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamproc.contract.decisions import Campaign, Family, Link
    from streamproc.contract.rounds import CampaignRound, Community, Outsider, RoundEvent

__all__ = ["LastRound", "LookAlike", "last_round", "look_alikes", "not_told", "without_names"]

MOST_LOOK_ALIKES: Final = 8
NO_ROUND: Final = "No round is on the topic yet: groups that scored below the threshold cannot be shown."


@dataclass(frozen=True, slots=True)
class LookAlike:
    """A group that was not acted on: a suspected campaign, or a community that no campaign is made of.

    `shared` templates it has in common with the campaign told, `why` it was left alone, and `against` is the weightiest
    sign that it is lawful, empty where none is told.
    """

    campaign: str | None
    what: str
    accounts: int
    shared: int
    log10_lr: float
    likelier: str
    families: tuple[str, ...]
    why: str
    against: str


@dataclass(frozen=True, slots=True)
class LastRound:
    """A campaign's last round: requests of its members in it, and who uses its core and is held to be no member."""

    what: str
    evidence: str  # that round's, beside the clearest that the campaign is told with
    served: int
    turned_away: int
    withheld: bool
    outsiders: int
    nearest: tuple[Outsider, ...]


def look_alikes(
    seen: RoundEvent | None, suspected: Iterable[Campaign], links: Sequence[Link] = ()
) -> tuple[LookAlike, ...]:
    """Tell groups that were not acted on: those that share most of `links` first, then the nearest to a threshold.

    Args:
        seen: the newest round, if one was heard of.
        suspected: campaigns in that state.
        links: what the campaign shares that they are held beside.
    """
    own = {(link.field, link.value) for link in links}
    rounds = {one.campaign: one for one in seen.campaigns} if seen else {}
    found = [(0, _of_campaign(event, rounds.get(event.campaign), own)) for event in suspected]
    if seen is not None:
        found += [(rank, _of_community(one, own)) for rank, one in enumerate(seen.nearest, 1) if one.campaign is None]
    found.sort(key=lambda pair: (-pair[1].shared, pair[0], -pair[1].log10_lr, pair[1].campaign or ""))
    return tuple(one for _, one in found[:MOST_LOOK_ALIKES])


def last_round(seen: RoundEvent | None, campaign: str) -> LastRound | None:
    """Tell how a campaign stood in the newest round; None if no round is known that saw it."""
    one = next((one for one in seen.campaigns if one.campaign == campaign), None) if seen else None
    if seen is None or one is None:
        return None
    what = (
        f"From {words.stamp(seen.since_ms)} to {words.stamp(seen.until_ms)} its members were served "
        f"{words.count(one.served, 'request')}, and {one.turned_away:,} more were turned away."
    )
    return LastRound(what, _evidence_now(one), one.served, one.turned_away, one.withheld, one.outsiders, one.nearest)


def without_names(seen: RoundEvent) -> RoundEvent:
    """The round without accounts' ids, for a case that somebody else may read."""
    replace = msgspec.structs.replace
    return replace(seen, campaigns=tuple(replace(one, nearest=()) for one in seen.campaigns))


def _evidence_now(one: CampaignRound) -> str:
    if one.withheld:
        return _held_back(one)
    if one.log10_lr is None:
        return "In the last round it was not hit."
    return f"In the last round its evidence was {one.log10_lr:+.2f}: {words.likelier(one.log10_lr)}."


def not_told(seen: RoundEvent | None) -> str:
    """Say what cannot be shown, empty if all can."""
    return NO_ROUND if seen is None else ""


def _of_campaign(event: Campaign, seen: CampaignRound | None, own: set[tuple[str, str]]) -> LookAlike:
    why = _held_back(seen) if seen and seen.withheld else "It was not hit in enough rounds to be confirmed."
    return LookAlike(
        event.campaign, "suspected campaign", event.members, _shared(event.links, own), event.log10_lr,
        words.likelier(event.log10_lr), _families(event.families), why, "",
    )  # fmt: skip


def _of_community(one: Community, own: set[tuple[str, str]]) -> LookAlike:
    lawful = next((weighed for weighed in weigh(one.evidence) if weighed.log10_lr < 0), None)
    return LookAlike(
        None, f"community of the last {one.view_hours} hours", one.accounts, _shared(one.links, own), one.score,
        words.likelier(one.score), _families(one.families), _why_not(one), weighed_text(lawful) if lawful else "",
    )  # fmt: skip


def _why_not(one: Community) -> str:
    why = {
        "score": f"its evidence is {-one.margin:.2f} below the threshold of {one.threshold:+.2f}",
        "families": "too few kinds of evidence speak for a campaign",
        "organisations": f"its accounts are of {words.count(one.organisations, 'organisation')} only",
    }
    text = "; ".join(why[reason] for reason in one.short_of)
    return f"{text[:1].upper()}{text[1:]}."


def _held_back(one: CampaignRound) -> str:
    return (
        f"It was hit in {words.count(one.hits, 'round')}: only the day's budget of confirmations leaves it suspected."
    )


def _shared(links: Iterable[Link], own: set[tuple[str, str]]) -> int:
    return sum((link.field, link.value) in own for link in links)


def _families(families: Iterable[Family]) -> tuple[str, ...]:
    return tuple(words.FAMILIES[family] for family in families)
