"""One number of a community: its name, its sign and family, what it reads and how an engineer reads it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from streamproc.contract.decisions import BESIDE, Family
from streamproc.core.arrays import Floats
from streamproc.core.campaigns.cores import Cores

LAWFUL = f"{BESIDE}{{expected}}."  # how every sentence ends
SMOOTHING = 0.05  # added to ratios before their logarithm, so that a perfect zero stays finite
SHARE_SMOOTHING = 0.15  # the same for shares: .9 and 1.0 are told apart, none and one in a thousand are not


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic of a community and how it counts.

    `compute` gives one value a community, shape (cores.n,), NaN where it is blind or undefined.  `fields` are
    the fields of a request event that it needs beyond `template_fp`; it is blind in a community where such a
    field is missing for more than half of the rows that it reads there.
    """

    name: str
    family: Family
    sign: Literal[1, -1]  # +1: suspicious when larger, -1: when smaller
    fields: tuple[str, ...]
    compute: Callable[[Cores], Floats]
    show: Callable[[float], str]  # a value as the sentence prints it
    text: str  # one sentence with {observed} and {expected}

    def sentence(self, observed: float, expected: float) -> str:
        """The sentence for an `observed` value beside what lawful communities of the size show."""
        return self.text.format(observed=self.show(observed), expected=self.show(expected))


def percent(value: float) -> str:
    """A share between 0 and 1: `0.42` is `42 %`."""
    return f"{min(max(value, 0.0), 1.0):.0%}".replace("%", " %")


def percent_of_log(value: float) -> str:
    """A smoothed logarithm of a share as the share: `ln(.42 + .15)` is `42 %`."""
    return percent(math.exp(value) - SHARE_SMOOTHING)


def percent_of_rest_log(value: float) -> str:
    """Less the smoothed logarithm of what a share leaves, as the share: `-ln(.58 + .15)` is `42 %`."""
    return percent(1 + SHARE_SMOOTHING - math.exp(-value))


def count_of_log(value: float) -> str:
    """A natural logarithm of a count as the count: `ln 61` is `61`."""
    return f"{math.exp(value):,.0f}"


def count_of_log_less_one(value: float) -> str:
    """A natural logarithm of one more than a count as the count: `ln 62` is `61`."""
    return f"{math.expm1(value):,.0f}"


def effective_number(entropy: float) -> str:
    """An entropy in nats as the number of equally common values that has it: `0.69` is `2.0`."""
    return f"{math.exp(entropy):.1f}"


def times_of_log(value: float) -> str:
    """A smoothed logarithm of a ratio as the ratio: `ln 1.25` is `1.2 times`."""
    return f"{max(math.exp(value) - SMOOTHING, 0.0):.1f} times"


def times_of_ratio_log(value: float) -> str:
    """A logarithm of a ratio as the ratio: `ln 1.2` is `1.2 times`."""
    return f"{math.exp(value):.1f} times"


def signed(value: float) -> str:
    """A plain number with its sign and one decimal."""
    return f"{value:+.1f}"
