"""Judging a view: its communities measured, held against the lawful null, scored, and the score carried on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.campaigns.null import FrozenNull, LawfulNull
from streamproc.core.campaigns.scorecard import DECIMALS, Scorecard, reasons
from streamproc.core.campaigns.statistics import FAMILIES, Measures, measure
from streamproc.core.campaigns.statistics.sums import distinct

if TYPE_CHECKING:
    from streamproc.contract.decisions import Family, Reason
    from streamproc.core.arrays import Bools, Floats, Ints, Rows, Singles
    from streamproc.core.campaigns.cores import Cores
    from streamproc.core.campaigns.scorecard import Scores
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Judged:
    """A view with its communities and what they score; arrays of length n are by community."""

    view: View
    community: Rows  # (rows of the account table,) -1 for none
    cores: Cores
    measures: Measures
    z: Floats  # (n, statistics) against the lawful null, NaN where blind
    scores: Scores
    carried: Floats  # (n, memories) mean of what the community's accounts carry
    spoken: Bools  # (n,) evidence of enough families
    eligible: Bools  # (n,) and of enough organisations
    organisations: Ints  # (n,) a missing one counts as its own


def carry_on(carried: Singles, now: Singles, share: Singles) -> None:
    """Move `carried` (rows, memories) on in place: a part `share` (memories,) stays, the rest is `now` (rows,)."""
    carried *= share
    carried += (1 - share) * now[:, None]


def mean_carried(carried: Singles, community: Rows, n: int) -> Floats:
    """Mean of `carried` (rows, memories) by community, shape (n, memories), rounded."""
    sizes = np.maximum(np.bincount(community, minlength=n), 1)
    totals = [np.bincount(community, weights=memory, minlength=n) for memory in carried.T]
    return np.round(np.stack(totals, axis=1) / sizes[:, None], DECIMALS)


class Judge:
    """The scorecard of a policy and the lawful nulls, one for each view, which learn online."""

    def __init__(self, policy: Policy) -> None:
        score = policy.score
        self._score = score
        self._confirm = policy.confirm
        self._probability = policy.probability
        self._share = np.array(score.carry, np.float32)
        self._card = Scorecard.from_tables(score.weights, score.intercept, score.caps)
        frozen = FrozenNull.from_dict(policy.null)
        self.nulls = [LawfulNull(frozen, score.null) for _ in policy.time.view_hours]

    def judge(self, view: View, community: Rows, cores: Cores, carried: Singles, column: int) -> Judged:
        """Judge the communities of view number `column`; `carried` (rows, memories) is moved on in place.

        A part (`score.carry`) of what an account carries comes from the rounds before: what lasts counts for more
        than what flares.  A long memory finds what is never striking and never over.
        """
        measures = measure(cores)
        null = self.nulls[column]
        z = null.standardise(measures.values, measures.sizes)
        null.learn(measures.values, measures.sizes)
        scores = self._card.score(z)
        now = np.full(len(carried), self._score.outside, np.float32)
        inside = community >= 0
        now[inside] = scores.log10_lr[community[inside]]
        carry_on(carried, now, self._share)
        mean = mean_carried(carried[inside], community[inside], cores.n)
        organisations = distinct(cores, cores.member_org)
        spoken = self._families(scores)
        eligible = spoken & (organisations >= self._confirm.min_organisations)
        return Judged(view, community, cores, measures, z, scores, mean, spoken, eligible, organisations)

    def reasons(self, judged: Judged, community: int, column: int) -> tuple[Reason, ...]:
        """The evidence of one community of view number `column`, the weightiest first."""
        expected = self.nulls[column].expected(judged.measures.sizes)[community]
        return reasons(judged.scores, community, judged.measures.values[community], expected)

    def families(self, judged: Judged, community: int) -> tuple[Family, ...]:
        """Families that speak for a campaign."""
        return tuple(name for name, value in zip(FAMILIES, judged.scores.families[community], strict=True) if value > 0)

    def campaign_probability(self, log10_lr: float) -> float:
        """P(campaign | log10_lr)."""
        a, b = self._probability.campaign
        return _logistic(a + b * log10_lr)

    def member_probability(self, share: float, requests: int) -> float:
        """P(member | core share, core requests)."""
        a, b, c = self._probability.member
        return _logistic(a + b * share + c * math.log(max(requests, 1)))

    def _families(self, scores: Scores) -> Bools:
        """Enough families speak for a campaign, one of them not identity."""
        speaks = scores.families > 0
        identity = FAMILIES.index("identity")
        beside = np.delete(speaks, identity, axis=1).any(axis=1)
        return (speaks.sum(axis=1) >= self._confirm.min_families) & beside


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(x, 60.0), -60.0)))
