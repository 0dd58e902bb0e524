"""Names for the array types that the core passes around, and orders and runs of equal values in linear time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Keys: TypeAlias = NDArray[np.uint64]  # 64-bit keys; 0 is "missing"
Ints: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.int32]  # rows of a table or ids; -1 is "none"
Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]  # kept by the million
Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
Numbers: TypeAlias = NDArray[np.integer[Any]]  # whole numbers of any width
Array: TypeAlias = NDArray[np.generic]


def starts_of(sorted_values: NDArray[np.generic]) -> Ints:
    """Where each run of equal values begins in a sorted array, shape (runs,)."""
    if not sorted_values.size:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], sorted_values[1:] != sorted_values[:-1])))


def rank_within(sorted_values: NDArray[np.generic]) -> Ints:
    """Position of each element within its run of equal values, 0 first, shape as given."""
    starts = starts_of(sorted_values)
    lengths = np.diff(np.append(starts, sorted_values.size))
    return np.arange(sorted_values.size) - np.repeat(starts, lengths)


def stable_order(values: Ints | Rows, bound: int) -> Rows:
    """The stable order of whole numbers in [0, bound), shape (n,), in time linear in n and `bound`.

    scipy's transposition of a sparse matrix is a counting sort: three times as fast as numpy's sort of 16 bits.
    """
    order: Rows = _by_column(values, bound, np.ones(values.size, np.int8)).indices
    return order


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of whole numbers that occur, by left and then right, and who each one is.

    `order` lists the positions of the first pair's occurrences as they came, then those of the second, and so on.
    """

    left: Rows  # (pairs,)
    right: Rows  # (pairs,)
    count: Rows  # (pairs,) occurrences
    order: Rows  # (n,)


def pairs_of(left: Rows, right: Rows, shape: tuple[int, int]) -> Pairs:
    """The different pairs of `left` and `right` (n,), which are in [0, shape[0]) and [0, shape[1]); linear in all."""
    by_right = _by_column(right, shape[1], left)
    both = sparse.csr_array((by_right.indices, by_right.data, by_right.indptr), shape=(shape[1], shape[0])).tocsc()
    new = np.ones(left.size, np.bool_)
    np.not_equal(both.indices[1:], both.indices[:-1], out=new[1:])
    new[both.indptr[:-1][np.diff(both.indptr) > 0]] = True
    starts = np.flatnonzero(new)
    ends = np.searchsorted(starts, both.indptr)
    return Pairs(
        left=np.repeat(np.arange(shape[0], dtype=np.int32), np.diff(ends)),
        right=both.indices[starts],
        count=np.diff(np.append(starts, left.size)).astype(np.int32),
        order=both.data,
    )


def _by_column(column: Ints | Rows, columns: int, entries: Array) -> sparse.csc_array:
    """A matrix with one of the `entries` in each row, at `column`, by column."""
    ends = np.arange(column.size + 1, dtype=np.int32)
    return sparse.csr_array((entries, column, ends), shape=(column.size, columns)).tocsc()
