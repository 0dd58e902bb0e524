"""Who belongs to a campaign: accounts whose traffic lies in its stable core, and in components that members use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.arrays import Bools, Floats, Ints, Rows
    from streamproc.core.campaigns.memory import Hit
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import MembersPolicy

# Hits that a component must be in, by the number of hits looked at: one bad round, in which the partition joins a
# lawful group with the pool, must not bring that group's components in.
STABLE_HITS = {1: 2, 2: 2, 3: 2, 4: 3}


@dataclass(frozen=True, slots=True)
class CoreTraffic:
    """Traffic of each account row in a set of components; every array has shape (rows,)."""

    requests: Ints  # core requests
    components: Ints  # different core components
    share: Floats  # core requests / all requests of the view
    exclusive: Floats  # set by `belonging`: mean over its components of (holders that are members / holders)


def stable_core(hits: Sequence[Hit]) -> Rows:
    """Components in the core of enough of `hits` (at most four), ascending."""
    counts = Counter(component for hit in hits for component in hit.core.tolist())
    needed = STABLE_HITS[len(hits)]
    return np.array(sorted(c for c, n in counts.items() if n >= needed), np.int32)


def core_traffic(view: View, core: Rows) -> tuple[CoreTraffic, Bools]:
    """Each account's traffic in `core`, and which of the view's pairs lie in it."""
    rows = view.requests.size
    member_of_core = np.zeros(view.holders.size, np.bool_)
    member_of_core[core] = True
    inside = member_of_core[view.pair_component]
    account = view.pair_account[inside]
    requests = np.bincount(account, weights=view.pair_count[inside], minlength=rows).astype(np.int64)
    components = np.bincount(account, minlength=rows)
    share = requests / np.maximum(view.requests, 1)
    return CoreTraffic(requests, components, share, np.zeros(rows)), inside


def belonging(views: Sequence[View], core: Rows, policy: MembersPolicy) -> tuple[CoreTraffic, Bools]:
    """Traffic in `core` in the first (longest) view, and which account rows are members.

    The share may be that of any view: an account that began lawfully shows its harvest in the recent one.
    """
    traffic, inside = core_traffic(views[0], core)
    share = traffic.share
    for view in views[1:]:
        recent, _ = core_traffic(view, core)
        enough = recent.requests >= policy.min_requests
        share = np.maximum(share, np.where(enough, recent.share, 0.0))
    likely = (
        (traffic.requests >= policy.min_requests)
        & (traffic.components >= policy.min_components)
        & (share >= policy.min_share)
    )
    exclusive = _exclusivity(views[0], inside, likely)
    traffic = CoreTraffic(traffic.requests, traffic.components, share, exclusive)
    return traffic, likely & (exclusive >= policy.min_exclusivity)


def _exclusivity(view: View, inside: Bools, likely: Bools) -> Floats:
    account, component = view.pair_account[inside], view.pair_component[inside]
    members = np.bincount(component[likely[account]], minlength=view.holders.size)
    exclusive = members / np.maximum(view.holders, 1)
    total = np.bincount(account, weights=exclusive[component], minlength=likely.size)
    return total / np.maximum(np.bincount(account, minlength=likely.size), 1)
