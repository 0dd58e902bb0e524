"""Recordings, the offline scores and the fit, on the real engine over small streams."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from streamproc.core import policy as policies
from streamproc.core.campaigns.null import FrozenNull
from streamproc.core.campaigns.statistics import NAMES
from streamproc.core.engine import Engine
from streamproc.sim import recording, weights
from streamproc.sim.recording import Recording
from streamproc.sim.scenario import simulate

ACCOUNTS, DAYS = 500, 2.0
HEAD = recording.head_of(policies.default_text().decode())
STREAMS = [(kind, seed) for seed in (1, 2) for kind in ("sync_pool", "quiet_pool", "control")]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    cache = tmp_path_factory.mktemp("recordings")
    return [recording.record(kind, seed, ACCOUNTS, DAYS, HEAD, cache) for kind, seed in STREAMS]


@pytest.fixture(scope="module")
def fitted(recordings: list[Recording]) -> weights.Fit:
    return weights.fit(recordings)


def test_a_recording_comes_back_from_disk_as_it_was(recordings: list[Recording], tmp_path: Path) -> None:
    first = recordings[0]
    recording.record(first.scenario, first.seed, ACCOUNTS, DAYS, HEAD, tmp_path)
    again = recording.record(first.scenario, first.seed, ACCOUNTS, DAYS, HEAD, tmp_path)
    assert (again.kinds, len(again.views)) == (first.kinds, len(first.views))
    np.testing.assert_array_equal(again.members, first.members)
    for one, other in zip(again.views, first.views, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.community, other.community)


def test_offline_scores_are_those_of_the_engine(recordings: list[Recording], fitted: weights.Fit) -> None:
    """The same weights give the same carried scores and the same eligible communities as the judge."""
    policy = policies.parse(weights.policy_text(HEAD, fitted, "").encode())
    stream = simulate("sync_pool", seed=1, accounts=ACCOUNTS, days=DAYS)
    engine = Engine(policy)
    lines = [orjson.dumps(event) for event in stream.events]
    held = [*engine.observe(0, lines, range(len(lines))).rounds, *engine.flush().rounds]
    judged = [view for one in held for view in one.judged]
    model = replace(fitted.model, frozen=FrozenNull.from_dict(policy.null))  # as rounded in the file
    scored = weights.score(recordings[0], model, fitted.options)
    assert len(judged) == len(scored) > 0
    for live, offline in zip(judged, scored, strict=True):
        np.testing.assert_allclose(offline.log10_lr, live.scores.log10_lr, atol=2e-4)
        np.testing.assert_allclose(offline.carried, live.carried, atol=2e-4)
        np.testing.assert_array_equal(offline.eligible, live.eligible)


def test_nothing_is_hit_while_recording() -> None:
    stream = simulate("sync_pool", seed=1, accounts=ACCOUNTS, days=DAYS)
    lines = [orjson.dumps(event) for event in stream.events]
    output = Engine(recording.bootstrap(HEAD)).observe(0, lines, range(len(lines)))
    assert output.rounds
    assert not output.enforcements


def test_thresholds_leave_the_margin_above_every_lawful_community(fitted: weights.Fit) -> None:
    tight = weights.Options(margin=0.0)
    assert fitted.options.margin - tight.margin == pytest.approx(weights.MARGIN)
    assert np.all(np.isfinite(fitted.thresholds))
    assert np.all(fitted.model.card.weights >= 0)


def test_what_is_left_out_leaves_no_trace(recordings: list[Recording]) -> None:
    without = weights.fit([one for one in recordings if one.scenario != "sync_pool"])
    left_out = weights.fit(recordings, leave_out="sync_pool")
    assert weights.policy_text(HEAD, left_out, "d") == weights.policy_text(HEAD, without, "d")


def test_a_statistic_left_out_gets_no_weight(recordings: list[Recording]) -> None:
    found = weights.fit_model(recordings, weights.Options(left_out=("core_share",)))
    assert found.card.weights[NAMES.index("core_share")] == 0


def test_one_seed_is_not_enough(recordings: list[Recording]) -> None:
    with pytest.raises(ValueError, match="two seeds"):
        weights.fit([one for one in recordings if one.seed == 1])


def test_the_operators_part_of_the_policy_stays_as_it_is(fitted: weights.Fit, tmp_path: Path) -> None:
    head = HEAD.replace('mode = "shadow"', 'mode = "enforce"')
    path = tmp_path / "policy.toml"
    weights.write(path, weights.policy_text(head, fitted, "2026-01-02"))
    text = path.read_text()
    assert text.startswith(head)
    assert recording.head_of(text) == head
    policy = policies.parse(text.encode())
    assert (policy.mode, policy.fit.date, policy.fit.seeds) == ("enforce", "2026-01-02", (1, 2))
    assert policy.score.thresholds == fitted.thresholds


def test_the_logistic_fit_finds_the_slopes_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20_000, 2))
    y = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 + 2.0 * x[:, 0] - 1.0 * x[:, 1])))
    assert weights.logistic(x, y) == pytest.approx((0.5, 2.0, -1.0), abs=0.1)


def test_an_account_that_was_forgotten_begins_anew() -> None:
    options = weights.Options(carry=(0.5,), start=0.0, outside=-2.0)
    carried, known = np.zeros((2, 1), np.float32), np.zeros(2, np.bool_)

    def view(present: list[int], community: list[int]) -> recording.ViewRecord:
        rows = np.array(present, np.int32), np.array(community, np.int32)
        return recording.ViewRecord(
            0, 0, *rows, np.zeros((1, len(NAMES))), np.array([2]), np.array([2]), np.array([0.0])
        )

    def mean(of: recording.ViewRecord) -> float:
        return float(weights._carry(of, carried, known, np.array([2.0]), options)[0, 0])

    assert mean(view([0, 1], [0, 0])) == pytest.approx(1.0)
    assert mean(view([0], [0])) == pytest.approx(1.5)  # account 1 is forgotten meanwhile
    assert mean(view([0, 1], [0, 0])) == pytest.approx((1.75 + 1.0) / 2)
