"""The lawful null: what each statistic is among lawful communities of like size, shipped and learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from river import stats

from streamproc.contract.errors import PolicyError
from streamproc.core.arrays import Floats
from streamproc.core.campaigns.statistics import NAMES, SIGNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamproc.core.arrays import Ints

Which = Literal["running", "frozen", "cautious"]

BIN_EDGES = (10, 16, 28, 50)  # members; five bins: below 10, below 16, ... 50 and more
BIN_CENTRES = (9, 13, 21, 37, 75)  # members; linear in ln size between them, flat beyond
CLIP = 3.5
SHRINK_BIN = 20  # communities of a bin that weigh as much as all sizes together
SHRINK_RUNNING = 60  # communities learned that weigh as much as the frozen null
FLOOR_BIN = 0.25  # least deviation of a bin, as a share of the deviation over all sizes
FLOOR_FROZEN = 0.02  # least deviation of a frozen statistic, on its own scale
FLOOR_RUNNING = 0.5  # least deviation that the running null may come to
MOST_LEARNED = 128  # communities of a round: River takes them one number at a time
REMEMBERED = 6_000  # communities, some ten days of rounds: beyond it older ones fade, so that a shift is followed


@dataclass(frozen=True, slots=True)
class FrozenNull:
    """Mean and deviation of each statistic by size bin, shape (5, statistics)."""

    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, values: Floats, sizes: Ints) -> FrozenNull:
        """The null of lawful communities: `values` (k, statistics), NaN where blind; `sizes` (k,) in members.

        Each bin is shrunk to all sizes by n / (n + 20).  A statistic that was never seen is 0 +- 1.
        """
        every = np.ones(len(values), np.bool_)
        count, mean, variance = _moments(values, every)
        mean = np.where(count > 0, mean, 0.0)
        variance = np.maximum(np.where(count > 1, variance, 1.0), FLOOR_FROZEN**2)
        means, variances = [], []
        of_size = np.searchsorted(BIN_EDGES, sizes, side="right")
        for bin_ in range(len(BIN_CENTRES)):
            n, bin_mean, bin_variance = _moments(values, of_size == bin_)
            weight = n / (n + SHRINK_BIN)
            means.append(weight * bin_mean + (1 - weight) * mean)
            shrunk = weight * bin_variance + (1 - weight) * variance
            variances.append(np.maximum(shrunk, FLOOR_BIN**2 * variance))
        return cls(np.array(means), np.sqrt(np.array(variances)))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], key: str = "null") -> FrozenNull:
        """The null written as statistic -> {mean, deviation}, five numbers each; `key` is where it stands.

        Raises:
            PolicyError: a statistic is missing or unknown, or it has not five finite numbers, deviations > 0.
        """
        for name in table:
            if name not in NAMES:
                raise PolicyError(f"{key}.{name}", "is no statistic")
        mean, deviation = (
            np.array([_numbers(table, key, name, part) for name in NAMES]).T for part in ("mean", "deviation")
        )
        for name, column in zip(NAMES, deviation.T, strict=True):
            if np.any(column <= 0):
                raise PolicyError(f"{key}.{name}.deviation", "must be above 0")
        return cls(mean, deviation)

    def to_dict(self) -> dict[str, dict[str, list[float]]]:
        """As plain lists of floats by statistic, for the policy file; rounded to six decimals."""
        return {
            name: {
                "mean": np.round(self.mean[:, i], 6).tolist(),
                "deviation": np.round(self.deviation[:, i], 6).tolist(),
            }
            for i, name in enumerate(NAMES)
        }

    def expected(self, sizes: Ints) -> tuple[Floats, Floats]:
        """Mean and deviation of each statistic in communities of `sizes` (k,), shape (k, statistics) each."""
        at = np.log(np.maximum(sizes, 1))
        centres = np.log(BIN_CENTRES)
        mean, deviation = (
            np.column_stack([np.interp(at, centres, column) for column in table.T])
            for table in (self.mean, self.deviation)
        )
        return mean, deviation

    def standardise(self, values: Floats, sizes: Ints) -> Floats:
        """`values` (k, statistics) in deviations from the mean at their size, within +-3.5; NaN stays NaN."""
        mean, deviation = self.expected(sizes)
        return np.clip((values - mean) / deviation, -CLIP, CLIP)


class RunningNull:
    """River's running mean and variance of each statistic as the frozen null standardises it.

    It learns from all communities, suspects too: a gate on suspects locks itself out when everything moves.
    """

    def __init__(self) -> None:
        self._variances = [stats.Var() for _ in NAMES]

    def learn(self, z: Floats) -> None:
        """Take in a round's communities: `z` (k, statistics) from the frozen null; NaN is passed over."""
        for variance, column in zip(self._variances, np.clip(z, -CLIP, CLIP).T, strict=True):
            for value in column[~np.isnan(column)].tolist():
                variance.update(value)
            _fade(variance)

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and deviation of each statistic in frozen deviations, shrunk to 0 and 1 by n / (n + 60)."""
        n = np.array([v.mean.n for v in self._variances])
        mean = np.array([v.mean.get() for v in self._variances])
        variance = np.array([v.get() for v in self._variances])
        weight = n / (n + SHRINK_RUNNING)
        deviation = np.sqrt(weight * variance + (1 - weight))
        return weight * mean, np.maximum(deviation, FLOOR_RUNNING)

    def standardise(self, z: Floats) -> Floats:
        """`z` (k, statistics) from the frozen null against what was learned, within +-3.5; NaN stays NaN."""
        mean, deviation = self.moments()
        return np.clip((z - mean) / deviation, -CLIP, CLIP)

    def snapshot(self) -> dict[str, list[float]]:
        """What was learned, by statistic: communities seen, their mean and their sum of squares about it."""
        return {
            "n": [v.mean.n for v in self._variances],
            "mean": [v.mean.get() for v in self._variances],
            "squares": [v._S for v in self._variances],  # noqa: SLF001 - exact, where n and variance would round
        }

    @classmethod
    def restore(cls, state: Mapping[str, Sequence[float]]) -> RunningNull:
        """The null that `snapshot` wrote down."""
        null = cls()
        parts = zip(state["n"], state["mean"], state["squares"], strict=True)
        null._variances = [_variance(n, mean, squares) for n, mean, squares in parts]
        return null


class LawfulNull:
    """The frozen null and the running one side by side, and which of them a community is judged by.

    `which`: "frozen"; "running"; "cautious", for each statistic the less suspicious of the two.
    """

    def __init__(self, frozen: FrozenNull, which: Which, running: RunningNull | None = None) -> None:
        self.frozen = frozen
        self.running = running or RunningNull()
        self.which = which

    def standardise(self, values: Floats, sizes: Ints) -> Floats:
        """How far `values` (k, statistics) of communities of `sizes` (k,) stand off; NaN where blind."""
        frozen = self.frozen.standardise(values, sizes)
        if self.which == "frozen":
            return frozen
        running = self.running.standardise(frozen)
        if self.which == "running":
            return running
        return SIGNS * np.minimum(SIGNS * frozen, SIGNS * running)

    def expected(self, sizes: Ints) -> Floats:
        """What lawful communities of `sizes` (k,) show, on each statistic's own scale, (k, statistics)."""
        mean, deviation = self.frozen.expected(sizes)
        if self.which == "frozen":
            return mean
        return mean + deviation * self.running.moments()[0]

    def learn(self, values: Floats, sizes: Ints) -> None:
        """Take in the communities of a round, after they were judged; of very many an even sample."""
        if len(sizes) > MOST_LEARNED:
            sample = np.linspace(0, len(sizes) - 1, MOST_LEARNED).astype(np.int64)
            values, sizes = values[sample], sizes[sample]
        self.running.learn(self.frozen.standardise(values, sizes))


