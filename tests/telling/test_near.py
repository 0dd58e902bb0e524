"""What is told of groups and accounts that came near and were left alone, and of a campaign's last round."""

from __future__ import annotations

import pytest

from streamproc.contract.decisions import Campaign, Link
from streamproc.contract.rounds import Short
from streamproc.telling import tell_campaign
from streamproc.telling.near import last_round, look_alikes, without_names
from tests.telling.events import BIRTHS, campaign, community, in_round, seen


def links(*values: str) -> tuple[Link, ...]:
    return tuple(Link(field="template_fp", value=value, accounts=3) for value in values)


def suspected(name: str, log10_lr: float, *values: str) -> Campaign:
    return campaign(name, state="suspected", log10_lr=log10_lr, links=links(*values))


def test_groups_that_share_most_stand_first_then_suspected_campaigns_then_the_nearest_communities() -> None:
    near = (community(score=0.4), community(score=0.3), community(score=-2.0, links=links("00aa", "00cc")))
    others = [suspected("far", 0.1, "ff"), suspected("near", 0.1, "00aa", "ff"), suspected("heavy", 1.5)]
    told = look_alikes(seen(near), others, links("00aa", "00cc"))
    assert [(one.campaign, one.log10_lr, one.shared) for one in told] == [
        (None, -2.0, 2), ("near", 0.1, 1), ("heavy", 1.5, 0), ("far", 0.1, 0), (None, 0.4, 0), (None, 0.3, 0),
    ]  # fmt: skip


def test_a_campaign_is_told_beside_the_suspected_ones_and_never_beside_itself() -> None:
    others = [suspected("c2", 0.1), campaign("c3"), campaign("c4", state="cleared"), campaign("c1", state="suspected")]
    mine = community(campaign="c1"), community(campaign="c2"), community()
    told = tell_campaign([campaign(state="suspected")], [], others, 0, (), seen(mine))
    assert [one.campaign for one in told.look_alikes] == ["c2", None]
    assert told.not_told == ""
    assert "cannot be shown" in tell_campaign([campaign()], [], others, 0).not_told


@pytest.mark.parametrize(
    ("short_of", "said"),
    [
        (("score",), "Its evidence is 0.40 below the threshold of +0.50."),
        (("families",), "Too few kinds of evidence speak for a campaign."),
        (("organisations",), "Its accounts are of 1 organisation only."),
        (
            ("score", "organisations"),
            "Its evidence is 0.40 below the threshold of +0.50; its accounts are of 1 organisation only.",
        ),
    ],
)
def test_why_a_community_was_left_alone(short_of: tuple[Short, ...], said: str) -> None:
    (told,) = look_alikes(seen((community(short_of=short_of, organisations=1),)), ())
    assert told.why == said
    assert told.against.startswith("The accounts come in by 1.0 pathways")
    assert told.what == "community of the last 72 hours"
    (told,) = look_alikes(seen((community(evidence=(BIRTHS,)),)), ())
    assert told.against == ""


def test_why_a_suspected_campaign_was_left_alone() -> None:
    rounds = seen((), (in_round("c2", state="suspected", withheld=True, hits=2),))
    withheld, other = look_alikes(rounds, [suspected("c2", 2.0), suspected("c3", 1.0)])
    assert withheld.why == "It was hit in 2 rounds: only the day's budget of confirmations leaves it suspected."
    assert other.why == "It was not hit in enough rounds to be confirmed."


def test_a_campaigns_last_round_counts_what_was_served_and_what_was_turned_away() -> None:
    rounds = seen((), (in_round("c2"), in_round("c1", served=1, turned_away=1_200)))
    told = last_round(rounds, "c1")
    assert told is not None
    assert told.what == (
        "From 2027-01-15 05:00 UTC to 2027-01-15 07:00 UTC its members were served 1 request, "
        "and 1,200 more were turned away."
    )
    assert (told.outsiders, [one.account for one in told.nearest]) == (12, ["near-1"])
    assert last_round(rounds, "c9") is None
    assert last_round(None, "c1") is None
    held_back = last_round(seen((), (in_round(withheld=True),)), "c1")
    assert held_back is not None
    assert held_back.evidence.endswith("only the day's budget of confirmations leaves it suspected.")


@pytest.mark.parametrize(
    ("log10_lr", "said"),
    [
        (None, "In the last round it was not hit."),
        (-0.3, "In the last round its evidence was -0.30: 2.0 times likelier for a lawful group."),
    ],
)
def test_the_last_rounds_evidence_stands_beside_the_clearest(log10_lr: float | None, said: str) -> None:
    told = last_round(seen((), (in_round(log10_lr=log10_lr),)), "c1")
    assert told is not None
    assert told.evidence == said


def test_a_round_without_names_counts_the_same() -> None:
    told = last_round(without_names(seen((), (in_round(),))), "c1")
    assert told is not None
    assert (told.served, told.outsiders, told.nearest) == (47, 12, ())
