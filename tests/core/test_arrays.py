from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.arrays import pairs_of, stable_order

NUMBERS = st.lists(st.integers(0, 6), max_size=40)
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=40)


@given(NUMBERS)
def test_the_stable_order_is_numpys(numbers: list[int]) -> None:
    values = np.array(numbers, np.int64)
    assert stable_order(values, 7).tolist() == np.argsort(values, kind="stable").tolist()


@given(PAIRS)
def test_pairs_come_in_order_with_where_each_occurs(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1))
    places = defaultdict(list)
    for place, pair in enumerate(pairs):
        places[pair].append(place)
    found = pairs_of(left, right, (7, 5))
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == sorted(places)
    assert found.count.tolist() == [len(places[pair]) for pair in sorted(places)]
    assert found.order.tolist() == [place for pair in sorted(places) for place in places[pair]]
