"""Near-equal values taken together, whatever the order in which they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.campaigns.components import Components

if TYPE_CHECKING:
    from streamproc.core.arrays import Keys, Rows

RADIUS, KEPT = 8, 32
SLOT = 5


def components(capacity: int = 10_000, kept: int = KEPT) -> Components:
    return Components(RADIUS, kept, capacity)


def take(held: Components, values: Keys, slot: int = SLOT) -> Rows:
    """The component of each of `values` (ascending, distinct), founded where nothing is near."""
    return held.take(values, slot, lambda new: np.ones(new.size, np.bool_))


def match(held: Components, values: Keys, slot: int = SLOT) -> Rows:
    """The same, but nothing may be founded."""
    return held.take(values, slot, lambda new: np.zeros(new.size, np.bool_))


def all_kept(held: Components) -> tuple[Keys, Rows]:
    return held.kept(np.arange(held.ids, dtype=np.int32))


def flipped(rng: np.random.Generator, values: Keys, bits: int, *, within: tuple[int, int] = (0, 64)) -> Keys:
    """Each value with `bits` different bits flipped."""
    again = values.copy()
    for at in range(values.size):
        for bit in rng.choice(np.arange(*within), bits, replace=False).tolist():
            again[at] ^= np.uint64(1 << bit)
    return again


def distances(left: Keys, right: Keys) -> Any:
    return np.bitwise_count(left[:, None] ^ right[None, :]).astype(int)


def draw(rng: np.random.Generator, count: int) -> Keys:
    return np.unique(rng.integers(1, 2**63, count).astype(np.uint64))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), bits=st.integers(0, 3))
def test_a_kept_value_up_to_three_bits_away_is_always_found(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    held, founders = components(), draw(rng, 200)
    ids = take(held, founders)
    asked = flipped(rng, founders, bits)
    order = np.argsort(asked)
    found = match(held, asked[order])
    assert found.tolist() == ids[order].tolist()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_the_nearest_kept_value_wins(seed: int) -> None:
    """Against brute force over all kept values that share a band; beyond three bits a value may be missed."""
    rng = np.random.default_rng(seed)
    centre = draw(rng, 5)
    founders = np.unique(np.concatenate([centre, flipped(rng, centre, 9), flipped(rng, centre, 10)]))
    held = components()
    ids = take(held, founders)
    asked = np.unique(flipped(rng, np.repeat(centre, 4), 3))
    asked = asked[~np.isin(asked, founders)]
    kept = all_kept(held)
    found = match(held, asked)
    near = distances(asked, kept[0])
    bands = ((asked[:, None, None] ^ kept[0][None, :, None]) >> (16 * np.arange(4, dtype=np.uint64))) & np.uint64(
        0xFFFF
    )
    near[(bands != 0).all(axis=2)] = 99
    for row, component in zip(near, found.tolist(), strict=True):
        nearest = row.min()
        expected = min(kept[1][row == nearest].tolist()) if nearest <= RADIUS else -1
        assert component == expected
    assert (ids >= 0).all()


def test_values_beyond_the_radius_are_apart() -> None:
    held = components()
    value = np.uint64(0xFFFF_0000_FFFF_0001)
    within, beyond = value ^ np.uint64(0xFF), value ^ np.uint64(0x1FF)
    (first,) = take(held, np.array([value])).tolist()
    assert match(held, np.array([beyond])).tolist() == [-1]
    assert match(held, np.array([within])).tolist() == [first]


@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(0, 1000))
def test_the_order_of_slots_values_cannot_matter(random: Any, seed: int) -> None:
    """Within a slot values are taken in order of value: any order of arrival gives the same table."""
    rng = np.random.default_rng(seed)
    centre = draw(rng, 6)
    values = np.concatenate([centre, *(flipped(rng, centre, bits) for bits in (2, 4, 6, 8))])
    arrived = values.tolist()
    random.shuffle(arrived)
    one, other = components(), components()
    take(one, np.unique(values))
    take(other, np.unique(np.array(arrived, np.uint64)))
    assert {name: array.tolist() for name, array in one.arrays().items()} == {
        name: array.tolist() for name, array in other.arrays().items()
    }


def test_new_near_values_of_one_slot_found_one_component() -> None:
    rng = np.random.default_rng(3)
    centre = draw(rng, 1)
    values = np.unique(np.concatenate([centre, flipped(rng, np.repeat(centre, 9), 1)]))
    held = components()
    assert take(held, values).tolist() == [0] * values.size
    assert held.founder(np.array([0], np.int32)).tolist() == [values[0]]


def test_at_most_so_many_values_are_kept_and_the_rest_still_match() -> None:
    rng = np.random.default_rng(4)
    centre = draw(rng, 1)
    held = components()
    take(held, centre)
    for _ in range(30):
        near = np.unique(flipped(rng, np.repeat(centre, 10), 3))
        assert np.unique(take(held, near)).tolist() == [0]
    assert held.values == KEPT
    assert len(held) == 1


def test_beyond_the_capacity_nothing_is_founded() -> None:
    rng = np.random.default_rng(5)
    held = components(capacity=50)
    ids = take(held, draw(rng, 80))
    assert np.count_nonzero(ids >= 0) == 50
    assert take(held, draw(rng, 10)).tolist() == [-1] * 10
    assert len(held) == held.values == 50
    held.expire(SLOT + 1)
    assert (take(held, draw(rng, 10)) >= 0).all()


def test_components_expire_by_their_last_use_and_ids_are_used_again() -> None:
    rng = np.random.default_rng(6)
    held, old, used = components(), draw(rng, 20), draw(rng, 20)
    old_ids, used_ids = take(held, old, 1), take(held, used, 1)
    match(held, used, 7)
    held.expire(7)
    assert len(held) == 20
    assert match(held, old, 7).tolist() == [-1] * 20
    assert match(held, used, 7).tolist() == used_ids.tolist()
    fresh = draw(rng, 25)
    ids = take(held, fresh, 8)
    assert sorted(ids.tolist())[:20] == sorted(old_ids.tolist())
    assert held.ids == 45
    assert held.founder(ids).tolist() == fresh.tolist()
    assert match(held, used, 8).tolist() == used_ids.tolist()


def test_a_component_used_in_the_oldest_slot_stays() -> None:
    held, value = components(), np.array([77], np.uint64)
    take(held, value, 10)
    held.expire(10)
    assert len(held) == 1
    held.expire(11)
    assert len(held) == 0


@pytest.mark.parametrize("values_below", [pytest.param(2**63, id="sparse"), pytest.param(2**20, id="crowded")])
@pytest.mark.parametrize("seed", range(4))
def test_state_written_down_goes_on_the_same(seed: int, values_below: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = components(capacity=150), components(capacity=150)
    centre = np.unique(rng.integers(1, values_below, 200).astype(np.uint64))
    for slot in range(6):
        take(one, np.unique(flipped(rng, rng.choice(centre, 80), int(rng.integers(0, 9)), within=(0, 20))), slot)
        one.expire(slot - 2)
    other.load(one.arrays())
    for slot in range(6, 9):
        values = np.unique(flipped(rng, centre, 5, within=(0, 20)))
        assert take(one, values, slot).tolist() == take(other, values, slot).tolist()
        assert all_kept(one)[1].tolist() == all_kept(other)[1].tolist()
        one.expire(slot - 2)
        other.expire(slot - 2)
