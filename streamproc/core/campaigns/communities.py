"""Communities: accounts held together by ties, by an objective without a resolution limit.

The constant Potts model (Traag, Van Dooren and Nesterov 2011, "Narrow scope for resolution-limit-free community
detection") optimised by Louvain: the same group is found among thousands and among hundreds of thousands of accounts.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sknetwork.clustering.louvain_core import optimize_core

from streamproc.core.arrays import Floats, Ints, Rows, starts_of
from streamproc.core.campaigns.ties import Ties
from streamproc.core.policy import CommunitiesPolicy

TOLERANCE = 1e-3  # gain, as a share of all weight, below which a pass is the last: scikit-network's own


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
    """A label for each of the nodes `tied`, those that have a tie at all.

    scikit-network's inner loop without what `Louvain.fit` does around it, which takes longer: it makes the graph
    symmetric that is so already.  The loop weighs a node by 1/n and an edge by its share of all weight: `constant`
    undoes both.
    """
    node = np.zeros(shared.shape[0], np.int32)
    node[tied] = np.arange(tied.size)
    ends = np.append(shared.indptr[tied], shared.indptr[-1])
    graph = sparse.csr_array((shared.data, node[shared.indices], ends), shape=(tied.size, tied.size))
    total = int(graph.data.sum())
    constant = resolution * tied.size**2 / total
    sizes, labels = np.ones(tied.size), np.arange(tied.size)
    while True:
        moved, gain = _move(graph, total, sizes / tied.size, constant)
        labels = moved[labels]
        sizes = np.bincount(moved, weights=sizes)
        if sizes.size == 1 or gain <= TOLERANCE:
            return labels
        graph = _aggregate(graph, moved, sizes.size)


def _move(graph: sparse.csr_array, total: int, weight: Floats, constant: float) -> tuple[Ints, float]:
    """Nodes moved between communities, one at a time, until little is gained: labels 0, 1, .. and the gain."""
    weights = weight.astype(np.float32)
    labels, gain = optimize_core(
        np.arange(weights.size, dtype=graph.indices.dtype), graph.indices, graph.indptr,
        (graph.data / total).astype(np.float32),
        weights, weights, weights.copy(), weights.copy(), np.zeros_like(weights),
        (graph.diagonal() / total).astype(np.float32), constant, TOLERANCE,
    )  # fmt: skip
    return np.unique(np.asarray(labels), return_inverse=True)[1], gain


def _aggregate(graph: sparse.csr_array, labels: Ints, n: int) -> sparse.csr_array:
    """The graph between the `n` communities of nodes, with what lies within each on the diagonal."""
    to_communities = sparse.csr_array((graph.data, labels[graph.indices], graph.indptr), shape=(labels.size, n))
    ones = np.ones(labels.size, np.int32)
    holds = sparse.csc_array((ones, labels, np.arange(labels.size + 1)), shape=(n, labels.size)).tocsr()
    return holds @ to_communities
