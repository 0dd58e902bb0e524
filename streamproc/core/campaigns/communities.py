"""Communities: accounts held together by ties, by an objective without a resolution limit.

The constant Potts model (Traag, Van Dooren and Nesterov 2011, "Narrow scope for resolution-limit-free community
detection") optimised by Louvain: the same group is found among thousands and among hundreds of thousands of accounts.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sknetwork.clustering import Louvain

from streamproc.core.arrays import Ints, Rows, starts_of
from streamproc.core.campaigns.ties import Ties
from streamproc.core.policy import CommunitiesPolicy


def partition(ties: Ties, rows: int, policy: CommunitiesPolicy) -> tuple[Rows, int]:
    """The community of each account row (rows,), -1 for none, and how many there are.

    Communities have at least `min_accounts` accounts and are numbered by their smallest row.
    """
    community = np.full(rows, -1, np.int32)
    tied = np.flatnonzero(np.diff(ties.shared.indptr))
    if tied.size < policy.min_accounts:
        return community, 0
    labels = _louvain(ties.shared, tied, policy.resolution)
    accounts = ties.accounts[tied]
    order = np.lexsort((accounts, labels))
    starts = starts_of(labels[order])
    sizes = np.diff(np.append(starts, labels.size))
    large = sizes >= policy.min_accounts
    first_account = accounts[order[starts]]
    rank = np.full(starts.size, -1, np.int32)
    rank[np.flatnonzero(large)[np.argsort(first_account[large])]] = np.arange(np.count_nonzero(large))
    community[accounts[order]] = np.repeat(rank, sizes)
    return community, int(np.count_nonzero(large))


def _louvain(shared: sparse.csr_array, tied: Ints, resolution: float) -> Ints:
    """A label for each of the nodes `tied`, those that have a tie at all."""
    node = np.zeros(shared.shape[0], np.int32)
    node[tied] = np.arange(tied.size)
    ends = np.append(shared.indptr[tied], shared.indptr[-1])
    graph = sparse.csr_matrix(
        (shared.data.astype(np.float64), node[shared.indices], ends), shape=(tied.size, tied.size)
    )
    # scikit-network's Potts objective weighs nodes by 1/n and edges by their share of all weight: undo both.
    constant = resolution * tied.size**2 / graph.data.sum()
    model = Louvain(
        modularity="potts",
        resolution=constant,
        shuffle_nodes=False,
        random_state=0,
        return_probs=False,
        return_aggregate=False,
    )
    return np.asarray(model.fit_predict(graph), np.int64)
