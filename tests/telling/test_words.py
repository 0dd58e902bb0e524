"""The words for what events say in codes."""

from __future__ import annotations

from typing import get_args

import pytest

from streamproc.contract import decisions
from streamproc.contract.labels import WORDS
from streamproc.core.campaigns.statistics import FAMILIES, STATISTICS
from streamproc.telling import words
from tests.telling.events import DAY, HOUR, NOW


def test_every_code_of_the_contract_has_its_words() -> None:
    assert set(words.RUNGS) == set(get_args(decisions.Action))
    assert set(words.STATES) == set(get_args(decisions.State))
    assert set(words.FAMILIES) == set(FAMILIES)
    assert set(words.LABELS) == set(WORDS)


def test_every_statistic_has_words_for_its_blindness_with_the_fields_that_it_needs() -> None:
    assert {name: one.fields for name, one in words.BLIND_TO.items()} == {one.name: one.fields for one in STATISTICS}


@pytest.mark.parametrize(
    ("log10_lr", "said"),
    [
        (0.0, "says next to nothing"),
        (-0.04, "says next to nothing"),
        (0.3, "2.0 times likelier for a campaign"),
        (-0.3, "2.0 times likelier for a lawful group"),
        (2.255, "180 times likelier for a campaign"),
        (3.1, "1,300 times likelier for a campaign"),
        (-9.0, "more than a million times likelier for a lawful group"),
        (1e300, "more than a million times likelier for a campaign"),
    ],
)
def test_a_weight_of_evidence_says_how_much_likelier_and_for_whom(log10_lr: float, said: str) -> None:
    assert words.likelier(log10_lr) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (-5, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (HOUR + 60_000, "1 h 1 min"),
        (DAY, "1 day"),
        (2 * DAY + 4 * HOUR + 60_000, "2 days 4 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(ms: int, said: str) -> None:
    assert words.age(ms) == said


def test_times_are_utc_to_the_minute_even_beyond_every_calendar() -> None:
    assert words.stamp(NOW) == "2027-01-15 08:00 UTC"
    assert words.stamp(2**53) == "9999-12-31 23:59 UTC"


@pytest.mark.parametrize(("share", "said"), [(0.0, "0 %"), (0.004, "0.4 %"), (0.25, "25 %"), (1.0, "100 %")])
def test_a_small_share_is_not_told_as_none(share: float, said: str) -> None:
    assert words.percent(share) == said
