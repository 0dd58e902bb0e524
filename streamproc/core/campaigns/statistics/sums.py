"""Sums by community and by member.

All sums run in the order of the rows of one community or one member: a community's value does not depend on which
other communities stand beside it, to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Floats, Ints, Keys
    from streamproc.core.campaigns.cores import Cores


def of_members(cores: Cores, values: Floats | Ints | Bools) -> Floats:
    """Sum over members (members,) by community, shape (n,)."""
    return np.bincount(cores.member_community, weights=values, minlength=cores.n)


def count_uses(cores: Cores, which: Bools) -> Ints:
    """How many core uses are in `which` (uses,), by community, shape (n,)."""
    counts = np.zeros(cores.n, np.int64)
    used = np.flatnonzero(np.diff(cores.community_uses))
    counts[used] = np.add.reduceat(which, cores.community_uses[used], dtype=np.int64)
    return counts


def use_counts(cores: Cores) -> Ints:
    """Core uses of each member, shape (members,)."""
    return np.diff(cores.first_uses)


def sizes(cores: Cores) -> Ints:
    """Members of each community, shape (n,)."""
    return np.bincount(cores.member_community, minlength=cores.n)


def core_sizes(cores: Cores) -> Ints:
    """Core components of each community, shape (n,)."""
    return np.bincount(cores.core_community, minlength=cores.n)


DEVOTED = 0.7  # core share from which an account does little else


def core_share(cores: Cores) -> Floats:
    """Share of each member's requests that lie in the core, shape (members,)."""
    return cores.member_core / np.maximum(cores.member_all, np.maximum(cores.member_core, 1))


def first_use_ms(cores: Cores) -> tuple[Ints, Ints]:
    """Members that have a core use, ascending, and the event time of the first of each."""
    member = np.flatnonzero(use_counts(cores))
    return member, cores.use_ms[cores.first_uses[member]]


def ratio(above: Floats | Ints, below: Floats | Ints) -> Floats:
    """`above / below`, NaN where `below` is not positive."""
    out = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=out, where=np.asarray(below) > 0)
    return out


def log(values: Floats, smoothing: float = 0.0) -> Floats:
    """Natural logarithm of `values + smoothing`, NaN where that is not positive or NaN."""
    out = np.full(values.shape, np.nan)
    np.log(values + smoothing, out=out, where=values + smoothing > 0)
    return out


def seen(values: Floats, known: Floats | Ints, rows: Floats | Ints) -> Floats:
    """`values`, NaN where fewer than half of the `rows` that a statistic reads have its field."""
    return np.where(2 * known >= rows, values, np.nan)


def share_of_uses(cores: Cores, known: Bools, hit: Bools) -> Floats:
    """Share of the core uses that are `hit` among those `known`, blind where over half are not known."""
    told = count_uses(cores, known)
    return seen(ratio(count_uses(cores, known & hit), told), told, np.diff(cores.community_uses))


def share_of_members(cores: Cores, known: Bools, hit: Bools) -> Floats:
    """Share, weighted by core share, of the members that are `hit` among those `known`; blind as above."""
    weight = core_share(cores)
    share = ratio(of_members(cores, weight * (known & hit)), of_members(cores, weight * known))
    return seen(share, of_members(cores, known), sizes(cores))


def value_shares(cores: Cores, key: Keys) -> tuple[Ints, Keys, Floats]:
    """How members spread over the values of `key` (members,), weighted by core share, missing ones left out.

    Returns community, value and share of each value that a community has, in order of community and value.
    """
    known = np.flatnonzero(key)
    order = known[np.lexsort((key[known], cores.member_community[known]))]
    community, value, weight = cores.member_community[order], key[order], core_share(cores)[order]
    new = np.ones(order.size, np.bool_)
    new[1:] = (community[1:] != community[:-1]) | (value[1:] != value[:-1])
    starts = np.flatnonzero(new)
    total = np.bincount(community, weights=weight, minlength=cores.n)
    held = np.bincount(np.cumsum(new) - 1, weights=weight, minlength=starts.size)
    return community[starts], value[starts], ratio(held, total[community[starts]])


def distinct(cores: Cores, key: Keys) -> Ints:
    """Different values of `key` (members,) in each community, shape (n,); a missing one counts as its own."""
    community, _, _ = value_shares(cores, key)
    missing = np.bincount(cores.member_community[key == 0], minlength=cores.n)
    return np.bincount(community, minlength=cores.n) + missing


def largest(community: Ints, values: Floats, n: int) -> Floats:
    """Largest of the `values` by community, shape (n,), NaN for a community without one."""
    out = np.full(n, -np.inf)
    np.maximum.at(out, community, values)
    return np.where(np.isfinite(out), out, np.nan)
