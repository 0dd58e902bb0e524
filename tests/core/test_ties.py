"""Ties against every pair counted by hand."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.campaigns import ties
from streamproc.core.campaigns.view import gather
from tests.core.streams import block_of, small_policy

if TYPE_CHECKING:
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import TiesPolicy

Held = dict[int, set[int]]  # account row -> components
HOLDING = st.dictionaries(st.integers(0, 14), st.sets(st.integers(0, 9), max_size=6), max_size=15)
ROWS, COMPONENTS = 15, 10


def policy(**changes: float) -> TiesPolicy:
    return msgspec.structs.replace(small_policy().ties, **changes)


def view_of(held: Held, rows: int = ROWS, components: int = COMPONENTS) -> View:
    uses = [(row, component) for row in sorted(held) for component in sorted(held[row])]
    return gather([block_of(uses)], rows, components)


def keys_of(rows: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.random.default_rng(seed).permutation(rows).astype(np.uint64) + np.uint64(1)


def found(
    view: View, limits: TiesPolicy, keys: np.ndarray[tuple[int], np.dtype[np.uint64]]
) -> dict[tuple[int, int], int]:
    graph = ties.tie(view, keys, limits)
    pairs = graph.shared.tocoo()
    rows = graph.accounts
    said = {(int(rows[a]), int(rows[b])): int(n) for a, b, n in zip(pairs.row, pairs.col, pairs.data, strict=True)}
    assert all(said[b, a] == n for (a, b), n in said.items()), "symmetric"
    assert keys[rows].tolist() == sorted(keys[rows].tolist()), "in order of account key"
    return {pair: n for pair, n in said.items() if pair[0] < pair[1]}


def by_hand(
    held: Held, limits: TiesPolicy, keys: np.ndarray[tuple[int], np.dtype[np.uint64]]
) -> dict[tuple[int, int], int]:
    active = sum(bool(components) for components in held.values())
    most = max(limits.max_holders, int(limits.max_holders_share * active))
    holders: dict[int, list[int]] = {}
    for row, components in held.items():
        for component in components:
            holders.setdefault(component, []).append(row)
    rare = {c: rows for c, rows in holders.items() if limits.min_holders <= len(rows) <= most}
    sampled = {c: set(sorted(rows, key=lambda row: keys[row])[: limits.sampled_holders]) for c, rows in rare.items()}
    counts = {}
    for one, other in combinations(sorted(held), 2):
        both = [c for c in rare if one in rare[c] and other in rare[c]]
        sides = (sum(other in sampled[c] for c in both), sum(one in sampled[c] for c in both))
        if max(sides) >= limits.min_shared:
            counts[one, other] = max(sides)
    return counts


@given(HOLDING, st.integers(1, 3), st.integers(1, 3), st.integers(3, 9))
def test_ties_are_the_pairs_that_share_enough_rare_components(
    held: Held, min_shared: int, min_holders: int, max_holders: int
) -> None:
    limits = policy(min_shared=min_shared, min_holders=min_holders, max_holders=max_holders)
    assert found(view_of(held), limits, keys_of(ROWS)) == by_hand(held, limits, keys_of(ROWS))


@given(HOLDING, st.integers(1, 5))
def test_holders_beyond_the_sample_are_tied_to_the_sampled_ones_only(held: Held, sampled: int) -> None:
    limits = policy(min_holders=2, sampled_holders=sampled)
    assert found(view_of(held), limits, keys_of(ROWS, 1)) == by_hand(held, limits, keys_of(ROWS, 1))


def test_the_sample_bounds_the_work_of_a_component_with_many_holders() -> None:
    held = {row: {0, 1} for row in range(200)}
    pairs = found(view_of(held, 200), policy(sampled_holders=10), keys_of(200))
    assert len(pairs) == 10 * 190 + 10 * 9 // 2
    degree = np.bincount(np.array(list(pairs)).ravel(), minlength=200)
    assert np.count_nonzero(degree) == 200, "every holder is tied"


@pytest.mark.parametrize(("holders", "tied"), [(2, False), (3, True), (60, True), (61, False)])
def test_a_component_ties_when_it_is_held_by_three_and_not_by_too_many(holders: int, *, tied: bool) -> None:
    held = {row: {0, 1} for row in range(holders)}
    limits = policy(max_holders=60)
    assert bool(found(view_of(held, 100), limits, keys_of(100))) == tied


def test_too_many_is_also_a_share_of_the_active_accounts() -> None:
    held = {row: {0, 1} for row in range(80)} | {row: {2} for row in range(80, 2000)}
    view = view_of(held, 2000)
    assert not found(view, policy(max_holders=60, max_holders_share=0.0399), keys_of(2000))
    assert found(view, policy(max_holders=60, max_holders_share=0.04), keys_of(2000))


def test_a_view_without_a_rare_component_has_no_ties() -> None:
    assert not found(view_of({}), policy(), keys_of(ROWS))
    assert not found(view_of({0: {1}}), policy(), keys_of(ROWS))


def test_a_product_in_blocks_of_rows_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    held = {row: set(rng.integers(0, 30, 6).tolist()) for row in range(100)}
    view = view_of(held, 100, 30)
    whole = found(view, policy(), keys_of(100))
    monkeypatch.setattr(ties, "ROWS_AT_A_TIME", 7)
    assert found(view, policy(), keys_of(100)) == whole
    assert whole
