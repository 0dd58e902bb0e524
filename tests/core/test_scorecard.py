from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from streamproc.contract.errors import PolicyError
from streamproc.core.campaigns.scorecard import LN10, MEMBERSHIP, Scorecard, reasons
from streamproc.core.campaigns.scorecard_fit import _Problem, balanced, fit_weights
from streamproc.core.campaigns.statistics import FAMILIES, NAMES, SIGNS, STATISTICS

S, F = len(NAMES), len(FAMILIES)
WIDE = dict.fromkeys(FAMILIES, 100.0)
AT = {name: i for i, name in enumerate(NAMES)}


def card(weights: dict[str, float], intercept: float = 0.0, caps: dict[str, float] | None = None) -> Scorecard:
    return Scorecard.from_tables(weights, intercept, WIDE | (caps or {}))


def standing(**z: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    row = np.zeros((1, S))
    for name, value in z.items():
        row[0, AT[name]] = value
    return row


def test_every_statistic_belongs_to_one_family() -> None:
    assert MEMBERSHIP.sum(axis=0).tolist() == [1] * S


def test_evidence_is_signed_weighed_and_added_up() -> None:
    scores = card({"births": 2.0, "tokens": 1.0}, intercept=-3.0).score(standing(births=1.5, tokens=-2.0))
    assert scores.signals[0, AT["births"]] == round(3 / LN10, 4)
    assert scores.signals[0, AT["tokens"]] == round(2 / LN10, 4)
    assert scores.log10_lr[0] == pytest.approx((3 + 2 - 3) / LN10, abs=2e-4)


def test_what_points_the_other_way_speaks_for_lawful() -> None:
    scores = card({"births": 2.0, "tokens": 1.0}).score(standing(births=-1.0, tokens=1.0))
    assert scores.signals[0, AT["births"]] < 0
    assert scores.signals[0, AT["tokens"]] < 0
    assert scores.log10_lr[0] == pytest.approx(-3 / LN10, abs=2e-4)


@pytest.mark.parametrize("side", [1, -1])
def test_a_family_is_capped_on_both_sides_and_its_signals_share_the_cap(side: int) -> None:
    capped = card({"births": 3.0, "hours": 1.0, "tokens": 1.0}, caps={"synchrony": 0.8})
    scores = capped.score(side * standing(births=3.0, hours=-3.0, tokens=-1.0))
    assert scores.families[0, FAMILIES.index("synchrony")] == side * 0.8
    signals = scores.signals[0]
    assert signals[AT["births"]] + signals[AT["hours"]] == pytest.approx(side * 0.8, abs=2e-4)
    assert signals[AT["births"]] == pytest.approx(3 * signals[AT["hours"]], abs=3e-4)
    assert scores.log10_lr[0] == pytest.approx(side * (0.8 + 1 / LN10), abs=2e-4)


def test_families_and_intercept_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(1)
    scorecard = Scorecard(rng.uniform(0, 2, S), -1.7, rng.uniform(0.3, 2, F))
    scores = scorecard.score(rng.uniform(-3.5, 3.5, (50, S)))
    np.testing.assert_allclose(scores.log10_lr, scores.families.sum(axis=1) - 1.7 / LN10, atol=1e-4)
    np.testing.assert_allclose(scores.signals @ MEMBERSHIP.T, scores.families, atol=1e-3)
    for part in (scores.log10_lr, scores.families, scores.signals):
        np.testing.assert_array_equal(part, np.round(part, 4))


def test_a_blind_statistic_is_no_evidence() -> None:
    scorecard = Scorecard(np.ones(S), 0.5, np.full(F, 9.0))
    assert scorecard.score(np.full((2, S), np.nan)).log10_lr.tolist() == [round(0.5 / LN10, 4)] * 2


def test_no_community_no_score() -> None:
    scores = card({"births": 1.0}).score(np.empty((0, S)))
    assert scores.log10_lr.shape == (0,)
    assert scores.families.shape == (0, F)
    assert scores.signals.shape == (0, S)


@pytest.mark.parametrize(
    ("weights", "caps", "key"),
    [
        ({"karma": 1.0}, WIDE, "score.weights.karma"),
        ({"births": -0.1}, WIDE, "score.weights.births"),
        ({"births": math.nan}, WIDE, "score.weights.births"),
        ({}, WIDE | {"karma": 1.0}, "score.caps.karma"),
        ({}, {}, "score.caps.template"),
        ({}, WIDE | {"identity": 0.0}, "score.caps.identity"),
    ],
)
def test_a_bad_table_is_refused_with_its_key(weights: Any, caps: Any, key: str) -> None:
    with pytest.raises(PolicyError) as refused:
        Scorecard.from_tables(weights, 0.0, caps)
    assert refused.value.key == key


def test_reasons_name_the_weightiest_first_and_leave_out_what_says_nothing() -> None:
    z = standing(births=1.0, tokens=-3.0, size=0.0, hours=0.5, cover=np.nan)
    scores = card({"births": 1.0, "tokens": 1.0, "size": 1.0, "hours": 2.5, "cover": 9.0}).score(z)
    observed, expected = np.full(S, 0.8), np.full(S, 0.4)
    observed[AT["cover"]] = np.nan
    rows = reasons(scores, 0, observed, expected)
    assert [row.signal for row in rows] == ["tokens", "hours", "births"]
    assert rows[1].log10_lr < 0
    births = rows[2]
    assert (births.family, births.observed, births.expected) == ("synchrony", 0.8, 0.4)
    assert births.log10_lr == round(1 / LN10, 4)
    assert births.text == STATISTICS[AT["births"]].sentence(0.8, 0.4)
    assert "80 %" in births.text


def test_equal_weights_of_evidence_keep_the_order_of_the_registry() -> None:
    scores = Scorecard(np.ones(S), 0.0, np.full(F, 99.0)).score(SIGNS[None, :] * 1.0)
    rows = reasons(scores, 0, np.ones(S), np.ones(S))
    assert [row.signal for row in rows] == list(NAMES)


# --- the fit ---


def drawn(seed: int, n: int = 1_500) -> tuple[Any, Any]:
    """Communities where a campaign is one deviation off in four statistics and wrong-way in `fresh`."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.3
    z = rng.standard_normal((n, S))
    for name in ("births", "tokens", "size", "sittings"):
        z[label, AT[name]] += SIGNS[AT[name]]
    z[label, AT["fresh"]] -= SIGNS[AT["fresh"]]
    return z, label


def even(label: Any) -> Any:
    return balanced(label, np.zeros(label.size, np.int64))


def test_weights_find_what_tells_and_never_point_the_wrong_way() -> None:
    z, label = drawn(1)
    weights, intercept = fit_weights(z, label, even(label), np.full(F, 9.0))
    assert np.all(weights >= 0)
    assert weights[AT["fresh"]] == 0.0
    assert all(weights[AT[name]] > 0.5 for name in ("births", "tokens", "size", "sittings"))
    assert weights[AT["cover"]] < 0.25
    assert intercept == pytest.approx(-2.0, abs=0.5)  # half way: four statistics, half a deviation, weight one each


def test_the_fitted_scorecard_tells_campaigns_that_it_never_saw() -> None:
    z, label = drawn(2)
    caps = np.full(F, 9.0)
    weights, intercept = fit_weights(z, label, even(label), caps)
    fresh_z, fresh_label = drawn(3)
    found = Scorecard(weights, intercept, caps).score(fresh_z).log10_lr > 0
    assert np.mean(found == fresh_label) > 0.78


def test_the_fit_is_deterministic_and_does_not_mind_blind_values() -> None:
    z, label = drawn(4, 400)
    z[np.random.default_rng(0).random(z.shape) < 0.1] = np.nan
    first = fit_weights(z, label, even(label), np.full(F, 1.0))
    second = fit_weights(z.copy(), label.copy(), even(label), np.full(F, 1.0))
    assert first[0].tolist() == second[0].tolist()
    assert first[1] == second[1]
    assert np.isfinite(first[0]).all()


def test_caps_in_the_fit_move_weight_to_other_families() -> None:
    z, label = drawn(5)
    z[label, AT["births"]] += 3
    caps = np.full(F, 9.0)
    wide, _ = fit_weights(z, label, even(label), caps)
    caps[FAMILIES.index("synchrony")] = 0.2
    tight, _ = fit_weights(z, label, even(label), caps)
    assert tight[AT["tokens"]] > 1.1 * wide[AT["tokens"]]


def test_a_strong_penalty_leaves_no_weight() -> None:
    z, label = drawn(6, 300)
    weights, _ = fit_weights(z, label, even(label), np.full(F, 9.0), penalty=1e6)
    assert np.max(weights) < 1e-3


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    z, label = drawn(7, 200)
    problem = _Problem(SIGNS * z, np.where(label, 1.0, -1.0), even(label), np.full(F, 0.9), 0.01)
    at = np.random.default_rng(8).uniform(0.1, 0.6, S + 1)
    step = 1e-6
    slopes = [
        (problem.loss(at + step * unit)[0] - problem.loss(at - step * unit)[0]) / (2 * step) for unit in np.eye(S + 1)
    ]
    np.testing.assert_allclose(problem.loss(at)[1], slopes, atol=1e-6)


def test_samples_weigh_half_by_label_and_equally_by_stream() -> None:
    label = np.array([True, True, True, False, False, False, False])
    group = np.array([0, 0, 1, 0, 1, 1, 2])
    weights = balanced(label, group)
    np.testing.assert_allclose(weights, [1 / 8, 1 / 8, 1 / 4, 1 / 6, 1 / 12, 1 / 12, 1 / 6])
    assert balanced(np.array([False]), np.array([3])).tolist() == [0.5]
