"""Ties: pairs of accounts that use at least two rare components in common.

Computed at the round from the view and never stored: a sparse product of accounts x components with its transpose,
the transpose restricted to a bounded sample of each component's holders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from streamproc.core.arrays import Bools, Keys, Rows
from streamproc.core.campaigns.view import View, count_pairs
from streamproc.core.policy import TiesPolicy

ROWS_AT_A_TIME = 20_000  # accounts multiplied at once: bounds the memory of a product
PARTS = 3  # of a product, at least: each leaves out what lies behind its accounts


@dataclass(frozen=True, slots=True)
class Ties:
    """An undirected weighted graph; node i is the account at row `accounts[i]`, in ascending order of account key."""

    accounts: Rows  # (nodes,)
    shared: sparse.csr_array  # (nodes, nodes) symmetric: components in common, min_shared or more


def tie(view: View, account_key: Keys, policy: TiesPolicy) -> Ties:
    """The ties of a view.  `account_key` (rows,) decides which holders stand for a component with very many."""
    most = max(policy.max_holders, int(policy.max_holders_share * view.active))
    rare = (view.holders >= policy.min_holders) & (view.holders <= most)
    chosen = np.flatnonzero(rare.take(view.pair_component))
    holder, component = view.pair_account[chosen], view.pair_component[chosen]
    accounts = np.flatnonzero(np.bincount(holder, minlength=view.requests.size)).astype(np.int32)
    accounts = accounts[np.argsort(account_key[accounts], kind="stable")]
    node = np.empty(view.requests.size, np.int32)
    node[accounts] = np.arange(accounts.size, dtype=np.int32)
    column = np.cumsum(rare, dtype=np.int32) - 1
    uses = count_pairs(node[holder], column[component], (accounts.size, int(np.count_nonzero(rare))))
    upper = _product(uses, _first_of_each_column(uses, policy.sampled_holders), policy.min_shared).T.tocsr()
    return Ties(accounts, upper + upper.T.tocsr())


def _first_of_each_column(uses: sparse.csr_array, most: int) -> sparse.csr_array:
    """The transpose of `uses` with at most so many entries a row: the holders with the smallest keys."""
    by_column = uses.T.tocsr()
    position = np.arange(by_column.indices.size) - np.repeat(by_column.indptr[:-1], np.diff(by_column.indptr))
    return _keep(by_column, position < most)


def _product(uses: sparse.csr_array, sampled: sparse.csr_array, min_shared: int) -> sparse.csr_array:
    """Components that each account shares with each sampled holder before it, where they are enough.

    That is all there is to see: of two holders the one with the smaller key is sampled wherever the other is.
    """
    parts = []
    rows = max(min(ROWS_AT_A_TIME, -(-uses.shape[0] // PARTS)), 1)
    for start in reversed(range(0, max(uses.shape[0], 1), rows)):
        sampled = _keep(sampled, sampled.indices < start + rows)
        part = uses[start : start + rows] @ sampled
        row = np.repeat(np.arange(start, start + part.shape[0], dtype=np.int32), np.diff(part.indptr))
        parts.append(_keep(part, (part.data >= min_shared) & (part.indices < row)))
    return sparse.vstack(parts[::-1], format="csr")


def _keep(matrix: sparse.csr_array, kept: Bools) -> sparse.csr_array:
    """The entries of a matrix where `kept` (entries,) holds."""
    entries = np.flatnonzero(kept)
    ends = np.searchsorted(entries, matrix.indptr).astype(matrix.indptr.dtype)  # wider ones would widen the indices
    return sparse.csr_array((matrix.data[entries], matrix.indices[entries], ends), shape=matrix.shape)
