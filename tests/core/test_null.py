from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from river import stats

from streamproc.contract.errors import PolicyError
from streamproc.core.campaigns.null import (
    BIN_CENTRES,
    CLIP,
    REMEMBERED,
    FrozenNull,
    LawfulNull,
    RunningNull,
)
from streamproc.core.campaigns.statistics import NAMES, SIGNS

if TYPE_CHECKING:
    from streamproc.core.arrays import Floats, Ints

S = len(NAMES)


def lawful(seed: int, count: int, *, slope: float = 0.0, shift: float = 0.0) -> tuple[Floats, Ints]:
    """Values of `count` lawful communities: normal, 2 wide, about 5 + `slope` x ln size + `shift`."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(8), np.log(120), count)).astype(np.int64)
    return 5 + shift + slope * np.log(sizes)[:, None] + 2 * rng.standard_normal((count, S)), sizes


def test_a_fit_standardises_what_it_was_fitted_on() -> None:
    values, sizes = lawful(1, 4_000)
    z = FrozenNull.fit(values, sizes).standardise(values, sizes)
    assert np.abs(z.mean(axis=0)).max() < 0.1
    assert np.abs(z.std(axis=0) - 1).max() < 0.1


def test_the_mean_follows_size_between_and_at_the_centres() -> None:
    values, sizes = lawful(2, 6_000, slope=3.0)
    null = FrozenNull.fit(values, sizes)
    mean, _ = null.expected(np.array([*BIN_CENTRES, 8, 17, 5_000]))
    np.testing.assert_allclose(mean[: len(BIN_CENTRES)], null.mean)
    np.testing.assert_array_equal(mean[5], null.mean[0])
    np.testing.assert_array_equal(mean[7], null.mean[-1])
    share = np.log(17 / 13) / np.log(21 / 13)
    np.testing.assert_allclose(mean[6], (1 - share) * null.mean[1] + share * null.mean[2])


def test_a_bin_with_few_communities_leans_on_all_sizes() -> None:
    values, sizes = np.zeros((41, S)), np.full(41, 8)
    values[:20] = 10.0
    sizes[:20] = 60
    null = FrozenNull.fit(values, sizes)
    overall = 200 / 41
    np.testing.assert_allclose(null.mean[-1], (20 * 10 + 20 * overall) / 40)
    np.testing.assert_allclose(null.mean[2], overall)


def test_constant_and_unseen_statistics_have_a_floor() -> None:
    values, sizes = lawful(3, 50)
    values[:, 0] = 4.0
    values[:, 1] = np.nan
    null = FrozenNull.fit(values, sizes)
    assert np.all(null.deviation > 0)
    assert null.mean[:, 1].tolist() == [0.0] * len(BIN_CENTRES)
    assert null.deviation[:, 1].tolist() == [1.0] * len(BIN_CENTRES)


def test_fit_passes_blind_values_over() -> None:
    values, sizes = lawful(4, 300)
    half = np.concatenate([values, np.full_like(values, np.nan)])
    blinded = FrozenNull.fit(half, np.concatenate([sizes, sizes]))
    np.testing.assert_array_equal(blinded.mean, FrozenNull.fit(values, sizes).mean)


def test_values_are_clipped_and_blind_ones_stay_blind() -> None:
    values, sizes = lawful(5, 100)
    null = FrozenNull.fit(values, sizes)
    z = null.standardise(np.array([[1e12] * S, [-1e12] * S, [np.nan] * S]), np.array([8, 20, 300]))
    assert z[0].tolist() == [CLIP] * S
    assert z[1].tolist() == [-CLIP] * S
    assert np.isnan(z[2]).all()
    assert null.standardise(np.empty((0, S)), np.empty(0, np.int64)).shape == (0, S)


def test_the_policy_holds_it_as_plain_lists() -> None:
    null = FrozenNull.fit(*lawful(6, 500))
    again = FrozenNull.from_dict(json.loads(json.dumps(null.to_dict())))
    np.testing.assert_allclose(again.mean, null.mean, atol=1e-6)
    assert again.to_dict() == null.to_dict()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda table: table.pop("births"), "null.births.mean"),
        (lambda table: table.update(karma=table["births"]), "null.karma"),
        (lambda table: table["births"].update(mean=[0.0]), "null.births.mean"),
        (lambda table: table["births"].update(mean=[0.0, 0.0, 0.0, 0.0, float("nan")]), "null.births.mean"),
        (lambda table: table["births"].update(mean=["a"] * 5), "null.births.mean"),
        (lambda table: table["births"].update(deviation=[1.0, 1.0, 1.0, 1.0, 0.0]), "null.births.deviation"),
        (lambda table: table.update(births=3), "null.births.mean"),
    ],
)
def test_a_bad_table_is_refused_with_its_key(change: Any, key: str) -> None:
    table = FrozenNull.fit(*lawful(6, 100)).to_dict()
    change(table)
    with pytest.raises(PolicyError) as refused:
        FrozenNull.from_dict(table)
    assert refused.value.key == key


def test_a_running_null_that_saw_nothing_is_the_frozen_one() -> None:
    z = np.clip(np.random.default_rng(7).standard_normal((9, S)), -CLIP, CLIP)
    np.testing.assert_array_equal(RunningNull().standardise(z), z)


def test_a_running_null_follows_a_shift() -> None:
    frozen = FrozenNull.fit(*lawful(8, 2_000))
    null = LawfulNull(frozen, "running")
    for seed in range(60):
        null.learn(*lawful(100 + seed, 25, shift=3.0))
    values, sizes = lawful(999, 2_000, shift=3.0)
    assert frozen.standardise(values, sizes).mean() > 1.3
    assert abs(null.standardise(values, sizes).mean()) < 0.15
    np.testing.assert_allclose(null.expected(np.array([20])), 8.0, atol=0.6)


def test_what_is_learned_is_shrunk_winsorised_and_never_blind() -> None:
    null = RunningNull()
    z = np.full((60, S), 1e9)
    z[:, 0] = np.nan
    null.learn(z)
    mean, deviation = null.moments()
    assert mean[0] == 0.0
    assert deviation[0] == 1.0
    np.testing.assert_allclose(mean[1:], CLIP / 2)
    np.testing.assert_allclose(deviation[1:], np.sqrt(0.5))


def test_the_deviation_has_a_floor() -> None:
    null = RunningNull()
    null.learn(np.zeros((5_000, S)))
    assert null.moments()[1].tolist() == [0.5] * S


def test_old_communities_fade_so_that_a_late_shift_is_followed() -> None:
    null = RunningNull()
    for _ in range(4):
        null.learn(np.zeros((REMEMBERED, S)))
    for _ in range(100):
        null.learn(np.full((REMEMBERED // 50, S), 2.0))
    assert null.snapshot()["n"] == [REMEMBERED] * S
    assert np.min(null.moments()[0]) > 1.6


def test_snapshot_and_restore_change_nothing_to_the_last_bit() -> None:
    rounds = [np.random.default_rng(seed).standard_normal((17, S)) for seed in range(30)]
    straight, resumed = RunningNull(), RunningNull()
    for z in rounds:
        straight.learn(z)
        resumed = RunningNull.restore(json.loads(json.dumps(resumed.snapshot())))
        resumed.learn(z)
    assert resumed.snapshot() == straight.snapshot()
    np.testing.assert_array_equal(resumed.standardise(rounds[0]), straight.standardise(rounds[0]))


def test_a_snapshot_is_a_copy() -> None:
    null = RunningNull()
    null.learn(np.ones((3, S)))
    state = null.snapshot()
    kept = copy.deepcopy(state)
    null.learn(np.ones((3, S)))
    assert state == kept


def test_river_keeps_the_state_that_we_write_down() -> None:
    variance = stats.Var()
    for value in (1.0, 2.0, 6.0):
        variance.update(value)
    assert (variance.mean.n, variance.mean.get(), variance._S) == (3.0, 3.0, 14.0)
    assert variance.get() == 7.0
    assert set(vars(variance)) == {"ddof", "mean", "_S"}
    assert set(vars(variance.mean)) == {"n", "_mean"}


def test_cautious_takes_the_less_suspicious_of_both() -> None:
    frozen = FrozenNull.fit(*lawful(9, 1_000))
    running = RunningNull()
    running.learn(np.random.default_rng(3).normal(1.0, 1.0, (400, S)))
    values, sizes = lawful(10, 200)
    z = {
        which: LawfulNull(frozen, which, running).standardise(values, sizes)
        for which in ("frozen", "running", "cautious")
    }
    assert np.all(SIGNS * z["cautious"] <= SIGNS * z["frozen"])
    assert np.all(SIGNS * z["cautious"] <= SIGNS * z["running"])
    assert np.all((z["cautious"] == z["frozen"]) | (z["cautious"] == z["running"]))
    assert np.any(z["cautious"] != z["frozen"])
    assert np.any(z["cautious"] != z["running"])


def test_judging_does_not_learn() -> None:
    null = LawfulNull(FrozenNull.fit(*lawful(11, 100)), "running")
    null.standardise(*lawful(12, 50))
    assert null.running.snapshot() == RunningNull().snapshot()
