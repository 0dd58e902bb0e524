"""Who belongs to a campaign."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from streamproc.core.campaigns import members
from streamproc.core.campaigns.memory import Hit
from streamproc.core.campaigns.view import View, gather
from tests.core.streams import block_of, small_policy

LIMITS = msgspec.structs.replace(small_policy().members, min_exclusivity=0.5)
CORE = np.array([0, 1, 2], np.int32)
ROWS, COMPONENTS = 8, 10


def view_of(uses: dict[int, list[int]]) -> View:
    """`uses` are the components used, by account row; -1 is none."""
    return gather([block_of([(row, c) for row in sorted(uses) for c in uses[row]])], ROWS, COMPONENTS)


def belong(*views: dict[int, list[int]]) -> list[int]:
    seen = [view_of(uses) for uses in views]
    nobody = np.zeros(seen[0].requests.size, np.bool_)
    _, belongs, _ = members.belonging(seen, CORE, nobody, LIMITS)
    return [int(row) for row in np.flatnonzero(belongs)]


@pytest.mark.parametrize(
    ("uses", "member"),
    [
        ([0, 1, 2], True),
        ([0, 0, 1], True),
        ([0, 1], False),  # too few requests
        ([0, 0, 0, 0], False),  # one component
        ([0, 1, 0, 1, 0, 1, 0, 5, 6, 7], True),  # a share of 0.7
        ([0, 1, 0, 1, 0, 1, 5, 6, 7], False),  # below it
        ([0, 1, 0, 1, -1, -1], False),  # what has no template counts in the whole
    ],
)
def test_a_member_asks_enough_in_several_core_components_and_little_else(uses: list[int], *, member: bool) -> None:
    pool = {row: [0, 1, 2] for row in range(1, 5)}
    assert (0 in belong(pool | {0: uses})) == member
    assert set(belong(pool | {0: uses})) >= {1, 2, 3, 4}


def test_an_account_that_began_lawfully_is_shown_by_its_recent_share() -> None:
    whole = {0: [5, 6, 7, 5, 6, 7, 0, 1, 2], 1: [0, 1, 2]}
    assert belong(whole) == [1]
    assert belong(whole, {0: [0, 1, 2]}) == [0, 1]
    assert belong(whole, {0: [0, 1]}) == [1], "too few recent requests"


def test_components_that_mostly_others_use_make_no_member() -> None:
    """Half of the holders of each component must be likely members."""
    pool = {row: [0, 1, 2] for row in range(3)}
    lawful = {row: [0, 1, 2, 5, 6, 7, 8, 9] for row in range(3, 7)}
    assert belong(pool) == [0, 1, 2]
    assert belong(pool | {row: lawful[row] for row in (3, 4, 5)}) == [0, 1, 2]
    assert belong(pool | lawful) == []


def test_traffic_is_counted_by_account() -> None:
    traffic, inside = members.core_traffic(view_of({0: [0, 0, 5, -1], 3: [1, 2]}), CORE)
    assert traffic.requests.tolist() == [2, 0, 0, 2, 0, 0, 0, 0]
    assert traffic.components.tolist() == [1, 0, 0, 2, 0, 0, 0, 0]
    assert traffic.share.tolist() == [0.5, 0, 0, 1, 0, 0, 0, 0]
    assert inside.tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("hits", "stable"),
    [
        ([[1, 2]], []),  # seen once
        ([[1, 2], [2, 3]], [2]),
        ([[1, 2], [2, 3], [3, 1]], [1, 2, 3]),
        ([[1, 2], [1, 2], [1, 9], [4, 9]], [1]),
    ],
)
def test_one_bad_round_brings_nothing_into_the_stable_core(hits: list[list[int]], stable: list[int]) -> None:
    made = [Hit(at, np.empty(0, np.uint64), np.array(core, np.int32), 1.0) for at, core in enumerate(hits)]
    assert members.stable_core(made).tolist() == stable
