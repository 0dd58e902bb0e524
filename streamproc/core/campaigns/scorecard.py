"""The scorecard: standardised statistics times weights, added up as weight of evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamproc.contract.decisions import Reason
from streamproc.contract.errors import PolicyError
from streamproc.core.arrays import Floats
from streamproc.core.campaigns.statistics import FAMILIES, NAMES, SIGNS, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.core.arrays import Bools

LN10 = math.log(10)
DECIMALS = 4  # of everything that is compared, so that no machine's last bit decides

# (families, statistics): which statistic belongs to which family.
MEMBERSHIP: Bools = np.array([[s.family == family for s in STATISTICS] for family in FAMILIES])


@dataclass(frozen=True, slots=True)
class Scores:
    """Evidence of communities in decimal logarithms of the likelihood ratio, campaign against lawful.

    The signals of a family add up to its sum, families and intercept to the whole, but for rounding.
    """

    log10_lr: Floats  # (k,)
    families: Floats  # (k, families) within their caps
    signals: Floats  # (k, statistics) shares of their family's capped sum


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Weights (statistics,) >= 0 and an intercept in natural logits; caps (families,) in decimal logarithms.

    A weight is per deviation toward the suspicious side.  A cap bounds a family's evidence on both sides.
    """

    weights: Floats
    intercept: float
    caps: Floats

    @classmethod
    def from_tables(cls, weights: Mapping[str, float], intercept: float, caps: Mapping[str, float]) -> Scorecard:
        """The scorecard of the policy: weights by statistic (0 where not named), caps by family.

        Raises:
            PolicyError: a statistic or family is unknown, a weight is negative or a family has no cap.
        """
        for name, weight in weights.items():
            if name not in NAMES:
                raise PolicyError(f"score.weights.{name}", "is no statistic")
            if not 0 <= weight < math.inf:
                raise PolicyError(f"score.weights.{name}", "must be 0 or more")
        for family in (*FAMILIES, *caps):
            if family not in FAMILIES:
                raise PolicyError(f"score.caps.{family}", "is no family")
            if not caps.get(family, 0) > 0:
                raise PolicyError(f"score.caps.{family}", "must be given and above 0")
        return cls(
            np.array([float(weights.get(name, 0)) for name in NAMES]),
            intercept,
            np.array([float(caps[family]) for family in FAMILIES]),
        )

    def score(self, z: Floats) -> Scores:
        """Evidence of communities with statistics at `z` (k, statistics); NaN (blind) is no evidence."""
        plain = SIGNS * np.nan_to_num(z) * self.weights / LN10
        sums = np.stack([plain[:, of_family].sum(axis=1) for of_family in MEMBERSHIP], axis=1)
        capped = np.clip(sums, -self.caps, self.caps)
        kept = np.divide(capped, sums, out=np.ones_like(sums), where=sums != 0)
        signals = plain * (kept @ MEMBERSHIP)
        families = _rounded(capped)
        whole = _rounded(families.sum(axis=1) + self.intercept / LN10)
        return Scores(whole, families, _rounded(signals))


def reasons(scores: Scores, community: int, observed: Floats, expected: Floats) -> tuple[Reason, ...]:
    """The evidence rows of one community, the weightiest first; signals without weight are left out.

    `observed` and `expected` (statistics,) are values on each statistic's own scale.
    """
    weight = scores.signals[community]
    order = np.argsort(-np.abs(weight), kind="stable")
    return tuple(
        Reason(
            signal=STATISTICS[i].name,
            family=STATISTICS[i].family,
            log10_lr=float(weight[i]),
            observed=float(_rounded(observed[i])),
            expected=float(_rounded(expected[i])),
            text=STATISTICS[i].sentence(float(observed[i]), float(expected[i])),
        )
        for i in order.tolist()
        if weight[i] and np.isfinite(observed[i])
    )


def _rounded(values: Floats) -> Floats:
    return np.round(values, DECIMALS) + 0.0  # + 0.0: no negative zero on the wire
