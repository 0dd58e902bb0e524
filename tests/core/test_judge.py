"""What accounts carry from round to round, and what of it makes a hit."""

from __future__ import annotations

import numpy as np
import pytest

from streamproc.core.campaigns.judge import carry_on, mean_carried

SHARES = np.array([0.15, 0.8], np.float32)


def peaks(scores: list[float]) -> list[float]:
    """The highest that an account ever carries in each memory when its community scores `scores`, round by round."""
    carried = np.full((1, 2), -1.0, np.float32)
    seen = []
    for score in scores:
        carry_on(carried, np.array([score], np.float32), SHARES)
        seen.append(carried[0].tolist())
    return [max(memory) for memory in zip(*seen, strict=True)]


def test_a_memory_moves_by_its_share() -> None:
    assert peaks([1.0]) == pytest.approx([-0.15 + 0.85, -0.8 + 0.2])


def test_the_long_memory_tells_what_lasts_from_what_flares() -> None:
    flare, lasting = peaks([-2.0, 2.0, -2.0]), peaks([0.8] * 12)
    assert flare[0] > lasting[0]
    assert lasting[1] > 0.6
    assert flare[1] < 0


def test_a_community_carries_the_mean_of_its_accounts_in_each_memory() -> None:
    carried = np.array([[1.0, 0.0], [2.0, 0.5], [4.0, 9.0]], np.float32)
    mean = mean_carried(carried, np.array([0, 0, 2], np.int32), 3)
    assert mean.tolist() == [[1.5, 0.25], [0.0, 0.0], [4.0, 9.0]]


def test_sums_do_not_depend_on_which_accounts_stand_between() -> None:
    rng = np.random.default_rng(3)
    carried = rng.normal(size=(999, 2)).astype(np.float32)
    community = rng.integers(0, 7, 999).astype(np.int32)
    whole = mean_carried(carried, community, 7)
    alone = mean_carried(carried[community == 4], community[community == 4], 7)
    assert whole[4].tolist() == alone[4].tolist()
