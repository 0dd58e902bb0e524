"""Fitting the scorecard: logistic regression whose weights may only point in the suspicious direction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from streamproc.core.arrays import Floats
from streamproc.core.campaigns.scorecard import LN10, MEMBERSHIP
from streamproc.core.campaigns.statistics import SIGNS

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Ints

PENALTY = 0.01  # L2, the samples' weights adding up to 1
MAX_STEPS = 1_000


def balanced(label: Bools, group: Ints) -> Floats:
    """Sample weights (n,) adding up to 1: half to campaigns, half to lawful communities, equal over groups.

    With equal halves the scorecard's sum is a likelihood ratio.  A group is a stream or a seed: what one
    stream shows in forty rounds is not forty independent cases.
    """
    weights = np.zeros(label.size)
    for side in (True, False):
        rows = np.flatnonzero(label == side)
        _, of_row, count = np.unique(group[rows], return_inverse=True, return_counts=True)
        weights[rows] = 0.5 / np.maximum(count.size * count[of_row], 1)
    return weights


def fit_weights(
    z: Floats, label: Bools, weights: Floats, caps: Floats, *, penalty: float = PENALTY
) -> tuple[Floats, float]:
    """Weights (statistics,) >= 0 and the intercept, in natural logits, that tell campaigns apart.

    `z` (n, statistics) is as the null standardises it, NaN counted as 0; `label` (n,) says campaign; the
    samples' `weights` are (n,); `caps` (families,) in log10 bound each family's sum in the fit as they do in
    the scorecard.  The capped loss is not convex, so the fit starts from the solution without caps, of which
    there is one only.

    Raises:
        ValueError: the optimiser does not come to an end.
    """
    capped = _Problem(
        toward=SIGNS * np.nan_to_num(z),
        side=np.where(label, 1.0, -1.0),
        weights=weights / weights.sum(),
        caps=caps * LN10,
        penalty=penalty,
    )
    plain = replace(capped, caps=np.full(caps.shape, np.inf))
    found = capped.solve(plain.solve(np.zeros(z.shape[1] + 1)))
    return found[:-1], float(found[-1])


@dataclass(frozen=True, slots=True)
class _Problem:
    toward: Floats  # (n, statistics) deviations toward the suspicious side
    side: Floats  # (n,) +1 campaign, -1 lawful
    weights: Floats  # (n,) adding up to 1
    caps: Floats  # (families,) in natural logits
    penalty: float

    def solve(self, start: Floats) -> Floats:
        """Weights and the intercept, (statistics + 1,), found from `start`."""
        found = minimize(
            self.loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * (start.size - 1) + [(None, None)],
            options={"maxiter": MAX_STEPS},
        )
        if found.nit >= MAX_STEPS or not np.all(np.isfinite(found.x)):
            raise ValueError(f"the scorecard's fit does not converge: {found.message}")
        return np.asarray(found.x, np.float64)

    def loss(self, at: Floats) -> tuple[float, Floats]:
        """Weighted logistic loss with the L2 penalty, and its gradient; a family at its cap has slope 0."""
        sums = (self.toward * at[:-1]) @ MEMBERSHIP.T
        margin = self.side * (np.clip(sums, -self.caps, self.caps).sum(axis=1) + at[-1])
        loss = (self.weights * np.logaddexp(0, -margin)).sum() + self.penalty / 2 * (at[:-1] ** 2).sum()
        slope = -self.weights * self.side * np.exp(-np.logaddexp(0, margin))
        free = (np.abs(sums) < self.caps) @ MEMBERSHIP
        gradient = (slope[:, None] * self.toward * free).sum(axis=0) + self.penalty * at[:-1]
        return float(loss), np.append(gradient, slope.sum())
