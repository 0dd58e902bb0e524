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


def belonging(
    views: Sequence[View], core: Rows, hit: Bools, policy: MembersPolicy
) -> tuple[CoreTraffic, Bools, Floats]:
    """Traffic in `core` in the first (longest) view, which account rows are members, and each component's exclusivity.

    The share may be that of any view: an account that began lawfully shows its harvest in the recent one.  `hit`
    (rows,) are the accounts of the campaign's last hit, among whom many have too few requests yet.
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
    exclusive = exclusivity(views[0], likely | hit)
    mean = _mean_exclusivity(views[0], inside, exclusive)
    traffic = CoreTraffic(traffic.requests, traffic.components, share, mean)
    return traffic, likely & (mean >= policy.min_exclusivity), exclusive


def exclusivity(view: View, members: Bools) -> Floats:
    """Of each component's holders, the share that are `members` (rows,); shape (component ids,)."""
    held = np.bincount(view.pair_component[members[view.pair_account]], minlength=view.holders.size)
    share: Floats = held / np.maximum(view.holders, 1)
    return share


def _mean_exclusivity(view: View, inside: Bools, exclusive: Floats) -> Floats:
    """Mean exclusivity of the core components that each account uses, shape (rows,)."""
    account, component = view.pair_account[inside], view.pair_component[inside]
    total = np.bincount(account, weights=exclusive[component], minlength=view.requests.size)
    return total / np.maximum(np.bincount(account, minlength=view.requests.size), 1)
