"""What is told of an account and of a campaign, from their events."""

from __future__ import annotations

import itertools

import pytest

from streamproc.contract.decisions import Action, Reason
from streamproc.core.campaigns.statistics import STATISTICS
from streamproc.telling import tell_account, tell_campaign
from streamproc.telling.campaigns import tell_members
from streamproc.telling.evidence import blind_to, weigh, weighed_text
from tests.telling.events import BIRTHS, DAY, HOUR, NOW, campaign, decision, label


def test_evidence_stands_beside_what_lawful_groups_show() -> None:
    (one,) = weigh([BIRTHS])
    assert one.observed == "90 % of the accounts first used the shared templates within the same 12 hours"
    assert one.lawful == "40 %"
    assert one.likelier == "16 times likelier for a campaign"
    assert weighed_text(one) == BIRTHS.text


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda one: one.name)
def test_every_sentence_of_the_detector_is_told_in_two_parts_and_whole_again(statistic: object) -> None:
    text = statistic.sentence(0.5, 0.25)  # type: ignore[attr-defined]
    (one,) = weigh([Reason(signal="x", family="template", log10_lr=1.0, text=text)])
    assert one.observed
    assert one.lawful
    assert weighed_text(one) == text


def test_a_sentence_without_a_comparison_is_told_as_it_is() -> None:
    (one,) = weigh([Reason(signal="day", family="behaviour", log10_lr=0.0, text="An unusual day: a key that leaked?")])
    assert (one.observed, one.lawful) == ("An unusual day: a key that leaked?", "")
    assert weighed_text(one) == one.observed


def test_a_blind_signal_of_another_version_is_told_by_its_name() -> None:
    known, unknown = blind_to(["tokens", "chains"])
    assert known.fields == ("tok_in", "tok_out")
    assert (unknown.what, unknown.fields) == ("what chains shows", ())


@pytest.mark.parametrize(
    ("action", "ago_ms", "mode", "standing", "in_force", "acted_on"),
    [
        ("throttle", HOUR, "enforce", "Since 2027-01-15 07:00 UTC it is throttled", True, True),
        ("throttle", HOUR, "shadow", "In shadow only: gateways do not act on it.", True, False),
        ("throttle", 3 * DAY, "enforce", "it was throttled (its rate is cut); that lapsed", False, False),
        ("release", HOUR, "enforce", "Nothing is in force: it was released at 2027-01-15 07:00 UTC.", False, False),
    ],
)  # fmt: skip
def test_what_holds_for_an_account_is_told_in_a_sentence(
    action: Action, ago_ms: int, mode: str, standing: str, in_force: bool, acted_on: bool  # noqa: FBT001
) -> None:  # fmt: skip
    told = tell_account([decision("a1", action, ago_ms, mode=mode)], NOW)
    assert standing in told.standing
    assert (told.in_force, told.acted_on) == (in_force, acted_on)


def test_an_accounts_rungs_are_told_by_seq_whatever_the_order_and_once_each() -> None:
    said = [decision("a1", "observe", 3 * HOUR), decision("a1", "throttle", 2 * HOUR), decision("a1", "release", HOUR)]
    for order in itertools.permutations([*said, said[0]]):
        told = tell_account(order, NOW)
        assert [step.action for step in told.steps] == ["observe", "throttle", "release"]
        assert [one.signal for one in told.evidence] == ["births"]  # a release gives no reasons: those before it stand
    assert told.steps[1].limit == "requests a minute: 1; tokens a minute: 2,000"


def test_a_campaigns_course_tells_what_changed_and_the_newest_word() -> None:
    states = [
        campaign(ago_ms=9 * HOUR, state="suspected", members=30, exchanges=0),
        campaign(ago_ms=7 * HOUR, members=30),
        campaign(ago_ms=5 * HOUR, members=30),
        campaign(ago_ms=3 * HOUR, members=41),
        campaign(ago_ms=2 * HOUR, members=41),
        campaign(ago_ms=HOUR, state="merged", merged_into="c0", members=41),
    ]
    told = tell_campaign(states[::-1], [], [], NOW)
    assert [moment.what for moment in told.course] == [
        "suspected, as first heard here", "confirmed", "11 members more", "merged into c0",
    ]  # fmt: skip
    unmerged = tell_campaign(states[:-1], [], [], NOW, [label("c1")])
    assert unmerged.course[-1].what == "seen again"
    assert (unmerged.age, unmerged.leaked_share) == ("2 days", 0.25)
    assert unmerged.asks_for == (("code", 0.75), ("chat", 0.25))
    assert unmerged.labels[0].what == "it is lawful"


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        ((), "Nobody is limited, and enforcing would limit nobody now."),
        (("shadow", "shadow"), "Nobody is limited, for it is in shadow; enforcing would limit 2 members."),
        (("enforce",), "1 member is limited by gateways now."),
        (("enforce", "enforce", "shadow"), "2 members are limited by gateways; 1 more would be, were it enforced."),
    ],
)
def test_what_enforcing_cuts_off_counts_members_at_throttle_or_above_in_force_now(
    modes: tuple[str, ...], said: str
) -> None:
    held = [decision(f"a{n}", "suspend", mode=mode) for n, mode in enumerate(modes)]
    beside = [decision("b1", "observe"), decision("b2", "release"), decision("b3", "throttle", 3 * DAY)]
    told = tell_campaign([campaign()], [*held, *beside], [], NOW).cut_off
    assert told.what.startswith(said)
    assert (told.shadow, told.enforce) == (modes.count("shadow"), modes.count("enforce"))
    assert {rung.action: rung.shadow + rung.enforce for rung in told.rungs} == {
        "suspend": len(modes), "restrict": 0, "throttle": 0, "verify": 0, "observe": 1,
    }  # fmt: skip
    assert told.exchanges_a_day == round(1_000 / (47 / 24))


def test_members_are_told_those_in_force_first_then_the_strictest_then_the_likeliest() -> None:
    held = [
        decision("released", "release"), decision("lapsed", "suspend", 9 * DAY), decision("unlikely", score=0.2),
        decision("likely", score=0.9), decision("suspended", "suspend", score=0.5),
    ]  # fmt: skip
    told = tell_members(held, NOW)
    assert [one.id for one in told] == ["suspended", "likely", "unlikely", "lapsed", "released"]
