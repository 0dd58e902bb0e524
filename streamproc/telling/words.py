"""The words for what events say in codes, as tables, and numbers and times as people read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.contract.decisions import Action, Family, State
    from streamproc.contract.labels import Word

__all__ = [
    "BLIND_TO",
    "FAMILIES",
    "LABELS",
    "RUNGS",
    "STATES",
    "BlindTo",
    "age",
    "clock",
    "count",
    "likelier",
    "percent",
    "stamp",
]

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
MOST_MS: Final = 253_402_300_799_000  # the end of the year 9999, beyond which no calendar here goes

RUNGS: Final[Mapping[Action, str]] = {
    "observe": "observed (a tag, nothing else)",
    "verify": "asked for step-up verification",
    "throttle": "throttled (its rate is cut)",
    "restrict": "restricted (capabilities are taken away)",
    "suspend": "suspended (nothing is served)",
    "release": "released (nothing is in force any more)",
}
STATES: Final[Mapping[State, str]] = {
    "suspected": "scored above the threshold, and not confirmed: its accounts are observed at most",
    "confirmed": "scored above the threshold in enough rounds, or an analyst said so: its members are acted on",
    "contained": "has been quiet since its members were acted on; new accounts that use its templates are still caught",
    "dormant": "quiet for so long that nobody watches for it any more",
    "cleared": "an analyst said that it is lawful: all of its accounts were released",
    "merged": "turned out to be part of another campaign",
}
FAMILIES: Final[Mapping[Family, str]] = {
    "template": "what they share",
    "synchrony": "how they keep time",
    "history": "whether they come back and talk on",
    "identity": "how unlike they are in who they are",
    "behaviour": "how alike they are in what they do",
    "content": "what they ask for",
}
LABELS: Final[Mapping[Word, str]] = {
    "confirmed": "it is a campaign, or belongs to one",
    "lawful": "it is lawful",
    "appeal_granted": "an appeal was granted",
    "verified": "it passed a step-up verification",
    "vetted": "it was accepted into a programme",
}


@dataclass(frozen=True, slots=True)
class BlindTo:
    """What nobody can tell without a signal, and the fields of a request event that it reads beyond the template."""

    what: str
    fields: tuple[str, ...] = ()


# By signal; held against the detector's own table of statistics by a test.
BLIND_TO: Final[Mapping[str, BlindTo]] = {
    "core_size": BlindTo("how many uncommon templates tie the accounts together"),
    "cover": BlindTo("how small a part of those templates each account uses"),
    "size": BlindTo("how many accounts they are"),
    "devoted": BlindTo("how many accounts do little else"),
    "births": BlindTo("whether they began together"),
    "hours": BlindTo("whether their hours of the day are exchangeable"),
    "day_evenness": BlindTo("whether their days are evener than people's"),
    "sittings": BlindTo("whether they come back within a sitting, as people do", ("n_assistant",)),
    "earlier_turns": BlindTo("whether they go on with conversations", ("n_assistant",)),
    "core_share": BlindTo("how much of what they do is in common"),
    "dispersion": BlindTo("whether their volumes follow one common rate"),
    "devoted_share": BlindTo("what part of them does little else"),
    "tokens": BlindTo("whether lengths of prompts and answers tell them apart", ("tok_in", "tok_out")),
    "client_variety": BlindTo("how many kinds of client software they use", ("ua",)),
    "shared_client": BlindTo("whether they share an uncommon client", ("ua", "ua_version", "tls_fp")),
    "pathway_variety": BlindTo("by how many pathways they come in", ("pathway",)),
    "organisations": BlindTo("how many organisations they belong to", ("org",)),
    "fresh": BlindTo("how many of them signed up lately", ("signup_ms",)),
    "elicitation": BlindTo("whether they ask for training data", ("elicits",)),
}

SLIGHT: Final = 0.05  # of evidence: below, it tips nothing
FAR: Final = 6.0  # beyond a million, the number says no more


def stamp(ts_ms: int) -> str:
    """Event time to the minute, UTC."""
    return f"{datetime.fromtimestamp(min(ts_ms, MOST_MS) / SECOND_MS, UTC):%Y-%m-%d %H:%M} UTC"


def clock(ts_ms: int) -> str:
    """The time of day to the second, UTC."""
    return f"{datetime.fromtimestamp(ts_ms / SECOND_MS, UTC):%H:%M:%S} UTC"


def age(ms: int) -> str:
    """A span in its two largest units."""
    ms = max(ms, 0)
    days, hours = ms // DAY_MS, ms % DAY_MS // HOUR_MS
    minutes, seconds = ms % HOUR_MS // MINUTE_MS, ms % MINUTE_MS // SECOND_MS
    if days:
        return f"{count(days, 'day')} {hours} h" if hours else count(days, "day")
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


def count(number: int, thing: str) -> str:
    """So many of a thing, in words for one and for many."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share between 0 and 1, a small one not as none."""
    return f"{share:.0%}".replace("%", " %") if share >= SLIGHT or not share else f"{share:.1%}".replace("%", " %")


def likelier(log10_lr: float) -> str:
    """What a weight of evidence means."""
    if abs(log10_lr) < SLIGHT:
        return "says next to nothing"
    side = "a campaign" if log10_lr > 0 else "a lawful group"
    if abs(log10_lr) >= FAR:
        return f"more than a million times likelier for {side}"
    times = 10 ** abs(log10_lr)
    said = f"{times:.1f}" if abs(log10_lr) < 1 else f"{_two_digits(times):,}"
    return f"{said} times likelier for {side}"


def _two_digits(times: float) -> int:
    return int(float(f"{times:.1e}"))
