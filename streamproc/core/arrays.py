"""Names for the array types that the core passes around, and the one way to write them down."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Keys: TypeAlias = NDArray[np.uint64]  # 64-bit keys; 0 is "missing"
Ints: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.int32]  # rows of a table or ids; -1 is "none"
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
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


def stable_order(values: Ints, bound: int) -> Ints:
    """The stable order of whole numbers in [0, bound), shape (n,); by numpy's radix sort where they fit 16 bits."""
    narrow = values.astype(np.uint16) if bound <= 1 << 16 else values
    return np.argsort(narrow, kind="stable")
