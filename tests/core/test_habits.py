from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamproc.core.campaigns.habits import FEATURES, UNKNOWN, Habits, scaled

SMALL: dict[str, int] = {"n_trees": 5, "height": 5, "window_size": 50}


def days(seed: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Ordinary days: every feature near 0.3."""
    return np.clip(np.random.default_rng(seed).normal(0.3, 0.05, (count, len(FEATURES))), 0, 1)


def test_there_are_eight_features() -> None:
    assert len({feature.name for feature in FEATURES}) == 8


def test_scores_are_unknown_until_the_first_window_is_full() -> None:
    scores = Habits(1, **SMALL).observe(days(1, 120))
    assert np.isnan(scores[:50]).all()
    assert np.isfinite(scores[50:]).all()
    assert np.all((scores[50:] >= 0) & (scores[50:] <= 1))


def test_a_day_unlike_all_others_scores_above_ordinary_ones() -> None:
    habits = Habits(2, **SMALL)
    ordinary = habits.observe(days(2, 400))[50:]
    odd = habits.observe(np.full((1, len(FEATURES)), 0.95))
    assert odd[0] > np.quantile(ordinary, 0.99)


def test_batches_do_not_matter_and_the_seed_does() -> None:
    stream = days(3, 230)
    whole = Habits(3, **SMALL).observe(stream)
    pieces = Habits(3, **SMALL)
    parts = np.concatenate([pieces.observe(part) for part in np.split(stream, [0, 1, 49, 50, 51, 130])])
    np.testing.assert_array_equal(parts, whole)
    assert not np.array_equal(Habits(4, **SMALL).observe(stream)[50:], whole[50:])


@pytest.mark.parametrize("cut", [0, 1, 49, 50, 51, 99, 100, 175])
def test_snapshot_and_restore_anywhere_change_nothing(cut: int) -> None:
    stream = days(4, 230)
    straight = Habits(5, **SMALL)
    straight.observe(stream[:cut])
    state = {name: array.copy() for name, array in straight.snapshot().items()}
    resumed = Habits(5, **SMALL)
    resumed.observe(days(9, 70))  # what it knew before must not shine through
    resumed.restore(state)
    np.testing.assert_array_equal(resumed.observe(stream[cut:]), straight.observe(stream[cut:]))
    for name, array in straight.snapshot().items():
        np.testing.assert_array_equal(resumed.snapshot()[name], array)


def test_a_snapshot_is_integers_alone() -> None:
    habits = Habits(6, **SMALL)
    habits.observe(days(5, 60))
    state = habits.snapshot()
    assert {name: (array.dtype.name, array.shape) for name, array in state.items()} == {
        "last": ("int64", (5, 63)),
        "open": ("int64", (5, 63)),
        "window": ("int64", (2,)),
    }


def test_a_snapshot_of_other_trees_is_refused() -> None:
    habits = Habits(7, **SMALL)
    habits.observe(days(6, 60))
    with pytest.raises(ValueError, match="shape"):
        Habits(7, n_trees=4, height=5, window_size=50).restore(habits.snapshot())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_value_that_would_poison_the_trees_is_refused(bad: float) -> None:
    features = days(7, 3)
    features[1, 2] = bad
    with pytest.raises(ValueError, match="habits"):
        Habits(8, **SMALL).observe(features)
    with pytest.raises(ValueError, match="habits"):
        Habits(8, **SMALL).observe(days(7, 3)[:, :5])


def test_raw_features_come_into_range() -> None:
    tops = np.array([[feature.top for feature in FEATURES]])
    assert scaled(tops).tolist() == [[1.0] * len(FEATURES)]
    assert scaled(tops * 0).tolist() == [[0.0] * len(FEATURES)]
    assert scaled(tops * 9).tolist() == [[1.0] * len(FEATURES)]
    assert scaled(tops * np.nan).tolist() == [[UNKNOWN] * len(FEATURES)]
    assert scaled(np.empty((0, len(FEATURES)))).shape == (0, len(FEATURES))
    twelve_hours = np.zeros((1, len(FEATURES)))
    twelve_hours[0, 1] = 12
    assert scaled(twelve_hours)[0, 1] == 0.5
