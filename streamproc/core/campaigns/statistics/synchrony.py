"""Family synchrony: members that begin together and keep the same hours and the same pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.statistic import LAWFUL, SMOOTHING, Statistic, percent, times_of_log

if TYPE_CHECKING:
    from streamproc.core.arrays import Floats
    from streamproc.core.campaigns.cores import Cores

BURST_MS = 12 * 3_600_000
QUARTER_MS = 6 * 3_600_000  # a day has four
DAY_MS = 86_400_000


def births(cores: Cores) -> Floats:
    """Largest share of members whose first core use in the view falls within any 12 hours, ends included."""
    member, first_ms = sums.first_use_ms(cores)
    if not member.size:
        return np.full(cores.n, np.nan)
    community = cores.member_community[member]
    since = first_ms - np.min(first_ms)
    line = np.sort(community * (int(np.max(since)) + BURST_MS + 1) + since)  # communities one after the other
    within = np.searchsorted(line, line + BURST_MS, side="right") - np.arange(line.size)
    most = sums.largest(community, within.astype(np.float64), cores.n)
    return sums.ratio(np.nan_to_num(most), sums.sizes(cores))


def hours(cores: Cores) -> Floats:
    """How much more the members' hours of the day (UTC, in quarters) differ than chance makes them.

    Chi-square of members x quarters against the community's own quarters over its 3 (members - 1) degrees of
    freedom, as a smoothed logarithm.
    """
    quarter = cores.use_ms // QUARTER_MS & 3  # % 4, which numpy is slow at
    counts = np.bincount(cores.use_member * 4 + quarter, minlength=cores.member_community.size * 4).reshape(-1, 4)
    community = np.stack([sums.of_members(cores, counts[:, q]) for q in range(4)], axis=1)
    share = sums.ratio(community, community.sum(axis=1, keepdims=True))[cores.member_community]
    expected = share * counts.sum(axis=1, keepdims=True)
    cells = np.nan_to_num(sums.ratio((counts - expected) ** 2, expected))
    chi_square = sums.of_members(cores, cells.sum(axis=1))
    return sums.log(sums.ratio(chi_square, 3 * (sums.sizes(cores) - 1)), SMOOTHING)


def day_evenness(cores: Cores) -> Floats:
    """Smoothed logarithm of variance over mean of the members' core requests a day.

    Days are 24-hour spans counted back from the view's end; a member's run from that of its first core use.
    """
    day = (cores.end_ms - 1 - cores.use_ms) // DAY_MS
    days = int(np.max(day, initial=0)) + 1
    members = cores.member_community.size
    counts = np.bincount(cores.use_member * days + day, minlength=members * days).reshape(-1, days)
    member, first_ms = sums.first_use_ms(cores)
    lived = np.zeros(members)
    lived[member] = (cores.end_ms - 1 - first_ms) // DAY_MS + 1
    cells = sums.of_members(cores, lived)
    total = sums.of_members(cores, counts.sum(axis=1))
    squares = sums.of_members(cores, (counts.astype(np.float64) ** 2).sum(axis=1))
    variance = sums.ratio(np.maximum(squares - sums.ratio(total**2, cells), 0), cells - 1)
    return sums.log(sums.ratio(variance, sums.ratio(total, cells)), SMOOTHING)


SYNCHRONY = (
    Statistic(
        "births", "synchrony", 1, (), births, percent,
        "{observed} of the accounts first used the shared templates within the same 12 hours" + LAWFUL,
    ),
    Statistic(
        "hours", "synchrony", -1, (), hours, times_of_log,
        "The accounts' hours of the day differ {observed} as much as chance alone would make "
        "them" + LAWFUL,
    ),
    Statistic(
        "day_evenness", "synchrony", -1, (), day_evenness, times_of_log,
        "Requests an account and day vary {observed} as much as chance alone would make them" + LAWFUL,
    ),
)  # fmt: skip
