from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.keys import KeyIndex, KeySet

# Small numbers, all numbers, and numbers that begin at neighbouring places of the table.
KEY = st.one_of(st.integers(1, 50), st.integers(1, 2**64 - 1), st.integers(2**64 - 40, 2**64 - 1))
KEYS = st.lists(KEY, max_size=60)


def array(keys: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(keys, np.uint64)


@given(runs=st.lists(KEYS, max_size=6), asked=KEYS)
def test_a_key_set_answers_as_a_set(runs: list[list[int]], asked: list[int]) -> None:
    held, model = KeySet(), set[int]()
    for keys in runs:
        assert held.contains(array(keys)).tolist() == [key in model for key in keys]
        held.add(array(keys))
        model |= set(keys)
    assert held.contains(array(asked)).tolist() == [key in model for key in asked]
    assert held.keys().tolist() == sorted(model)
    assert len(held) == len(model)
    assert all(key in held for key in model)


@given(KEYS)
def test_a_key_set_is_made_again_of_its_keys(keys: list[int]) -> None:
    held = KeySet(array(keys))
    assert KeySet(held.keys()).keys().tolist() == held.keys().tolist()


def test_a_key_set_grows_by_thousands_and_stays_within_its_bytes() -> None:
    rng = np.random.default_rng(1)
    held, model = KeySet(), np.empty(0, np.uint64)
    for _ in range(8):
        keys = rng.integers(1, 2**63, 5_000).astype(np.uint64)
        held.add(keys)
        model = np.union1d(model, keys)
    assert held.keys().tolist() == model.tolist()
    assert not held.contains(model + np.uint64(2**63)).any()
    assert held._slots.nbytes <= 40 * len(held)


@given(runs=st.lists(KEYS, max_size=6), asked=KEYS, dropped=st.integers(1, 5))
def test_a_key_index_answers_as_a_dict(runs: list[list[int]], asked: list[int], dropped: int) -> None:
    index, model = KeyIndex(), dict[int, int]()
    for keys in runs:
        new = sorted(set(keys) - model.keys())
        numbers = np.arange(len(model), len(model) + len(new), dtype=np.int32)
        index.insert(array(new), numbers)
        model |= dict(zip(new, numbers.tolist(), strict=True))
    assert index.find(array(asked)).tolist() == [model.get(key, -1) for key in asked]
    assert len(index) == len(model)
    index.drop(np.arange(len(model)) % dropped == 0)
    kept = {key: number for key, number in model.items() if number % dropped}
    assert index.find(array(sorted(model))).tolist() == [kept.get(key, -1) for key in sorted(model)]
    assert len(index) == len(kept)


def test_a_key_index_of_many_runs_copies_a_key_a_few_times() -> None:
    rng = np.random.default_rng(2)
    index, keys = KeyIndex(), rng.permutation(np.arange(1, 60_001).astype(np.uint64) * np.uint64(2))
    copied = 0
    for part in np.split(keys, 100):
        held = {id(run) for run, _ in index._runs}
        index.insert(np.sort(part), (np.sort(part) // 2).astype(np.int32))
        copied += sum(run.size for run, _ in index._runs if id(run) not in held)
    assert copied < 12 * keys.size, "anew each time it would be fifty times"
    assert len(index._runs) > 1
    assert index.find(keys).tolist() == (keys // 2).tolist()
    assert (index.find(keys + np.uint64(1)) == -1).all()
