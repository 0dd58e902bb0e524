"""Family behaviour: accounts alike in what they do beyond chance, as hired names at one queue are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.statistic import (
    LAWFUL,
    SHARE_SMOOTHING,
    SMOOTHING,
    Statistic,
    percent_of_rest_log,
    signed,
    times_of_log,
)

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Floats, Ints, Numbers
    from streamproc.core.campaigns.cores import Cores

HOUR_MS = 3_600_000
MAX_TURNS = 7
MIN_CELL = 3  # requests of a cell, below which its mean is the requests themselves
MAX_RESIDUAL = 3.0
HONEST_CORRELATION = 0.15
CORRELATION_VARIANCE = 0.002  # between communities, beyond chance
NO_SPREAD = 1e-6  # residual variance below which tokens are constant and say nothing


def dispersion(cores: Cores) -> Floats:
    """How much more the members' core requests differ than one common rate makes them.

    Chi-square of counts against rate x exposure over members - 1, as a smoothed logarithm; exposure is the
    time from a member's first core use to the view's end, at least an hour.
    """
    member, first_ms = sums.first_use_ms(cores)
    exposure = np.zeros(cores.member_community.size)
    exposure[member] = np.maximum(cores.end_ms - first_ms, HOUR_MS)
    count = sums.use_counts(cores)
    rate = sums.ratio(sums.of_members(cores, count), sums.of_members(cores, exposure))
    expected = np.nan_to_num(rate[cores.member_community]) * exposure
    chi_square = sums.of_members(cores, np.nan_to_num(sums.ratio((count - expected) ** 2, expected)))
    return sums.log(sums.ratio(chi_square, sums.sizes(cores) - 1), SMOOTHING)


def core_share(cores: Cores) -> Floats:
    """How small a share of a member's requests lies outside the core, on the mean: hired names do little else.

    Less the smoothed logarithm: what tells a pool from a class is the last tenth.
    """
    return -sums.log(1 - sums.ratio(sums.of_members(cores, sums.core_share(cores)), sums.sizes(cores)), SHARE_SMOOTHING)


def devoted_share(cores: Cores) -> Floats:
    """How small a share of the members does much else than the core (`sums.DEVOTED`): less its smoothed logarithm."""
    devoted = sums.of_members(cores, sums.core_share(cores) >= sums.DEVOTED)
    return -sums.log(1 - sums.ratio(devoted, sums.sizes(cores)), SHARE_SMOOTHING)


def tokens(cores: Cores) -> Floats:
    """How far token counts tell the members apart, in standard errors from what honest people show.

    Mean of input and output tokens, of served core requests.  0 is honest; one queue dealt out lies below.
    """
    turns = np.clip(cores.use_turns, -1, MAX_TURNS) + 1
    cell = cores.use_core * (MAX_TURNS + 2) + turns  # a core component belongs to one community
    both = np.stack([_token_correlation(cores, cell, t) for t in (cores.use_tok_in, cores.use_tok_out)])
    told = np.isfinite(both)
    return sums.ratio(np.where(told, both, 0.0).sum(axis=0), told.sum(axis=0))


def _token_correlation(cores: Cores, cell: Ints, tokens: Numbers) -> Floats:
    """Shrunken correlation, within members, of log tokens less the mean of their `cell`; shape (n,)."""
    known = cores.use_served & (tokens >= 0)
    logs = np.log(np.maximum(tokens, 1))
    logs *= known
    count = np.bincount(cell, weights=known)
    mean = np.bincount(cell, weights=logs) / np.maximum(count, 1)
    counted = known & (count >= MIN_CELL)[cell]
    logs -= mean[cell]
    residual = np.clip(logs, -MAX_RESIDUAL, MAX_RESIDUAL, out=logs)
    residual *= counted
    correlation = _shrunken_correlation(cores, counted, residual)
    return sums.seen(correlation, sums.count_uses(cores, known), sums.count_uses(cores, cores.use_served))


def _shrunken_correlation(cores: Cores, counted: Bools, values: Floats) -> Floats:
    """(icc - .15) over its standard error, shape (n,), NaN where the values do not vary.

    One-way analysis of variance by member of the `counted` values (uses,); the others are 0.
    """
    member = np.flatnonzero(sums.use_counts(cores))
    starts, community = cores.first_uses[member], cores.member_community[member]

    def total(of_members: Floats) -> Floats:
        return np.bincount(community, weights=of_members, minlength=cores.n)

    own = np.add.reduceat(counted, starts, dtype=np.float64)
    mean = np.add.reduceat(values, starts) / np.maximum(own, 1)
    squares = np.maximum(np.add.reduceat(values**2, starts) - own * mean**2, 0)
    rows, groups = total(own), total((own > 0).astype(np.float64))
    grand = total(own * mean) / np.maximum(rows, 1)
    between_df, within_df = groups - 1, rows - groups
    between = sums.ratio(total(own * (mean - grand[community]) ** 2), between_df)
    within = sums.ratio(total(squares), within_df)
    per_member = sums.ratio(rows - sums.ratio(total(own**2), rows), between_df)
    spread = np.maximum(within, NO_SPREAD)
    correlation = sums.ratio(between - spread, per_member * spread)
    chance = sums.ratio(np.full(cores.n, 2.0), between_df) + sums.ratio(np.full(cores.n, 2.0), within_df)
    error = np.sqrt(sums.ratio(chance, per_member**2) + CORRELATION_VARIANCE)
    varies = np.fmax(between, within) > NO_SPREAD
    return np.where(varies, (correlation - HONEST_CORRELATION) / error, np.nan)


BEHAVIOUR = (
    Statistic(
        "core_share", "behaviour", 1, (), core_share, percent_of_rest_log,
        "Of the accounts' requests {observed} are for what they have in common" + LAWFUL,
    ),
    Statistic(
        "dispersion", "behaviour", -1, (), dispersion, times_of_log,
        "The accounts' volumes differ {observed} as much as one common rate would make them" + LAWFUL,
    ),
    Statistic(
        "devoted_share", "behaviour", 1, (), devoted_share, percent_of_rest_log,
        "Of the accounts {observed} do little else than what they have in common" + LAWFUL,
    ),
    Statistic(
        "tokens", "behaviour", -1, ("tok_in", "tok_out"), tokens, signed,
        "How far lengths of prompts and answers tell the accounts apart, from what people's "
        "habits do, in standard errors: {observed} (low: one hand writes for all)" + LAWFUL,
    ),
)  # fmt: skip
