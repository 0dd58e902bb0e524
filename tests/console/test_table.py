"""The table: what the topics hold, as pages ask for it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from streamproc.console import table as tables
from streamproc.console.table import Table
from streamproc.contract.rounds import KEY, encode_round
from tests.console.service import message
from tests.telling.events import DAY, HOUR, NOW, campaign, community, decision, label, seen


def filled(*said: Any, most: int = 1_000) -> Table:
    made = Table(most)
    for event in said:
        topic, key, value = message(event)
        made.take(topic, value, key)
    return made


def test_the_newest_decision_is_that_of_the_largest_seq_whatever_the_order() -> None:
    said = [
        decision("a1", "observe", 3 * HOUR),
        decision("a1", "throttle", 2 * HOUR, campaign="c2"),
        decision("a1", "release", HOUR),
    ]
    for order in itertools.permutations([*said, said[1]]):
        made = filled(*order)
        assert made.decisions("account:a1") == tuple(said)
        assert [event.id for event in made.held("c1")] == [said[2].id]
        assert made.held("c2") == []


def test_a_subject_is_a_member_of_the_campaign_that_its_newest_decision_names() -> None:
    made = filled(decision("a1", ago_ms=3 * HOUR), decision("a2"), decision("a1", ago_ms=HOUR, campaign="c2"))
    assert [event.subject.id for event in made.held("c1")] == ["a2"]
    assert [event.subject.id for event in made.held("c2")] == ["a1"]
    assert made.held("c3") == []


def test_steps_and_states_are_bounded_and_what_says_nothing_new_is_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_STATES", 3)
    steps = [decision("a1", ago_ms=(40 - n) * HOUR) for n in range(20)]
    states = [campaign(ago_ms=(40 - n) * HOUR, members=max(n, 10)) for n in range(20)]
    made = filled(*steps, *states)
    assert made.decisions("account:a1") == tuple(steps[-tables.MOST_STEPS :])
    assert made.states("c1") == tuple(states[-3:])
    still = filled(*(campaign(ago_ms=(40 - n) * HOUR) for n in range(9)))
    assert [event.ts_ms for event in still.states("c1")] == [NOW - 40 * HOUR, NOW - 32 * HOUR]


def test_who_stands_where_is_counted_as_of_the_time_asked() -> None:
    made = filled(
        decision("a1", "suspend", mode="enforce"), decision("a2"), decision("a3", "observe"),
        decision("a4", "release"), decision("a5", ago_ms=3 * DAY),
    )  # fmt: skip
    now = made.census(NOW)
    assert now.rungs == {("suspend", "enforce"): 1, ("throttle", "shadow"): 1, ("observe", "shadow"): 1}
    assert now.campaigns == {("c1", "enforce"): 1, ("c1", "shadow"): 1}
    assert made.census(NOW) is now
    topic, key, value = message(decision("a6"))
    made.take(topic, value, key)
    assert made.census(NOW).rungs["throttle", "shadow"] == 2
    assert not made.census(NOW + 9 * DAY).rungs


def test_a_full_table_gives_up_the_released_then_those_not_heard_of_for_longest() -> None:
    made = filled(decision("old"), decision("free", "release"), decision("new"), decision("old", ago_ms=1), most=2)
    assert made.decisions("account:free") == ()
    assert made.decisions("account:old")
    made = filled(decision("a1"), decision("a2"), decision("a1", ago_ms=1), decision("a3"), most=2)
    assert [len(made.decisions(f"account:a{n}")) for n in (1, 2, 3)] == [2, 0, 1]
    assert made.counts["enforcement", "evicted"] == 1
    assert [event.subject.id for event in made.held("c1")] == ["a1", "a3"]


def test_a_flood_of_campaigns_pushes_out_those_that_are_over_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_CAMPAIGNS", 64)
    over = [campaign(f"over{n}", state="cleared") for n in range(3)]
    made = filled(campaign("live"), *over, *(campaign(f"x{n}") for n in range(63)))
    assert {"live"} == {event.campaign for event in made.campaigns() if not event.campaign.startswith("x")}
    made = filled(*(campaign(f"x{n}") for n in range(70)))
    assert len(list(made.campaigns())) == 64


@pytest.mark.parametrize(
    ("topic", "value", "key"),
    [
        ("enforcement", b"{", b"account:a1"),
        ("enforcement", b"\xff", b"account:a1"),
        ("enforcement", b'{"v":2}', b"account:a1"),
        ("enforcement", message(decision("a1"))[2], b"account:a2"),
        ("enforcement", message(decision("a1"))[2].replace(b'"reasons":[{', b'"reasons":[{"family":7,'), b"account:a1"),
        ("enforcement", message(decision("a1", ts_ms=-1))[2], b"account:a1"),
        ("enforcement", message(decision("a1", expires_ms=2**60))[2], b"account:a1"),
        ("enforcement", b"[" * 100_000, b"account:a1"),
        ("campaigns", b"[]", b"c1"),
        ("campaigns", message(campaign("c1"))[2], b"c2"),
        ("campaigns", message(campaign("c1", first_seen_ms=-(2**60)))[2], b"c1"),
        ("labels", b"{}", b"account:a1"),
        ("labels", message(label("a1"))[2], None),
    ],
)
def test_what_is_no_event_is_counted_and_left_out(topic: str, value: bytes, key: bytes | None) -> None:
    made = Table(10)
    made.take(topic, value, key)
    assert dict(made.counts) == {(topic, "bad"): 1}
    assert (len(made), list(made.campaigns()), made.labels("account:a1")) == (0, [], ())


def test_a_deleted_key_is_forgotten() -> None:
    made = filled(decision("a1"), campaign("c1"), label("a1"))
    for topic, key in (
        ("enforcement", b"account:a1"),
        ("campaigns", b"c1"),
        ("labels", b"account:a1"),
        ("labels", b"x"),
    ):
        made.take(topic, None, key)
    assert (len(made), made.states("c1"), made.labels("account:a1"), made.held("c1")) == (0, (), (), [])


def test_ids_are_found_by_how_they_begin() -> None:
    made = filled(*(decision(f"a{n:02}") for n in range(30)), campaign("ab"), decision("b1"))
    campaigns, subjects = made.find("a", 5)
    assert (campaigns, subjects) == (["ab"], [f"account:a{n:02}" for n in range(5)])


def test_labels_are_kept_by_time_and_once_each() -> None:
    first, second = label("a1", ago_ms=2 * HOUR), label("a1", "confirmed", HOUR)
    made = filled(second, first, second)
    assert made.labels("account:a1") == (first, second)
    assert made.newest_ms == {"labels": NOW - HOUR}


def test_the_newest_round_is_kept_whatever_the_order_until_it_is_deleted() -> None:
    older, newer = seen(ago_ms=3 * HOUR), seen((community(),), ago_ms=HOUR)
    for order in ((older, newer), (newer, older)):
        made = filled(*order)
        assert made.round() == newer
        assert made.newest_ms["rounds"] == newer.ts_ms
    made.take("rounds", encode_round(older), b"other")
    assert made.counts["rounds", "bad"] == 1
    made.take("rounds", None, KEY.encode())
    assert made.round() is None
