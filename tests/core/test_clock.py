"""The watermark of a partition, and who may move it."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.accounts.reducer import OPENING_EVENTS, Accounts
from streamproc.core.clock import UNSET_MS, PartitionClock
from tests.core.streams import DAY_MS, HOUR_MS, MINUTE_MS, event, small_policy

NOW = 1_750_032_000_000
LATENESS = 15 * MINUTE_MS
SLACK = HOUR_MS - LATENESS  # how far ahead of the highest time an event may be


def clock(high_ms: int = NOW) -> PartitionClock:
    made = PartitionClock(small_policy().time)
    made.high_ms = high_ms
    return made


def advance(held: PartitionClock, events: list[tuple[int, int]]) -> tuple[list[bool], list[int]]:
    """`events` are (account, ts_ms)."""
    future, met = held.advance(
        np.array([ts for _, ts in events], np.int64), np.array([a for a, _ in events], np.uint64)
    )
    return future.tolist(), met.tolist()


def test_before_any_event_there_is_no_watermark() -> None:
    assert PartitionClock(small_policy().time).watermark_ms == UNSET_MS


def test_the_watermark_is_what_two_accounts_have_shown_less_the_lateness() -> None:
    held = clock()
    future, met = advance(held, [(1, NOW + 5), (1, NOW + 7), (2, NOW + 6), (1, NOW - HOUR_MS), (2, NOW + 9)])
    assert future == [False] * 5
    assert met == [NOW - LATENESS] * 3 + [NOW + 6 - LATENESS] * 2
    assert held.watermark_ms == NOW + 7 - LATENESS


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1000)), max_size=40))
def test_time_is_the_second_highest_that_accounts_have_shown(events: list[tuple[int, int]]) -> None:
    held = clock()
    latest: dict[int, int] = {}
    for account, ts in events:
        advance(held, [(account, NOW + ts)])
        latest[account] = max(ts, latest.get(account, 0))
        assert held.high_ms == NOW + sorted([0, 0, *latest.values()])[-2]


@pytest.mark.parametrize(("ahead_ms", "refused"), [(SLACK, False), (SLACK + 1, True)])
def test_an_event_up_to_an_hour_ahead_of_the_watermark_is_taken(ahead_ms: int, *, refused: bool) -> None:
    held = clock()
    assert advance(held, [(1, NOW + ahead_ms), (2, NOW + ahead_ms)])[0] == [refused, refused]
    assert held.high_ms == (NOW if refused else NOW + ahead_ms)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_one_account_cannot_walk_time_forward(minutes: list[int]) -> None:
    """Each of its events is less than an hour after the one before."""
    held = clock()
    times = NOW + np.cumsum(minutes) * MINUTE_MS
    advance(held, [(1, int(ts)) for ts in times])
    assert held.high_ms == NOW


def test_an_account_alone_at_night_is_not_thrown_away() -> None:
    held = clock()
    future, _ = advance(held, [(1, NOW + n * 20 * MINUTE_MS) for n in range(12)])
    assert not any(future)
    assert held.high_ms == NOW, "and it moves nobody else's time"


def test_time_jumps_once_eight_accounts_in_a_row_have_shown_it() -> None:
    held = clock()
    future, _ = advance(held, [(account, NOW + DAY_MS + account) for account in range(1, 9)])
    assert future == [True] * 7 + [False]
    assert NOW + DAY_MS < held.high_ms <= NOW + DAY_MS + 8
    assert advance(held, [(1, NOW + DAY_MS)])[0] == [False]


def test_one_account_that_shows_it_many_times_is_one() -> None:
    held = clock()
    events = [(account, NOW + DAY_MS) for account in range(1, 8)] * 20
    assert all(advance(held, events)[0])
    assert held.high_ms == NOW


def test_what_was_shown_is_forgotten_once_others_go_on_as_before() -> None:
    held = clock()
    advance(held, [(account, NOW + 2 * HOUR_MS) for account in range(1, 8)])
    assert len(held.shown) == 7
    assert advance(held, [(20, NOW + 1), (9, NOW + 2 * HOUR_MS)])[0] == [False, True]
    assert len(held.shown) == 1


def test_time_goes_to_what_all_eight_reach_and_no_further() -> None:
    held = clock()
    events = [(account, NOW + DAY_MS) for account in range(1, 8)] + [(8, NOW + 300 * DAY_MS)]
    future, _ = advance(held, events)
    assert future[-1], "the eighth is still far ahead"
    assert held.high_ms == NOW + DAY_MS


EVENTS = st.lists(st.tuples(st.integers(1, 10), st.integers(-2 * HOUR_MS, 3 * HOUR_MS)), max_size=60)


@given(EVENTS, st.lists(st.integers(0, 60), max_size=5))
def test_the_watermark_does_not_depend_on_chunks(events: list[tuple[int, int]], cuts: list[int]) -> None:
    events = [(account, NOW + ts) for account, ts in events]
    whole, pieces = clock(), clock()
    answer = advance(whole, events)
    bounds = [0, *sorted(cuts), len(events)]
    parts = [advance(pieces, events[low:high]) for low, high in pairwise(bounds)]
    assert [one for part in parts for one in part[0]] == answer[0]
    assert [one for part in parts for one in part[1]] == answer[1]
    assert (pieces.high_ms, pieces.shown) == (whole.high_ms, whole.shown)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(-20, 100)), min_size=1, max_size=40),
    st.tuples(st.integers(0, 5), st.integers(-100, 60)),
)
def test_events_taken_together_are_as_one_by_one(events: list[tuple[int, int]], lead: tuple[int, int]) -> None:
    ts_ms = np.array([NOW + minutes * MINUTE_MS for _, minutes in events], np.int64)
    account = np.array([account for account, _ in events], np.uint64)
    together, single = clock(), clock()
    for held in (together, single):
        held.lead_account, held.lead_ms = lead[0], NOW + lead[1] * MINUTE_MS
        held.shown = {9: NOW + HOUR_MS}
    met = together._together(ts_ms, account)
    future, expected = single._one_by_one(ts_ms, account)
    assert (met is None) == bool(future.any())
    if met is None:
        assert (together.high_ms, together.lead_account, len(together.shown)) == (NOW, lead[0], 1)
        return
    assert (met - LATENESS).tolist() == expected.tolist()
    assert (together.high_ms, together.shown) == (single.high_ms, single.shown)
    if single.lead_ms > single.high_ms:
        assert (together.lead_account, together.lead_ms) == (single.lead_account, single.lead_ms)


@given(EVENTS)
def test_the_watermark_never_goes_back_and_little_is_remembered(events: list[tuple[int, int]]) -> None:
    held = clock()
    _, met = advance(held, [(account, NOW + ts) for account, ts in events])
    assert met == sorted(met)
    assert len(held.shown) < small_policy().time.future_accounts


@given(st.lists(st.integers(-3 * DAY_MS, 400 * DAY_MS), max_size=50))
def test_one_account_beyond_the_hour_moves_nobody(times: list[int]) -> None:
    held = clock()
    far = [(7, NOW + ts) for ts in times if ts > SLACK or ts <= 0]
    future, _ = advance(held, far)
    assert future == [ts > NOW for _, ts in far]
    assert held.high_ms == NOW


# The opening of a partition.


def message(account: str, ts_ms: int, number: int = 0) -> bytes:
    return json.dumps(event(account, ts_ms, number)).encode()


def test_a_partition_waits_for_eight_accounts() -> None:
    accounts = Accounts(0, small_policy())
    first = accounts.observe([message(f"a{n}", NOW + n) for n in range(7)], range(7))
    assert (len(first.uses), first.watermark_ms) == (0, UNSET_MS)
    second = accounts.observe([message("a7", NOW + 7)], [7])
    assert len(second.uses) == 8
    assert second.watermark_ms == NOW + 7 - LATENESS


@pytest.mark.parametrize("by_ms", [-300 * DAY_MS, 2 * HOUR_MS, 300 * DAY_MS])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_no_single_clock_sets_the_first_time(by_ms: int, place: int) -> None:
    accounts = Accounts(0, small_policy())
    times = [NOW + n for n in range(8)]
    times[place] += by_ms
    batch = accounts.observe([message(f"a{n}", ts) for n, ts in enumerate(times)], range(8))
    assert NOW - LATENESS <= batch.watermark_ms <= NOW + 7 - LATENESS
    assert [dead.reason for dead in batch.dead] == (["future"] if by_ms > 0 else [])


def test_one_account_that_sends_all_is_not_waited_for_forever() -> None:
    accounts = Accounts(0, small_policy())
    values = [message("a", NOW + n, n) for n in range(OPENING_EVENTS)]
    held = accounts.observe(values[:-1], range(OPENING_EVENTS - 1))
    assert len(held.uses) == 0
    opened = accounts.observe(values[-1:], [OPENING_EVENTS - 1])
    assert len(opened.uses) == OPENING_EVENTS


def test_the_end_of_the_input_ends_the_wait() -> None:
    accounts = Accounts(0, small_policy())
    accounts.observe([message("a", NOW), message("b", NOW + 5)], [0, 1])
    batch = accounts.flush()
    assert batch.offsets.tolist() == [0, 1]
    assert batch.next_offset == 2
    assert len(accounts.flush().uses) == 0


@pytest.mark.parametrize("cut", [1, 30, OPENING_EVENTS, OPENING_EVENTS + 10])
@pytest.mark.parametrize("others", [2, 20])
def test_bad_messages_do_not_use_up_the_wait(cut: int, others: int) -> None:
    accounts = Accounts(0, small_policy())
    values = [b"x"] * OPENING_EVENTS + [message(f"a{n % others}", NOW + n, n) for n in range(20)]
    batches = [accounts.observe(values[:cut], range(cut)), accounts.observe(values[cut:], range(cut, len(values)))]
    batches.append(accounts.flush())
    assert sum(len(batch.uses) for batch in batches) == 20
    assert [dead.reason for batch in batches for dead in batch.dead] == ["not_json"] * OPENING_EVENTS


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 12))
def test_the_opening_does_not_depend_on_chunks(sizes: list[int], accounts: int) -> None:
    values: list[bytes | None] = [
        b"" if n % 7 == 3 else message(f"a{n * n % accounts}", NOW + (n * 37 % 50) * 60_000, n) for n in range(90)
    ]
    said = []
    for bounds in ([0, 90], [0, *np.minimum(np.cumsum(sizes), 90).tolist(), 90]):
        reducer = Accounts(0, small_policy())
        batches = [reducer.observe(values[a:b], range(a, b)) for a, b in pairwise(bounds)]
        batches.append(reducer.flush())
        offsets = [at for batch in batches for at in batch.offsets.tolist()]
        times = [ts for batch in batches for ts in batch.uses.ts_ms.tolist()]
        dead = sorted((one.offset, one.reason) for batch in batches for one in batch.dead)
        said.append((offsets, times, dead, batches[-1].watermark_ms))
    assert said[0] == said[1]


def test_an_opening_in_order_is_not_late() -> None:
    """Eight accounts of a small partition, five minutes apart: none of their events is late."""
    accounts = Accounts(0, small_policy())
    batch = accounts.observe([message(f"a{n}", NOW + n * 5 * MINUTE_MS) for n in range(8)], range(8))
    assert batch.uses.ts_ms.tolist() == [NOW + n * 5 * MINUTE_MS for n in range(8)]
    assert batch.counts.get("late", 0) == 0


def test_broken_clocks_among_ordinary_traffic_never_move_time() -> None:
    held = clock()
    events = []
    for number in range(30):
        events += [(100 + number, NOW + 30 * DAY_MS), *((account, NOW + number * 1000) for account in range(1, 10))]
    future, _ = advance(held, events)
    assert NOW + 28_000 <= held.high_ms <= NOW + 29_000
    assert sum(future) == 30
