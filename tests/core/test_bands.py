"""Values near each other: what shares a band is found, however the values came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamproc.core.campaigns import bands
from streamproc.core.campaigns.bands import AT_ONCE, BANDS, LARGE, Span
from streamproc.core.campaigns.kept import MERGED, SMALL, Kept

if TYPE_CHECKING:
    from streamproc.core.arrays import Keys, Rows

RADIUS = 8


def draw(rng: np.random.Generator, count: int, below: int = 2**64 - 1) -> Keys:
    """Ascending, distinct; many of them near others of them, by up to 16 bits in one band or across two."""
    centre = rng.integers(1, below, count, dtype=np.uint64)
    flips = rng.integers(0, 2**16, count, dtype=np.uint64) << rng.integers(0, 49, count, dtype=np.uint64)
    return np.unique(np.where(rng.random(count) < 0.5, rng.choice(centre, count) ^ flips, centre))


def brute(asked: Keys, held: Keys) -> dict[tuple[int, int], int]:
    """Distance by (position asked, value held) of all pairs within the radius that share a band."""
    found = {}
    for at, one in enumerate(asked):
        apart = held ^ one
        shared = np.zeros(held.size, np.bool_)
        for band in range(BANDS):
            shared |= (apart >> np.uint64(16 * band)) & np.uint64(0xFFFF) == 0
        for hit in np.flatnonzero(shared & (np.bitwise_count(apart) <= RADIUS)).tolist():
            found[at, int(held[hit])] = int(np.bitwise_count(apart[hit]))
    return found


def said(pairs: bands.Pairs) -> dict[tuple[int, int], int]:
    left, right, distance = pairs.left.tolist(), pairs.right.tolist(), pairs.distance.tolist()
    return {(a, b): c for a, b, c in zip(left, right, distance, strict=True)}


@pytest.mark.parametrize("count", [0, 1, 50, 3000, LARGE + 3000])
def test_all_pairs_that_share_a_band_are_found(count: int) -> None:
    rng = np.random.default_rng(count)
    held = draw(rng, count)
    asked = np.unique(np.concatenate([draw(rng, 40), held[:40], held[-40:] ^ np.uint64(5)]))
    expected = brute(asked, held)
    span = Span.of(held)
    assert said(span.near(asked, RADIUS)) == expected
    least = {at: min(d for (one, _), d in expected.items() if one == at) for at, _ in expected}
    nearest = {(at, value): d for (at, value), d in expected.items() if d == least[at]}
    assert said(span.nearest(asked, RADIUS)) == nearest
    assert span.find(asked).tolist() == [held.tolist().index(v) if v in held else -1 for v in asked.tolist()]


def test_more_values_than_are_asked_at_once_find_the_same() -> None:
    rng = np.random.default_rng(9)
    held = draw(rng, 2000)
    asked = np.sort(rng.choice(held, AT_ONCE + 500) ^ np.uint64(1 << 40))
    whole = said(Span.of(held).near(asked, RADIUS))
    assert {at for at, _ in whole} == set(range(asked.size))
    one_by_one = [said(Span.of(held).near(asked[at : at + 1], RADIUS)) for at in range(asked.size)]
    assert whole == {(at, value): d for at, found in enumerate(one_by_one) for (_, value), d in found.items()}


@pytest.mark.parametrize("count", [300, LARGE + 5000])
def test_a_span_merged_or_thinned_is_that_of_its_values(count: int) -> None:
    rng = np.random.default_rng(count)
    values = draw(rng, count)
    first = rng.random(values.size) < 0.7
    merged, order = Span.of(values[first]).merged(Span.of(values[~first]))
    assert np.concatenate([values[first], values[~first]])[order].tolist() == values.tolist()
    assert merged.turned.tolist() == Span.of(values).turned.tolist()
    assert merged.without(~first).turned.tolist() == Span.of(values[first]).turned.tolist()


def kept_of(values: Keys, ids: Rows, pieces: int) -> Kept:
    kept = Kept()
    for at in np.array_split(np.random.default_rng(1).permutation(values.size), pieces):
        at.sort()
        kept.insert(values[at], ids[at])
    return kept


@pytest.mark.parametrize("pieces", [2, 7, 200])
def test_kept_values_that_came_in_pieces_are_found_as_if_they_had_come_at_once(pieces: int) -> None:
    rng = np.random.default_rng(pieces)
    values = draw(rng, 20_000)
    ids = rng.permutation(values.size).astype(np.int32) // 3
    asked = np.unique(np.concatenate([draw(rng, 100), values[::100] ^ np.uint64(1 << 33)]))
    whole, parts = kept_of(values, ids, 1), kept_of(values, ids, pieces)
    assert len(parts) == values.size
    assert parts.find(values).tolist() == ids.tolist()
    assert parts.nearest(asked, RADIUS).tolist() == whole.nearest(asked, RADIUS).tolist()
    gone = np.arange(values.size) % 5 == 0
    whole.drop(gone)
    parts.drop(gone)
    assert parts.find(values).tolist() == np.where(gone[ids], -1, ids).tolist()
    assert parts.nearest(asked, RADIUS).tolist() == whole.nearest(asked, RADIUS).tolist()
    assert [array.tolist() for array in parts.of(~gone)] == [values[~gone[ids]].tolist(), ids[~gone[ids]].tolist()]


def test_the_nearest_over_all_spans_is_the_lowest_id_of_those_as_near() -> None:
    kept = Kept()
    base = 1 << 63
    for at, (value, component) in enumerate([(base | 3, 9), (base | 5, 4), (base | 1 << 20, 7)]):
        crowd = np.arange(1, (SMALL + 1) * (MERGED + 1) ** (2 - at), dtype=np.uint64) << np.uint64(24)
        mixed = np.unique(np.append(crowd | np.uint64(at << 16 | 0xF0F0), np.uint64(value)))
        kept.insert(mixed, np.where(mixed == value, component, 1000).astype(np.int32))
    assert len(kept.arrays()["lengths"]) == 3
    asked = np.array([base, base | 7, base | 3, base | (1 << 20) | 1], np.uint64)
    assert kept.nearest(asked, RADIUS).tolist() == [7, 4, 9, 7]
    assert kept.nearest(np.array([0x0123_4567_89AB_CDEF], np.uint64), RADIUS).tolist() == [-1]


def test_what_many_small_insertions_copy_grows_with_the_table_by_its_logarithm() -> None:
    rng = np.random.default_rng(4)
    values = rng.permutation(draw(rng, 100_000))
    kept, copied = Kept(), 0
    for part in np.array_split(values, 100):
        held = {id(one.span) for one in kept._parts}
        kept.insert(np.sort(part), np.zeros(part.size, np.int32))
        copied += sum(len(one) for one in kept._parts if id(one.span) not in held)
    assert copied < 12 * values.size, "anew each time it would be fifty times"
