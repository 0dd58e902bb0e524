"""Random draws that repeat: one generator per part of a stream, quantile tables, and keys from keys."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Ids = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Quantiles = tuple[tuple[float, float], ...]

DAY_S = 86_400.0
HOUR_S = 3_600.0


def generator(seed: int, *parts: str) -> np.random.Generator:
    """Return the generator of one named part: adding a part never shifts the draws of another."""
    words = [seed, *(zlib.crc32(part.encode()) for part in parts)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def new_ids(rng: np.random.Generator, n: int) -> Ids:
    """Return `n` random 64-bit ids, none of them 0 (0 stands for a missing value)."""
    return rng.integers(1, 2**64 - 1, size=n, dtype=np.uint64)


def mix(*columns: Any) -> Ids:
    """Mix columns of integers into one column of 64-bit keys (SplitMix64's finaliser, column by column)."""
    key = np.uint64(0x9E3779B97F4A7C15)
    out: Any = key
    with np.errstate(over="ignore"):
        for column in columns:
            out = (out ^ np.asarray(column).astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
            out = (out ^ (out >> np.uint64(31))) * np.uint64(0x94D049BB133111EB)
            out = (out ^ (out >> np.uint64(29))) + key
    return np.asarray(out, dtype=np.uint64)


def normal_of(keys: Ids) -> Floats:
    """Return a standard normal number for each key, always the same for the same key."""
    return np.asarray(ndtri(((keys >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53), dtype=np.float64)


def pick(rng: np.random.Generator, weights: Sequence[float] | Floats, n: int) -> Ints:
    """Draw `n` codes 0..len(weights)-1 with the given weights."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    place = np.searchsorted(edges, rng.random(n) * edges[-1], side="right")
    return np.asarray(np.minimum(place, len(edges) - 1), dtype=np.int64)


def lognormal(rng: np.random.Generator, median: float, sigma: float, n: int) -> Floats:
    """Draw `n` lognormal numbers with the given median."""
    return np.asarray(median * np.exp(sigma * rng.standard_normal(n)), dtype=np.float64)


def chance(rng: np.random.Generator, share: float | Floats, n: int) -> Bools:
    """Draw `n` yes or no, yes with the given share."""
    return np.asarray(rng.random(n) < share, dtype=np.bool_)


def between(rng: np.random.Generator, bounds: tuple[float, float], n: int) -> Floats:
    """Draw `n` numbers evenly between two bounds."""
    return np.asarray(bounds[0] + (bounds[1] - bounds[0]) * rng.random(n), dtype=np.float64)


def one(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw one number evenly between two bounds."""
    return float(bounds[0] + (bounds[1] - bounds[0]) * rng.random())


def whole(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    """Draw one whole number between two bounds, both of which can come."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def quantile(table: Quantiles, shares: Floats) -> Floats:
    """Read a table of (share, value > 0) at `shares`, straight lines in the logarithm between its rows."""
    at, value = np.array(table, dtype=np.float64).T
    return np.asarray(np.exp(np.interp(shares, at, np.log(value))), dtype=np.float64)


def ranks_within(keys: Ints) -> Ints:
    """Return each row's place 0.. among the rows of its key, in row order."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    return place


def stretch(counts: Ints) -> tuple[Ints, Ints]:
    """Return, for rows that repeat `counts` times, each copy's source row and its place among the copies."""
    source = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    return source, place


def running_sum(steps: Floats, source: Ints) -> Floats:
    """Return the running sum of `steps` that begins anew wherever `source` (sorted) changes."""
    if not len(steps):
        return steps
    total = np.cumsum(steps)
    first = np.searchsorted(source, source, side="left")
    return np.asarray(total - (total[first] - steps[first]), dtype=np.float64)
