"""Cores and their members against what one would count by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.campaigns import cores
from streamproc.core.campaigns.blocks import Block
from streamproc.core.campaigns.view import gather
from streamproc.core.uses import MISSING_TURNS, SERVED, SITTING
from tests.core.streams import block_of, small_policy, table_of

ROWS, COMPONENTS = 12, 8
COMMUNITY = st.lists(st.integers(-1, 2), min_size=ROWS, max_size=ROWS)
USES = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(-1, COMPONENTS - 1)), max_size=90)
LIMITS = msgspec.structs.replace(small_policy().cores, min_share=0.3, min_lift=1.3)


def rows_of(community: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(community, np.int32)


def core_by_hand(uses: list[tuple[int, int]], community: list[int]) -> dict[tuple[int, int], int]:
    """(community, component) -> holders, of the core."""
    active = len({row for row, _ in uses})
    held = {use for use in uses if use[1] >= 0}
    everywhere = Counter(component for _, component in held)
    inside = Counter((community[row], component) for row, component in held if community[row] >= 0)
    size = Counter(community)
    return {
        (number, component): n
        for (number, component), n in sorted(inside.items())
        if n >= max(LIMITS.min_holders, LIMITS.min_share * size[number])
        and n >= LIMITS.min_lift * (everywhere[component] / active * size[number])
    }


def found(uses: list[tuple[int, int]], community: list[int]) -> tuple[cores.Cores, Any]:
    block = block_of(sorted(uses))
    table = table_of(ROWS)
    view = gather([block], ROWS, COMPONENTS)
    return cores.find(view, rows_of(community), 3, table, LIMITS), table


@given(USES, COMMUNITY)
def test_a_core_is_what_many_hold_here_and_few_elsewhere(uses: list[tuple[int, int]], community: list[int]) -> None:
    said, _ = found(uses, community)
    core = zip(said.core_community.tolist(), said.core_component.tolist(), said.core_holders.tolist(), strict=True)
    assert {(a, b): n for a, b, n in core} == core_by_hand(uses, community)


@given(USES, COMMUNITY)
def test_members_and_their_core_uses(uses: list[tuple[int, int]], community: list[int]) -> None:
    said, table = found(uses, community)
    core = core_by_hand(uses, community)
    requests = Counter(row for row, component in uses if (community[row], component) in core)
    members = [row for row in range(ROWS) if requests[row] >= LIMITS.min_requests]
    members.sort(key=lambda row: (community[row], int(table.key[row])))
    assert said.member_row.tolist() == members
    assert said.member_community.tolist() == [community[row] for row in members]
    assert said.member_core.tolist() == [requests[row] for row in members]
    everything = Counter(row for row, _ in uses)
    assert said.member_all.tolist() == [everything[row] for row in members]
    pairs = zip(said.use_member.tolist(), said.use_core.tolist(), strict=True)
    of_row = [(int(said.member_row[member]), int(said.core_component[at])) for member, at in pairs]
    assert sorted(of_row) == sorted(
        (row, component) for row, component in uses if row in members and (community[row], component) in core
    )
    assert said.use_member.tolist() == sorted(said.use_member.tolist())


def test_uses_come_with_their_facts_in_order_of_time() -> None:
    block = block_of([(row, 0) for row in range(4) for _ in range(2)])
    offset = np.array([3, 5, 1, 9, 4, 4, 0, 8], np.uint32)
    turns = np.array([0, MISSING_TURNS, 7, 0, 1, 2, 3, 4], np.uint8)
    flags = np.array([SERVED, SITTING, SERVED | SITTING, 0, SERVED, SERVED, SERVED, SERVED], np.uint8)
    block = block.replace(offset_ms=offset, turns=turns, flags=flags, tok_in=np.arange(8, dtype=np.int32))
    others = block_of([(row, 1) for row in range(4, ROWS)], start_ms=block.end_ms, end_ms=2 * block.end_ms)
    said = find_all([block, others])
    assert said.use_ms.tolist() == [3, 5, 1, 9, 4, 4, 0, 8]
    assert said.use_turns.tolist() == [0, -1, 7, 0, 1, 2, 3, 4]
    assert said.use_tok_in.tolist() == list(range(8))
    assert said.use_sitting.tolist() == [False, True, True, False, False, False, False, False]
    assert said.use_served.tolist() == [True, False, True, False, True, True, True, True]
    assert (said.start_ms, said.end_ms) == (0, 2 * block.end_ms)


def find_all(blocks: list[Block]) -> cores.Cores:
    """The core of one community of the first four rows, whose keys ascend."""
    table = table_of(ROWS)
    table.columns["key"][:] = np.arange(1, ROWS + 1, dtype=np.uint64)
    community = rows_of([0] * 4 + [-1] * (ROWS - 4))
    return cores.find(gather(blocks, ROWS, COMPONENTS), community, 1, table, LIMITS)


def test_without_communities_there_is_nothing() -> None:
    said, _ = found([(0, 0), (1, 0)], [-1] * ROWS)
    assert (said.core_component.size, said.member_row.size, said.use_ms.size) == (0, 0, 0)
