"""Family identity: accounts that do alike and are unlike.  Never enough by itself to act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.campaigns.statistics import sums
from streamproc.core.campaigns.statistics.statistic import (
    LAWFUL,
    SMOOTHING,
    Statistic,
    count_of_log,
    effective_number,
    percent,
    times_of_ratio_log,
)

if TYPE_CHECKING:
    from streamproc.core.arrays import Floats, Keys
    from streamproc.core.campaigns.cores import Cores

FRESH_MS = 14 * 86_400_000


def client_variety(cores: Cores) -> Floats:
    """Entropy of the members' client families, in nats."""
    return _entropy(cores, cores.member_client)


def pathway_variety(cores: Cores) -> Floats:
    """Entropy of the members' pathways, in nats."""
    return _entropy(cores, cores.member_pathway)


def shared_client(cores: Cores) -> Floats:
    """Logarithm of the commonest client's share among members over its share in the population.

    A client is family, version and TLS fingerprint together.  Both shares are smoothed by 5 points: a client
    that one account alone has is rare everywhere, and shared by nobody.
    """
    community, client, share = sums.value_shares(cores, cores.member_client_full)
    population = cores.population.client_full
    population = np.sort(population[population > 0])
    holders = np.searchsorted(population, client, side="right") - np.searchsorted(population, client, side="left")
    common = holders / max(population.size, 1)
    order = np.lexsort((-common, share, community))
    last = order[np.flatnonzero(np.diff(np.append(community[order], -1)))]  # commonest of each community
    value = np.full(cores.n, np.nan)
    value[community[last]] = np.log((share[last] + SMOOTHING) / (common[last] + SMOOTHING))
    return _seen(cores, cores.member_client_full, value)


def organisations(cores: Cores) -> Floats:
    """Logarithm of the number of organisations; an account without one counts as its own."""
    different = sums.distinct(cores, cores.member_org).astype(np.float64)
    return _seen(cores, cores.member_org, sums.log(different))


def fresh(cores: Cores) -> Floats:
    """Share of members, weighted by core share, that signed up less than 14 days before the view's end."""
    known = cores.member_signup_ms >= 0
    return sums.share_of_members(cores, known, cores.end_ms - cores.member_signup_ms < FRESH_MS)


def _entropy(cores: Cores, key: Keys) -> Floats:
    community, _, share = sums.value_shares(cores, key)
    entropy = np.bincount(community, weights=-share * np.log(share), minlength=cores.n)
    return _seen(cores, key, np.where(sums.of_members(cores, key > 0) > 0, np.maximum(entropy, 0.0), np.nan))


def _seen(cores: Cores, key: Keys, value: Floats) -> Floats:
    return sums.seen(value, sums.of_members(cores, key > 0), sums.sizes(cores))


IDENTITY = (
    Statistic(
        "client_variety", "identity", 1, ("ua",), client_variety, effective_number,
        "The accounts are spread over {observed} kinds of client software" + LAWFUL,
    ),
    Statistic(
        "shared_client", "identity", -1, ("ua", "ua_version", "tls_fp"), shared_client, times_of_ratio_log,
        "The accounts' commonest client is {observed} as common among them as everywhere, "
        "where a tool that they share would stand out" + LAWFUL,
    ),
    Statistic(
        "pathway_variety", "identity", 1, ("pathway",), pathway_variety, effective_number,
        "The accounts come in by {observed} pathways (API, web, clouds)" + LAWFUL,
    ),
    Statistic(
        "organisations", "identity", 1, ("org",), organisations, count_of_log,
        "The accounts belong to {observed} organisations" + LAWFUL,
    ),
    Statistic(
        "fresh", "identity", 1, ("signup_ms",), fresh, percent,
        "{observed} of the accounts signed up less than 14 days ago" + LAWFUL,
    ),
)  # fmt: skip
