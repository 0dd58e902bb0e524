"""Ids of accounts in one buffer, and columns that grow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.campaigns import names
from streamproc.core.campaigns.names import Names
from streamproc.core.columns import Columns

STEP = st.tuples(st.booleans(), st.dictionaries(st.integers(0, 30), st.text(max_size=12), max_size=8))


def rows_of(rows: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(rows, np.int32)


@given(st.lists(STEP, max_size=12))
def test_names_answer_as_a_dict(steps: list[tuple[bool, dict[int, str]]]) -> None:
    held, model, top = Names(), dict[int, str](), 0
    for dropping, step in steps:
        if dropping:
            rows = sorted(row for row in step if row < top)
            held.drop(rows_of(rows))
            model.update(dict.fromkeys(rows, ""))
        else:
            put = {row: name for row, name in step.items() if not model.get(row)}
            held.put(rows_of(list(put)), list(put.values()))
            model |= put
            top = max([top, *(row + 1 for row in put)])
    expected = [model.get(row, "") for row in range(top)]
    assert list(held) == expected
    assert [held[row] for row in range(len(held))] == expected
    again = Names()
    again.load(held.arrays())
    assert list(again) == expected


def test_the_bytes_of_dropped_names_are_used_again() -> None:
    held, most = Names(), 0
    rows = np.arange(1000, dtype=np.int32)
    for number in range(12):
        held.put(rows, [f"{number}-{row}-".ljust(256, "x") for row in rows.tolist()])
        most = max(most, len(held._text))
        held.drop(rows[rows % 10 > 0])
        assert [held[row] for row in (0, 10)] == [f"{number}-{row}-".ljust(256, "x") for row in (0, 10)]
        held.drop(rows[rows % 10 == 0])
    assert most <= 2 * names.WASTE + 2 * 256_000


def test_columns_keep_what_they_hold_as_they_grow() -> None:
    columns = Columns({"a": (np.int32, ()), "b": (np.float64, (2,))})
    expected: list[int] = []
    copies = 0
    for count in [1, 0, 5, 1, 300, *[1] * 300]:
        before, start = columns._room["a"], columns.rows
        columns.extend(count)
        copies += columns._room["a"] is not before
        columns["a"][start:] = np.arange(start, start + count)
        columns["b"][start:] = np.arange(start, start + count)[:, None]
        expected += range(start, start + count)
    assert columns["a"].tolist() == expected
    assert columns["b"].tolist() == [[value, value] for value in expected]
    assert copies < 12
