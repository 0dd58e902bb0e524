"""Communities without a resolution limit: the same group among thousands and among hundreds of thousands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse
from sknetwork.clustering import Louvain

from streamproc.core.campaigns.communities import partition
from streamproc.core.campaigns.ties import Ties
from tests.core.streams import small_policy

if TYPE_CHECKING:
    from streamproc.core.arrays import Ints, Rows

GROUP = 100
Edges = tuple["Ints", "Ints", "Ints"]  # one end, the other, components in common


def edges(accounts: int, seed: int) -> Edges:
    """A planted group in the first rows, each tied to a dozen others of it; lawful groups of 10; stray ties."""
    rng = np.random.default_rng(seed)
    group = [(int(a), int(b)) for a in range(GROUP) for b in rng.choice(GROUP, 12, replace=False) if a < b]
    lawful = [
        (low + a, low + b)
        for low in range(GROUP, accounts - 10, 25)
        for a in range(10)
        for b in range(a + 1, 10)
        if rng.random() < 0.6
    ]
    stray = np.sort(rng.integers(0, accounts, (accounts // 10, 2)), axis=1)
    ends = np.concatenate([np.array(group), np.array(lawful), stray[stray[:, 0] < stray[:, 1]]])
    ends = np.unique(ends, axis=0)
    return ends[:, 0], ends[:, 1], rng.integers(2, 5, len(ends))


def ties_of(accounts: int, made: Edges, order: Ints | None = None) -> Ties:
    left, right, weight = made if order is None else (column[order] for column in made)
    both = (np.concatenate([left, right]), np.concatenate([right, left]))
    shared = sparse.csr_array((np.tile(weight, 2).astype(np.int32), both), shape=(accounts, accounts))
    return Ties(np.arange(accounts, dtype=np.int32), shared)


def communities(accounts: int, made: Edges, order: Ints | None = None) -> tuple[Rows, int]:
    return partition(ties_of(accounts, made, order), accounts, small_policy().communities)


@pytest.mark.parametrize("accounts", [2_500, 20_000, 100_000])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_planted_group_is_one_community_whatever_its_surroundings(accounts: int, seed: int) -> None:
    community, n = communities(accounts, edges(accounts, seed))
    label = int(np.argmax(np.bincount(community[:GROUP] + 1)[1:]))
    inside = community == label
    assert np.count_nonzero(inside[:GROUP]) >= 97
    assert np.count_nonzero(inside[GROUP:]) <= 10
    assert n > accounts // 50, "lawful groups are communities of their own"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_the_edges_does_not_matter(seed: int) -> None:
    made = edges(2_500, 4)
    order = np.random.default_rng(seed).permutation(made[0].size)
    first, second = communities(2_500, made), communities(2_500, made, order)
    assert first[0].tolist() == second[0].tolist()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_partition_is_that_of_scikit_networks_louvain(seed: int) -> None:
    """Only its inner loop is called, which is not its public face: this is what a new version must still do."""
    ties, limits = ties_of(2_500, edges(2_500, seed)), small_policy().communities
    tied = np.flatnonzero(np.diff(ties.shared.indptr))
    graph = sparse.csr_matrix(ties.shared[tied][:, tied].astype(np.float64))
    constant = limits.resolution * tied.size**2 / graph.data.sum()
    labels = Louvain(constant, "potts", return_probs=False, return_aggregate=False).fit_predict(graph)
    groups = {tuple(tied[labels == label].tolist()) for label in range(labels.max() + 1)}
    community, n = partition(ties, 2_500, limits)
    assert {tuple(np.flatnonzero(community == number).tolist()) for number in range(n)} == {
        group for group in groups if len(group) >= limits.min_accounts
    }


def test_communities_are_numbered_by_their_first_row_and_large_enough() -> None:
    community, n = communities(2_500, edges(2_500, 5))
    first = [int(np.flatnonzero(community == number)[0]) for number in range(n)]
    assert first == sorted(first)
    assert np.min(np.bincount(community[community >= 0])) >= small_policy().communities.min_accounts
    assert set(np.unique(community).tolist()) == set(range(-1, n))


@pytest.mark.parametrize(("size", "communities_found"), [(0, 0), (7, 0), (8, 1)])
def test_a_group_below_eight_accounts_is_none(size: int, communities_found: int) -> None:
    pairs = np.array([(a, b) for a in range(size) for b in range(a + 1, size)], np.int64).reshape(-1, 2)
    made = (pairs[:, 0], pairs[:, 1], np.full(len(pairs), 3))
    community, n = communities(20, made)
    assert n == communities_found
    assert np.count_nonzero(community >= 0) == size * communities_found


def test_two_groups_held_by_one_tie_are_two() -> None:
    pairs = [(base + a, base + b) for base in (0, 10) for a in range(10) for b in range(a + 1, 10)] + [(3, 13)]
    left, right = np.array(sorted(pairs)).T
    community, n = communities(20, (left, right, np.full(left.size, 2)))
    assert n == 2
    assert community.tolist() == [0] * 10 + [1] * 10
