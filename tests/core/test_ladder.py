"""The ladder as a table: what held, what a round holds, what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from streamproc.core.campaigns.ladder import RANK, RUNGS, TABLE, Claim, duration_ms, lower, raise_to
from streamproc.core.campaigns.memory import Standing
from tests.core.streams import HOUR_MS, small_policy

if TYPE_CHECKING:
    from streamproc.contract.decisions import Action

POLICY = msgspec.structs.replace(
    small_policy().ladder,
    observe_hours=24, throttle_hours=48, restrict_hours=48, suspend_hours=168, suspend_after_hits=2,
)  # fmt: skip
NOW = 1_750_032_000_000
ROUND_MS = 2 * HOUR_MS


def standing(action: Action, hours_left: int, *, hits: int = 0, campaign: str = "c1") -> Standing:
    return Standing("a1", action, NOW + hours_left * HOUR_MS, campaign, hits, 0.5)


def claim(holds: str, most: Action = "suspend", campaign: str = "c1") -> Claim:
    return Claim("a1", holds, campaign, most, 0.9)


@pytest.mark.parametrize(
    ("before", "holds", "most", "action", "hours", "said"),
    [
        # Up at once, each rung for its own time.
        (None, "suspected", "suspend", "observe", 24, True),
        (None, "watched", "suspend", "throttle", 48, True),
        (None, "member", "suspend", "throttle", 48, True),
        (None, "mixed", "suspend", "restrict", 48, True),
        (standing("observe", 20), "member", "suspend", "throttle", 48, True),
        (standing("throttle", 47, hits=1), "member", "suspend", "throttle", 47, False),
        (standing("throttle", 46, hits=2), "member", "suspend", "suspend", 168, True),
        # Said again once half of its time is over.
        (standing("throttle", 25, hits=1), "member", "suspend", "throttle", 25, False),
        (standing("throttle", 24, hits=1), "member", "suspend", "throttle", 48, True),
        (standing("suspend", 84, hits=9), "member", "suspend", "suspend", 168, True),
        # A higher rung still in force stays; one that is over does not.
        (standing("suspend", 100), "suspected", "suspend", "suspend", 100, False),
        (standing("suspend", 0), "suspected", "suspend", "observe", 24, True),
        # Mixed members are never suspended.
        (standing("restrict", 47, hits=9), "mixed", "suspend", "restrict", 47, False),
        # Exempt accounts are observed at most, those of whom little is known throttled at most.
        (None, "member", "observe", "observe", 24, True),
        (standing("observe", 23, hits=9), "member", "observe", "observe", 23, False),
        (standing("throttle", 47, hits=9), "member", "throttle", "throttle", 47, False),
        (None, "mixed", "throttle", "throttle", 48, True),
    ],
)
def test_what_a_claim_makes_of_a_standing(
    before: Standing | None, holds: str, most: Action, action: Action, hours: int, *, said: bool
) -> None:
    after, to_say = raise_to(before, claim(holds, most), NOW, POLICY)
    assert (after.action, after.expires_ms, to_say) == (action, NOW + hours * HOUR_MS, said)
    assert (after.name, after.campaign, after.score) == ("a1", "c1", 0.9)
    assert after.hits == (before.hits if before else 0) + (holds == "member")


def test_two_more_hits_of_a_campaign_suspend_its_member() -> None:
    held: Standing | None = None
    actions = []
    for at in range(4):
        held, _ = raise_to(held, claim("member"), NOW + at * ROUND_MS, POLICY)
        actions.append(held.action)
    assert actions == ["throttle", "throttle", "suspend", "suspend"]


def test_hits_of_another_campaign_do_not_count() -> None:
    after, said = raise_to(standing("throttle", 47, hits=5, campaign="other"), claim("member"), NOW, POLICY)
    assert (after.action, after.campaign, after.hits, said) == ("throttle", "c1", 1, True)


@pytest.mark.parametrize(
    ("before", "contradicted", "action"),
    [
        ("suspend", True, "throttle"),
        ("restrict", True, "verify"),
        ("throttle", True, "verify"),
        ("verify", True, "observe"),
        ("observe", True, "release"),
    ],
)
def test_down_one_rung_a_round_without_a_hit(before: Action, action: Action, *, contradicted: bool) -> None:
    after = lower(standing(before, 100), NOW, ROUND_MS, POLICY, contradicted=contradicted)
    assert after is not None
    assert after.action == action
    assert after.expires_ms == NOW + 2 * ROUND_MS
    assert after.hits == 0


@pytest.mark.parametrize(("hours_left", "lowered"), [(3, False), (2, True), (1, True), (0, True)])
def test_without_contradiction_a_rung_holds_until_the_round_that_sees_its_end(
    hours_left: int, *, lowered: bool
) -> None:
    after = lower(standing("suspend", hours_left), NOW, ROUND_MS, POLICY, contradicted=False)
    assert (after is not None) == lowered


@pytest.mark.parametrize(
    ("first", "way"),
    [
        ("suspend", [("throttle", 48), ("verify", 4), ("observe", 4), ("release", 4)]),
        ("restrict", [("verify", 4), ("observe", 4), ("release", 4)]),
    ],
)
def test_the_way_down_ends_in_release_and_from_a_suspension_goes_over_a_throttles_full_time(
    first: Action, way: list[tuple[Action, int]]
) -> None:
    held, said = standing(first, 1), []
    for at in range(40):
        now = NOW + at * ROUND_MS
        after = lower(held, now, ROUND_MS, POLICY, contradicted=False)
        if after is not None:
            held = after
            said.append((held.action, (held.expires_ms - now) // HOUR_MS))
        if held.action == "release":
            break
    assert said == way


def test_a_mixed_account_stays_one_on_its_way_down() -> None:
    held, _ = raise_to(None, claim("mixed", "throttle"), NOW, POLICY)
    assert held.mixed
    after = lower(held, NOW, ROUND_MS, POLICY, contradicted=True)
    assert after is not None
    assert after.mixed
    assert not raise_to(after, claim("member"), NOW, POLICY)[0].mixed


def test_the_table_and_the_times_cover_every_rung() -> None:
    assert set(TABLE.values()) <= set(RUNGS)
    assert [duration_ms(rung, POLICY) // HOUR_MS for rung in RUNGS[1:]] == [24, 24, 48, 48, 168]
    assert [RANK[rung] for rung in RUNGS] == list(range(6))
