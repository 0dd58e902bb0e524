from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.accounts.duplicates import GENERATION_MS, GENERATIONS, Duplicates
from tests.core.streams import HOUR_MS, MINUTE_MS

HOUR = 1000  # an hour of event time
LATENESS = 15 * MINUTE_MS


def seen(duplicates: Duplicates, events: list[tuple[int, int, int]]) -> list[bool]:
    """`events` are (key, ts_ms, the watermark it met)."""
    if not events:
        return []
    keys, ts_ms, watermark_ms = (np.array(column) for column in zip(*events, strict=True))
    again = duplicates.seen(keys.astype(np.uint64), ts_ms, watermark_ms)
    duplicates.expire(events[-1][2])
    return [bool(one) for one in again]


def at(hours: float) -> int:
    return int((HOUR + hours) * HOUR_MS)


def test_the_first_delivery_is_none_and_each_further_one_is() -> None:
    duplicates = Duplicates(100)
    events = [(key, at(0), at(0)) for key in (1, 2, 1, 1)]
    assert seen(duplicates, events) == [False, False, True, True]
    assert seen(duplicates, events) == [True] * 4


@pytest.mark.parametrize("later_hours", [0.01, 0.5, 1.0])
def test_a_copy_is_known_for_an_hour_at_least(later_hours: float) -> None:
    for start in (0.0, 0.25, 0.99):
        duplicates = Duplicates(100)
        assert seen(duplicates, [(1, at(start), at(start))]) == [False]
        assert seen(duplicates, [(1, at(start), at(start + later_hours))]) == [True]


def test_what_is_long_past_is_forgotten_and_never_called_a_copy() -> None:
    duplicates = Duplicates(100)
    seen(duplicates, [(1, at(0), at(0))])
    assert seen(duplicates, [(1, at(0), at(GENERATIONS + 1))]) == [False]
    assert duplicates.generations == {}


def test_beyond_the_capacity_the_oldest_hours_go_and_are_counted() -> None:
    duplicates = Duplicates(150)
    for hour in range(2):
        seen(duplicates, [(100 * hour + n + 1, at(hour), at(hour)) for n in range(100)])
    assert sum(map(len, duplicates.generations.values())) == 100
    assert duplicates.evicted == 100
    assert list(duplicates.generations) == [at(1) // GENERATION_MS]


def test_a_flood_of_fresh_ids_stays_within_the_capacity() -> None:
    duplicates = Duplicates(1000)
    for run in range(40):
        seen(duplicates, [(run * 500 + n + 1, at(run / 10), at(run / 10)) for n in range(500)])
        assert sum(map(len, duplicates.generations.values())) <= 1000 + 500


COPY = st.tuples(st.integers(1, 4), st.integers(-180, 180))  # key, minutes after the stream's time
STREAM = st.lists(COPY, max_size=40)


@given(STREAM, st.lists(st.integers(0, 40), max_size=6), st.booleans())
def test_chunks_do_not_matter(stream: list[tuple[int, int]], cuts: list[int], restamped: bool) -> None:  # noqa: FBT001
    """`restamped`: copies may bear other times than the first delivery, hours apart."""
    stamps: dict[int, int] = {}
    events, high = [], at(0)
    for number, (key, minutes) in enumerate(stream):
        ts_ms = at(number / 20) + minutes * MINUTE_MS
        ts_ms = ts_ms if restamped else stamps.setdefault(key, ts_ms)
        events.append((key, ts_ms, high - LATENESS))
        high = max(high, ts_ms)
    whole, pieces = Duplicates(1000), Duplicates(1000)
    bounds = [0, *sorted(cuts), len(events)]
    said = [one for low, high in pairwise(bounds) for one in seen(pieces, events[low:high])]
    assert said == seen(whole, events)
