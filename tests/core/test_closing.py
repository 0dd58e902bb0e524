"""A slot that closes: sittings, late uses, facts, new values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamproc.core.campaigns import closing
from streamproc.core.campaigns.accounts import AccountTable
from streamproc.core.campaigns.components import Components
from streamproc.core.campaigns.slots import OpenSlots
from streamproc.core.uses import ENFORCED, MISSING_TURNS, SERVED, SITTING
from tests.core.streams import DAY_MS, MINUTE_MS, uses_of

SLOT_MS = 10 * MINUTE_MS
NOW = 1_750_032_000_000  # a midnight, UTC


class Table:
    """The tables that slots close into."""

    def __init__(self, new_values: int = 64) -> None:
        self.accounts = AccountTable(2, 1, -1.0)
        self.components = Components(8, 32, 100_000)
        self.new_values = new_values

    def close(self, slot: int, rows: list[dict[str, Any]]) -> closing.Closed:
        """Close `slot` (counted from NOW) with the uses given, whose `ts_ms` count from NOW as well."""
        slots = OpenSlots(SLOT_MS)
        number = NOW // SLOT_MS + slot
        slots.put(uses_of([row | {"ts_ms": NOW + row["ts_ms"]} for row in rows]), number)
        return closing.close(
            slots.close(number), number, SLOT_MS, self.accounts, self.components, self.new_values
        )  # fmt: skip


def sittings(closed: closing.Closed) -> list[bool]:
    return [bool(flag & SITTING) for flag in closed.block.flags]


def test_a_block_holds_a_slots_uses_by_account_and_time() -> None:
    table = Table()
    block = table.close(
        1,
        [
            {"account": 9, "ts_ms": SLOT_MS},
            {"account": 4, "ts_ms": 2 * SLOT_MS - 1},
            {"account": 4, "ts_ms": SLOT_MS + 5},
        ],
    ).block
    assert (block.start_ms, block.end_ms) == (NOW + SLOT_MS, NOW + 2 * SLOT_MS)
    assert block.offset_ms.tolist() == [5, SLOT_MS - 1, 0]
    assert [table.accounts.ids[row] for row in block.account.tolist()] == ["a4", "a4", "a9"]


def test_a_late_use_counts_at_the_start_of_the_open_slot() -> None:
    block = Table().close(3, [{"account": 1, "ts_ms": 0}, {"account": 1, "ts_ms": 3 * SLOT_MS + 7}]).block
    assert block.offset_ms.tolist() == [0, 7]


@pytest.mark.parametrize(
    ("gap_ms", "sitting"), [(0, True), (1, True), (15 * MINUTE_MS - 1, True), (15 * MINUTE_MS, False)]
)
@pytest.mark.parametrize("first_ms", [0, 9 * MINUTE_MS])
def test_a_sitting_is_less_than_15_minutes_after_the_previous_request(
    gap_ms: int, first_ms: int, *, sitting: bool
) -> None:
    """In one slot and across its edge."""
    table = Table()
    slots: dict[int, list[dict[str, Any]]] = {}
    for ts_ms in (first_ms, first_ms + gap_ms):
        slots.setdefault(ts_ms // SLOT_MS, []).append({"account": 1, "ts_ms": ts_ms})
    said = [one for slot in range(4) for one in sittings(table.close(slot, slots.get(slot, [])))]
    assert said == [False, sitting]


@pytest.mark.parametrize(("turns", "sitting"), [(0, True), (1, False), (7, False), (MISSING_TURNS, True)])
def test_a_use_with_earlier_turns_goes_on_with_a_conversation_and_is_no_sitting(turns: int, *, sitting: bool) -> None:
    rows = [{"account": 1, "ts_ms": 0}, {"account": 1, "ts_ms": 5, "turns": turns}]
    assert sittings(Table().close(0, rows)) == [False, sitting]


def test_another_accounts_request_makes_no_sitting() -> None:
    assert sittings(Table().close(0, [{"account": 1, "ts_ms": 0}, {"account": 2, "ts_ms": 1}])) == [False, False]


def test_a_late_use_does_not_turn_an_accounts_time_back() -> None:
    table = Table()
    table.close(2, [{"account": 1, "ts_ms": 2 * SLOT_MS}])
    table.close(3, [{"account": 1, "ts_ms": -DAY_MS}])
    (row,) = table.accounts.find(np.array([1], np.uint64)).tolist()
    assert table.accounts.last_ms[row] == NOW + 2 * SLOT_MS
    assert sittings(table.close(4, [{"account": 1, "ts_ms": 2 * SLOT_MS + 14 * MINUTE_MS}])) == [True]


def test_what_an_enforcement_turned_away_is_no_evidence() -> None:
    table = Table()
    rows = [
        {"account": 1, "ts_ms": 0, "flags": SERVED, "template": 5},
        {"account": 1, "ts_ms": 1, "flags": ENFORCED, "template": 1 << 40},
        {"account": 2, "ts_ms": 2, "flags": ENFORCED, "template": 5},
    ]
    assert len(table.close(0, rows).block) == 1
    assert len(table.accounts) == len(table.components) == 1


def test_facts_are_the_latest_known_ones() -> None:
    table = Table()
    table.close(
        0,
        [
            {"account": 1, "ts_ms": 0, "org": 5, "client": 7, "signup_ms": 100},
            {"account": 1, "ts_ms": 1, "org": 6, "client": 0, "signup_ms": -1},
        ],
    )
    assert (table.accounts.facts("org")[0], table.accounts.facts("client")[0]) == (6, 7)
    table.close(1, [{"account": 1, "ts_ms": SLOT_MS, "client": 8, "signup_ms": -1}])
    assert (table.accounts.facts("org")[0], table.accounts.facts("client")[0]) == (6, 8)
    assert table.accounts.signup_ms.tolist() == [100]


def values(seed: int, count: int) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).integers(1, 2**63, count)]


def test_an_account_founds_64_components_a_day_and_no_more() -> None:
    table = Table()
    fresh = values(1, 150)
    rows = [{"account": 1, "ts_ms": n, "template": value} for n, value in enumerate(fresh)]
    first = table.close(0, rows[:100])
    assert (len(table.components), first.evicted) == (64, 36)
    assert np.count_nonzero(first.block.component < 0) == 36
    second = table.close(143, [row | {"ts_ms": 143 * SLOT_MS} for row in rows[100:]])
    assert (len(table.components), second.evicted) == (64, 50)
    tomorrow = table.close(144, [row | {"ts_ms": DAY_MS} for row in rows[100:]])
    assert (len(table.components), tomorrow.evicted) == (114, 0)


def test_one_accounts_budget_is_not_anothers() -> None:
    table = Table(new_values=3)
    flood = [{"account": 1, "ts_ms": n, "template": value} for n, value in enumerate(values(2, 50))]
    others = [{"account": 2 + n, "ts_ms": n, "template": value} for n, value in enumerate(values(3, 20))]
    closed = table.close(0, flood + others)
    held = closed.block.component >= 0
    of_flood = closed.block.account == table.accounts.find(np.array([1], np.uint64))[0]
    assert np.count_nonzero(held & of_flood) == 3
    assert (held | of_flood).all()


def test_known_values_and_those_near_them_cost_no_budget() -> None:
    table = Table(new_values=1)
    known = values(4, 1)[0]
    table.close(0, [{"account": 1, "ts_ms": 0, "template": known}])
    near = [{"account": 2, "ts_ms": SLOT_MS + n, "template": known ^ (1 << n)} for n in range(30)]
    closed = table.close(1, [*near, {"account": 2, "ts_ms": SLOT_MS, "template": values(5, 1)[0]}])
    assert closed.evicted == 0
    assert len(table.components) == 2


def test_uses_without_a_template_have_no_component_and_are_not_evicted() -> None:
    closed = Table().close(0, [{"account": 1, "ts_ms": 0}, {"account": 1, "ts_ms": 1}])
    assert closed.block.component.tolist() == [-1, -1]
    assert closed.evicted == 0


# The account table.


def test_rows_are_given_in_order_of_key_and_used_again() -> None:
    table = AccountTable(1, 1, -1.0)
    names = {key: f"a{key}" for key in range(100)}
    rows = table.enter(np.array([3, 5, 8], np.uint64), names)
    assert rows.tolist() == [0, 1, 2]
    table.scores[:] = 9.0
    table.columns["org"][1] = 77
    table.drop(np.array([1], np.int32))
    assert table.find(np.array([3, 5, 8], np.uint64)).tolist() == [0, -1, 2]
    assert table.enter(np.array([4, 6], np.uint64), names).tolist() == [1, 3]
    assert list(table.ids)[:4] == ["a3", "a4", "a8", "a6"]
    assert table.facts("org")[1] == 0, "a new account has no facts of the old one"
    assert table.scores[:4, 0, 0].tolist() == [9.0, -1.0, 9.0, -1.0]
    assert (len(table), table.rows) == (4, 4)


def test_the_account_table_is_the_same_after_its_journey() -> None:
    names = {1: "a", 2: "\u00e4" * 64, 3: "\U0001f600" * 64, 2**64 - 1: "z"}
    table, again = AccountTable(2, 1, -1.0), AccountTable(2, 1, -1.0)
    keys = np.array(sorted(names), np.uint64)
    table.enter(keys, names)
    table.drop(np.array([0], np.int32))
    again.load(table.arrays())
    assert list(again.ids) == list(table.ids)
    assert again.find(keys).tolist() == table.find(keys).tolist()
    assert again.enter(np.array([9], np.uint64), {9: "n"}).tolist() == [0]


def test_an_account_is_counted_once_when_a_second_partition_brings_it() -> None:
    table = Table()
    table.close(0, [{"account": 1, "ts_ms": 0}, {"account": 2, "ts_ms": 0}])
    keys = np.array([1, 2, 3], np.uint64)  # the third is not known yet
    assert table.accounts.stray(keys, 0) == 0
    assert table.accounts.stray(keys[:1], 1) == 1
    assert table.accounts.stray(keys[:1], 0) == 0
    assert table.accounts.stray(keys[1:], 0) == 0
    assert table.accounts.stray(keys, 2) == 1
