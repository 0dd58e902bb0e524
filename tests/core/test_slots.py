from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamproc.core import uses as columns
from streamproc.core.campaigns.slots import OpenSlots
from streamproc.core.uses import COLUMNS
from tests.core.streams import uses_of

SLOT_MS = 600_000


def slots_of(slots: OpenSlots) -> dict[int, list[int]]:
    return {slot: [ts for part in parts for ts in part.ts_ms.tolist()] for slot, parts in slots.waiting.items()}


def test_a_use_at_a_slots_edge_belongs_to_the_slot_that_begins() -> None:
    slots = OpenSlots(SLOT_MS)
    edge = 7 * SLOT_MS
    slots.put(uses_of([{"account": 1, "ts_ms": ts} for ts in (edge - 1, edge, edge + SLOT_MS - 1)]), None)
    assert slots_of(slots) == {6: [edge - 1], 7: [edge, edge + SLOT_MS - 1]}
    assert slots.first() == 6


def test_a_late_use_goes_into_the_first_open_slot_with_its_own_time() -> None:
    slots = OpenSlots(SLOT_MS)
    times = [5 * SLOT_MS, 7 * SLOT_MS - 1, 7 * SLOT_MS, 9 * SLOT_MS]
    late = slots.put(uses_of([{"account": 1, "ts_ms": ts} for ts in times]), 7)
    assert late == 2
    assert slots_of(slots) == {7: times[:3], 9: times[3:]}


def test_an_empty_slot_closes_empty_and_a_closed_one_is_gone() -> None:
    slots = OpenSlots(SLOT_MS)
    slots.put(uses_of([{"account": 1, "ts_ms": 5}]), None)
    assert len(slots.close(3)) == 0
    assert len(slots.close(0)) == 1
    assert slots.first() is None


ROW = st.fixed_dictionaries(
    {
        "account": st.integers(1, 3),
        "ts_ms": st.integers(0, 4),
        "template": st.integers(0, 2),
        "tok_in": st.integers(-1, 1),
        "flags": st.integers(0, 1),
        "turns": st.integers(0, 1),
    }
)


@given(st.lists(ROW, max_size=20), st.randoms(use_true_random=False), st.lists(st.integers(0, 20), max_size=4))
def test_a_slots_uses_come_out_in_one_order(rows: list[dict[str, Any]], random: Any, cuts: list[int]) -> None:
    one, other = OpenSlots(SLOT_MS), OpenSlots(SLOT_MS)
    one.put(uses_of(rows), None)
    shuffled = list(rows)
    random.shuffle(shuffled)
    bounds = [0, *sorted(cuts), len(rows)]
    for low, high in pairwise(bounds):
        other.put(uses_of(shuffled[low:high]), None)
    first, second = one.close(0), other.close(0)
    for name in COLUMNS:
        assert getattr(first, name).tolist() == getattr(second, name).tolist()
    assert first.account.tolist() == sorted(first.account.tolist())
    assert first.names == second.names


@given(st.lists(ROW, max_size=10))
def test_uses_are_the_same_after_their_journey(rows: list[dict[str, Any]]) -> None:
    sent = uses_of(rows)
    got = columns.from_arrays(columns.to_arrays(sent))
    assert all(getattr(sent, name).tolist() == getattr(got, name).tolist() for name in COLUMNS)
    assert got.names == sent.names
