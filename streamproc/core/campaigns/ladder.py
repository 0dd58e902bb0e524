"""The ladder: which rung holds for an account, for how long, and how it comes down again.

Up at once.  While its campaign is hit and it is no longer among the members, an account that goes on comes down one
rung a round; when a rung's time ends it also comes down one by one, from a suspension by a throttle's full time: who
goes on as before shows it there.  Release is said, never left to lapse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamproc.core.campaigns.memory import Standing

if TYPE_CHECKING:
    from streamproc.contract.decisions import Action
    from streamproc.core.policy import LadderPolicy

HOUR_MS = 3_600_000
RUNGS: tuple[Action, ...] = ("release", "observe", "verify", "throttle", "restrict", "suspend")
RANK: dict[Action, int] = {rung: rank for rank, rung in enumerate(RUNGS)}

# What holds for an account -> its rung.  Everything that is asked of the ladder is a row of this table.
TABLE: dict[str, Action] = {
    "unusual": "observe",
    "suspected": "observe",
    "watched": "throttle",
    "member": "throttle",
    "member, hit again": "suspend",
    "mixed": "restrict",
}

# Where each rung leads down to.  A throttle leaves less than a restriction does: neither leads to the other.
DOWN: dict[Action, Action] = {
    "suspend": "throttle",
    "restrict": "verify",
    "throttle": "verify",
    "verify": "observe",
    "observe": "release",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a round holds of one account: a key of TABLE, the campaign, the most that may be done, P(member)."""

    name: str  # the account's id
    holds: str
    campaign: str | None
    most: Action
    score: float


def limits(rung: Action) -> bool:
    """Whether a rung takes anything from an account."""
    return RANK[rung] >= RANK["throttle"]


def duration_ms(rung: Action, policy: LadderPolicy) -> int:
    """How long a rung holds once it is taken."""
    hours: dict[Action, int] = {
        "observe": policy.observe_hours,
        "verify": policy.observe_hours,
        "throttle": policy.throttle_hours,
        "restrict": policy.restrict_hours,
        "suspend": policy.suspend_hours,
    }
    return hours[rung] * HOUR_MS


def rung_of(claim: Claim, hits: int, policy: LadderPolicy) -> Action:
    """The rung that a claim asks for, after `hits` rounds in which the account was already a member."""
    again = claim.holds == "member" and hits >= policy.suspend_after_hits
    rung = TABLE["member, hit again" if again else claim.holds]
    return min(rung, claim.most, key=RANK.__getitem__)


def raise_to(standing: Standing | None, claim: Claim, ts_ms: int, policy: LadderPolicy) -> tuple[Standing, bool]:
    """The standing under a claim, and whether it has to be said: a higher rung, or one half over."""
    hits = standing.hits if standing and standing.campaign == claim.campaign else 0
    rung = rung_of(claim, hits, policy)
    hits += claim.holds == "member"
    if standing and RANK[standing.action] > RANK[rung] and standing.expires_ms > ts_ms:
        return _standing(claim, standing.action, standing.expires_ms, hits), False
    full = duration_ms(rung, policy)
    same = standing is not None and standing.action == rung and standing.campaign == claim.campaign
    if same and standing is not None and standing.expires_ms - ts_ms > full // 2:
        return _standing(claim, rung, standing.expires_ms, hits), False
    return _standing(claim, rung, ts_ms + full, hits), True


def _standing(claim: Claim, rung: Action, expires_ms: int, hits: int) -> Standing:
    return Standing(claim.name, rung, expires_ms, claim.campaign, hits, claim.score, mixed=claim.holds == "mixed")


def lower(
    standing: Standing, ts_ms: int, round_ms: int, policy: LadderPolicy, *, contradicted: bool
) -> Standing | None:
    """The standing without a claim: one rung down when contradicted or at its end, else None (as it is)."""
    if not contradicted and standing.expires_ms > ts_ms + round_ms:
        return None
    rung = DOWN[standing.action]
    on_probation = standing.action == "suspend" and not contradicted
    lasts_ms = duration_ms(rung, policy) if on_probation else 2 * round_ms
    return replace(standing, action=rung, expires_ms=ts_ms + lasts_ms, hits=0)
