"""Family template: how much the members share, and how thinly each is served from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.statistic import (
    LAWFUL,
    Statistic,
    count_of_log,
    count_of_log_less_one,
    percent,
)

if TYPE_CHECKING:
    from streamproc.core.arrays import Floats
    from streamproc.core.campaigns.cores import Cores


def core_size(cores: Cores) -> Floats:
    """Logarithm of the number of core components."""
    return sums.log(sums.core_sizes(cores).astype(np.float64))


def cover(cores: Cores) -> Floats:
    """Mean share of the core's components that a member uses, weighted by core share."""
    widths = sums.core_sizes(cores)
    width = widths[cores.member_community]
    end = np.cumsum(width)
    # A cell for each member and component of its core: at most 12 times the pairs held while cores need 8 %.
    held = np.zeros(int(np.sum(width)) + 1, np.bool_)
    shift = (end - width) - (np.cumsum(widths) - widths)[cores.member_community]
    held[shift[cores.use_member] + cores.use_core + 1] = True
    total = np.cumsum(held)
    distinct = total[end] - total[end - width]
    weight = sums.core_share(cores)
    used = sums.ratio(sums.of_members(cores, weight * distinct), sums.of_members(cores, weight))
    return sums.ratio(used, widths)


def size(cores: Cores) -> Floats:
    """Logarithm of the number of members."""
    return sums.log(sums.sizes(cores).astype(np.float64))


def devoted(cores: Cores) -> Floats:
    """Logarithm of one more than the members most of whose requests (`sums.DEVOTED`) lie in the core."""
    devoted_members = sums.of_members(cores, sums.core_share(cores) >= sums.DEVOTED)
    return np.where(sums.sizes(cores) > 0, np.log1p(devoted_members), np.nan)


TEMPLATE = (
    Statistic(
        "core_size", "template", 1, (), core_size, count_of_log,
        "{observed} uncommon prompt templates tie these accounts together" + LAWFUL,
    ),
    Statistic(
        "cover", "template", -1, (), cover, percent,
        "Each account uses {observed} of the shared templates (few: they are dealt out)" + LAWFUL,
    ),
    Statistic(
        "size", "template", 1, (), size, count_of_log,
        "{observed} accounts use the same uncommon templates together" + LAWFUL,
    ),
    Statistic(
        "devoted", "template", 1, (), devoted, count_of_log_less_one,
        "{observed} accounts do little else than use these templates" + LAWFUL,
    ),
)  # fmt: skip
