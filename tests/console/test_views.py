"""Lists of campaigns, and how fresh what is shown is."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.console import views
from streamproc.console.table import Census
from tests.telling.events import DAY, NOW, campaign, community, in_round, seen


def test_a_list_has_those_with_the_most_evidence_first_and_whom_they_limit() -> None:
    census = Census()
    census.campaigns["c2", "shadow"] = 7
    rows = views.rows(
        [campaign("c1", log10_lr=1.0), campaign("c3", log10_lr=3.0), campaign("c2", log10_lr=3.0)], census, NOW
    )
    assert [(row.id, row.shadow, row.enforce) for row in rows] == [("c2", 7, 0), ("c3", 0, 0), ("c1", 0, 0)]
    assert (rows[0].age, rows[0].heard, rows[0].leaked_share) == ("2 days", "1 h", 0.25)


def test_every_state_has_its_list() -> None:
    lists = views.by_state([campaign("c1"), campaign("c2", state="merged")])
    assert {state: [event.campaign for event in events] for state, events in lists.items() if events} == {
        "confirmed": ["c1"], "merged": ["c2"],
    }  # fmt: skip
    assert set(lists) == set(views.STATES)


@pytest.mark.parametrize(
    ("number", "items", "at"), [(1, [0, 1, 2], 1), (3, [6], 3), (99, [6], 3), (0, [0, 1, 2], 1), (-5, [0, 1, 2], 1)]
)
def test_a_page_of_a_list_is_the_nearest_that_there_is(number: int, items: list[int], at: int) -> None:
    part = views.part_of(range(7), number, 3)
    assert (list(part.items), part.number, part.pages, part.total) == (items, at, 3, 7)
    assert views.part_of([], number, 3).pages == 1


@pytest.mark.parametrize(
    ("change", "said", "stale"),
    [
        ({}, "Read to the topics' end at 07:59:58 UTC; the newest event is of 2027-01-14 08:00 UTC, 1 day ago.", False),
        ({"lag": 3}, "3 events behind the topics' end", False),
        ({"newest_ms": 0}, "hold no event", False),
        ({"why_not_ready": "there is no topic labels yet"}, "Not all is read yet: there is no topic labels yet.", True),
        ({"up": False}, "The brokers have not answered since 2027-01-15 07:59 UTC: what stands here may be old.", True),
        ({"up": False, "answered_s": 0.0}, "The brokers have not answered yet", True),
    ],
)
def test_how_fresh_it_is_is_said_in_a_sentence(change: dict[str, Any], said: str, stale: bool) -> None:  # noqa: FBT001
    state: dict[str, Any] = {
        "why_not_ready": None, "answered_s": NOW / 1000 - 2, "newest_ms": NOW - DAY, "lag": 0, "now_s": NOW / 1000,
        "up": True,
    }  # fmt: skip
    fresh = views.fresh(**(state | change))
    assert said in fresh.what
    assert fresh.stale is stale


def test_what_came_near_is_told_of_the_newest_round() -> None:
    told = views.near(seen((community(), community(campaign="c1")), (in_round(),)))
    assert told.what == "The round of 2027-01-15 07:00 UTC looked at 2,000 accounts and found them in 21 communities."
    assert [one.accounts for one in told.groups] == [30]
    assert "No round is on the topic yet" in views.near(None).what


def test_a_campaign_in_a_list_says_what_its_last_round_was() -> None:
    seen_of = seen((), (
        in_round("c1", served=1_200, turned_away=3), in_round("c2", served=0, turned_away=0),
        in_round("c3", state="suspected", withheld=True),
    ))  # fmt: skip
    told = views.rows([campaign(name) for name in ("c1", "c2", "c3", "c4")], Census(), NOW, seen_of)
    assert {row.id: row.last_round for row in told} == {
        "c1": "1,200 served, 3 turned away", "c2": "silent", "c3": "held back by the day's budget", "c4": "",
    }  # fmt: skip
    assert views.rows([campaign("c1")], Census(), NOW)[0].last_round == ""
