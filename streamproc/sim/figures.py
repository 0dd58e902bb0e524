"""Figures with their intervals, and tables of them as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean or proportion with its interval."""

    value: float
    low: float
    high: float
    n: int

    def text(self, digits: int = 2) -> str:
        """As `0.12 (0.08-0.16)`."""
        if not self.n:
            return "-"
        if self.n == 1:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def mean_of(values: Sequence[float], low: float = -math.inf, high: float = math.inf) -> Interval:
    """The mean with Student's 95 % interval over seeds, cut at `low` and `high`."""
    n = len(values)
    if not n:
        return NOTHING
    mean = float(np.mean(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    return Interval(mean, max(mean - half, low), min(mean + half, high), n)


def span_of(values: Sequence[float]) -> Interval:
    """The mean with the least and the most: for so few seeds that Student's interval would say nothing."""
    return Interval(float(np.mean(values)), min(values), max(values), len(values)) if values else NOTHING


def wilson(hits: int, n: int) -> Interval:
    """A proportion with Wilson's 95 % interval."""
    if not n:
        return NOTHING
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    p = hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, max(centre - half, 0.0), min(centre + half, 1.0), n)


def number(value: float | None) -> str:
    """A figure of one stream; `-` for none."""
    return "-" if value is None else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as Markdown, the first one as the head."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))