def _moments(values: Floats, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Floats, Floats, Floats]:
    """Count, mean and variance of each column over `rows`, NaN left out; 0 where there is nothing."""
    picked = values[rows]
    known = ~np.isnan(picked)
    count = known.sum(axis=0)
    mean = np.where(known, picked, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (picked - mean) ** 2, 0.0).sum(axis=0)
    return count.astype(np.float64), mean, squares / np.maximum(count - 1, 1)


def _numbers(table: Mapping[str, Any], key: str, name: str, part: str) -> list[float]:
    entry = table.get(name)
    numbers = entry.get(part) if isinstance(entry, dict) else None
    if (
        not isinstance(numbers, list)
        or len(numbers) != len(BIN_CENTRES)
        or not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
    ):
        raise PolicyError(f"{key}.{name}.{part}", f"must be {len(BIN_CENTRES)} finite numbers, one a size bin")
    return [float(number) for number in numbers]


def _variance(n: float, mean: float, squares: float) -> stats.Var:
    """River's running variance in a given state; `Var._from_state` takes a variance, which rounds."""
    variance = stats.Var()
    variance.mean = stats.Mean._from_state(n, mean)  # noqa: SLF001 - River's own way to restore a mean
    variance._S = squares  # noqa: SLF001 - see above
    return variance


def _fade(variance: stats.Var) -> None:
    """Let what was learned count for at most so many communities."""
    if variance.mean.n > REMEMBERED:
        variance._S *= REMEMBERED / variance.mean.n  # noqa: SLF001 - River has no weight of old values to set
        variance.mean.n = float(REMEMBERED)
