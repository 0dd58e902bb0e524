from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.campaigns import blocks
from streamproc.core.campaigns.view import gather
from tests.core.streams import block_of

if TYPE_CHECKING:
    from streamproc.core.campaigns.blocks import Block

USE = st.tuples(st.integers(0, 6), st.integers(-1, 5))  # account row, component
BLOCKS = st.lists(st.lists(USE, max_size=15), min_size=1, max_size=5)
ROWS, COMPONENTS = 9, 8


def made(uses: list[list[tuple[int, int]]]) -> list[Block]:
    return [
        block_of(sorted(part), start_ms=1000 * number, end_ms=1000 * (number + 1)) for number, part in enumerate(uses)
    ]


@given(BLOCKS)
def test_a_view_counts_as_one_would_by_hand(uses: list[list[tuple[int, int]]]) -> None:
    view = gather(made(uses), ROWS, COMPONENTS)
    everything = [use for part in uses for use in part]
    requests = Counter(account for account, _ in everything)
    assert view.requests.tolist() == [requests[row] for row in range(ROWS)]
    assert view.active == len(requests)
    pairs = Counter(use for use in everything if use[1] >= 0)
    counted = zip(view.pair_account.tolist(), view.pair_component.tolist(), view.pair_count.tolist(), strict=True)
    assert list(counted) == [(*pair, pairs[pair]) for pair in sorted(pairs)]
    of_use = [sorted(pairs).index(use) if use in pairs else -1 for part in uses for use in sorted(part)]
    assert view.pair.tolist() == of_use
    holders = Counter(component for _, component in pairs)
    assert view.holders.tolist() == [holders[component] for component in range(COMPONENTS)]
    assert (view.start_ms, view.end_ms) == (0, 1000 * len(uses))


@given(BLOCKS)
def test_merged_blocks_keep_every_uses_time(uses: list[list[tuple[int, int]]]) -> None:
    parts = made(uses)
    merged = blocks.merge(parts)
    assert merged.ts_ms.tolist() == [ts for part in parts for ts in part.ts_ms.tolist()]
    assert merged.account.tolist() == [row for part in parts for row in part.account.tolist()]


@given(BLOCKS)
def test_a_block_is_the_same_after_its_journey(uses: list[list[tuple[int, int]]]) -> None:
    sent = blocks.merge(made(uses))
    got = blocks.from_arrays(blocks.to_arrays(sent))
    assert (got.start_ms, got.end_ms) == (sent.start_ms, sent.end_ms)
    assert all(np.array_equal(getattr(got, name), getattr(sent, name)) for name in blocks.ARRAYS)


def test_blocks_of_72_hours_are_merged_to_the_millisecond() -> None:
    hour = 3_600_000
    parts = [block_of([(0, 0)], start_ms=at * hour, end_ms=(at + 1) * hour, offset_ms=hour - 1) for at in range(72)]
    assert blocks.merge(parts).ts_ms.tolist() == [(at + 1) * hour - 1 for at in range(72)]
