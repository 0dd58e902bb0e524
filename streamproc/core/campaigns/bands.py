"""Near values by bands: which 64-bit SimHashes lie within a few bits of each other.

Candidates share one of four 16-bit bands, which finds every pair up to 3 bits apart and most up to 8 (Manku, Jain and
Das Sarma 2007, "Detecting near-duplicates for web crawling").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamproc.core.arrays import Bools, Bytes, Ints, Keys

Table: TypeAlias = NDArray[np.uint64]  # (BANDS, n)

BANDS = 4
BAND_BITS = 16
VALUE_BITS = BANDS * BAND_BITS
MAX_CANDIDATES = 128  # looked at per band and value: bounds the work when many kept values share a band
AT_ONCE = 1024  # values looked up at once: bounds the memory of their candidates
NOWHERE = np.uint8(255)  # beyond any distance
LARGE = 1 << 14  # values from which a span counts its bands, as looking them up by halving costs more

_TURNS = np.arange(BANDS, dtype=np.uint64)[:, None] * np.uint64(BAND_BITS)
_BACK = (np.uint64(VALUE_BITS) - _TURNS) % np.uint64(VALUE_BITS)
_SHIFT = np.uint64(VALUE_BITS - BAND_BITS)
_BELOW = np.uint64((1 << (VALUE_BITS - BAND_BITS)) - 1)
_BAND = np.arange(BANDS, dtype=np.int64)[:, None]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a value asked for (its position, `left`) and a value held within the radius of it (`right`)."""

    left: Ints
    right: Keys
    distance: Ints


class Span:
    """Ascending, distinct values, findable by each of their bands.

    Row i of `turned` holds the values turned left by i bands, ascending: those that share a band stand side by side,
    with all that is needed to compare them.  Row 0 is the values themselves.  32 bytes a value.
    """

    def __init__(self, turned: Table) -> None:
        self.turned = turned
        self.values: Keys = turned[0]  # ascending
        self._starts: NDArray[np.int32] | None = None  # (BANDS, bands + 1) where each band's values begin
        if len(self) >= LARGE:
            counts = np.stack([np.bincount(row >> _SHIFT, minlength=1 << BAND_BITS) for row in turned])
            self._starts = np.zeros((BANDS, (1 << BAND_BITS) + 1), np.int32)
            np.cumsum(counts, axis=1, out=self._starts[:, 1:])

    @classmethod
    def of(cls, values: Keys) -> Span:
        """The span of `values`, ascending and distinct."""
        turned = _turn(values)
        turned[1:].sort(axis=1)
        return cls(turned)

    def __len__(self) -> int:
        return self.values.size

    def find(self, values: Keys) -> Ints:
        """The position of each of `values` (n,), -1 where it is not held."""
        if not len(self):
            return np.full(values.size, -1)
        at = self.values.searchsorted(values)
        at[at == len(self)] = 0
        at[self.values[at] != values] = -1
        return at

    def merged(self, other: Span) -> tuple[Span, Ints]:
        """The values of both, which have none in common, and where each stood in the values of one after the other."""
        turned = np.concatenate([self.turned, other.turned], axis=1)
        order = np.argsort(turned[0], kind="stable")  # timsort: two ascending runs are merged in one pass
        turned[0] = turned[0, order]
        turned[1:].sort(axis=1, kind="stable")
        return Span(turned), order

    def without(self, gone: Bools) -> Span:
        """The values but those where `gone` (n,) holds."""
        turned = np.empty((BANDS, len(self) - int(np.count_nonzero(gone))), np.uint64)
        turned[0] = self.values[~gone]
        lost = _turn(self.values[gone])
        for row in range(1, BANDS):
            held, kept = self.turned[row], np.ones(len(self), np.bool_)
            kept[held.searchsorted(lost[row])] = False
            turned[row] = held[kept]
        return Span(turned)

    def near(self, values: Keys, radius: int) -> Pairs:
        """All pairs of `values` with values held, at most `radius` bits apart; a pair may come more than once."""
        return _in_parts(self._near, values, radius)

    def nearest(self, values: Keys, radius: int) -> Pairs:
        """Of each value's pairs those of the least distance."""
        return _in_parts(self._nearest, values, radius)

    def _near(self, values: Keys, radius: int) -> Pairs:
        found = self._candidates(values)
        return found.pairs(np.flatnonzero(found.distance <= radius))

    def _nearest(self, values: Keys, radius: int) -> Pairs:
        found = self._candidates(values)
        least = np.full(found.counts.size, NOWHERE)
        some = found.counts.nonzero()[0]
        least[some] = np.minimum.reduceat(found.distance, found.first[some]) if some.size else NOWHERE
        best = least.reshape(BANDS, values.size).min(axis=0)
        best[best > radius] = NOWHERE
        return found.pairs((found.distance == np.tile(best, BANDS).repeat(found.counts)).nonzero()[0])

    def _candidates(self, values: Keys) -> _Candidates:
        asked = _turn(values)
        low, high = self._bounds(asked)
        counts = np.minimum(high - low, MAX_CANDIDATES).ravel()
        first = np.cumsum(counts) - counts
        at = ((low + _BAND * len(self)).ravel() - first).repeat(counts)
        at += np.arange(at.size)
        held = self.turned.ravel()[at]
        return _Candidates(counts, first, held, np.bitwise_count(held ^ asked.ravel().repeat(counts)))

    def _bounds(self, asked: Table) -> tuple[Ints, Ints]:
        """Where the values that share each band with those `asked` begin and end, each of shape (BANDS, n)."""
        if self._starts is not None:
            at = (asked >> _SHIFT).astype(np.int64) + _BAND * self._starts.shape[1]
            starts = self._starts.ravel()
            return starts[at].astype(np.int64), starts[at + 1].astype(np.int64)
        if not len(self):
            return np.zeros(asked.shape, np.int64), np.zeros(asked.shape, np.int64)
        low, high = np.empty(asked.shape, np.int64), np.empty(asked.shape, np.int64)
        for row, (held, wanted) in enumerate(zip(self.turned, asked, strict=True)):
            low[row] = high[row] = at = held.searchsorted(wanted & ~_BELOW)
            shared = (held.take(at, mode="clip") ^ wanted <= _BELOW).nonzero()[0]  # few are: look only these up again
            high[row, shared] = held.searchsorted(wanted[shared] | _BELOW, side="right")
        return low, high


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Values held that share a band with those asked for, by band and by value asked for."""

    counts: Ints  # (BANDS * n,) candidates of each
    first: Ints  # (BANDS * n,) position of the first of each
    held: Keys  # (candidates,) as turned for their band
    distance: Bytes  # (candidates,)

    def pairs(self, chosen: Ints) -> Pairs:
        """The pairs of the candidates at `chosen`, ascending."""
        band, left = np.divmod(self.first.searchsorted(chosen, side="right") - 1, self.counts.size // BANDS)
        held = self.held[chosen]
        values = (held >> _TURNS[band, 0]) | (held << _BACK[band, 0])
        return Pairs(left, values, self.distance[chosen].astype(np.int64))


def _in_parts(find: Callable[[Keys, int], Pairs], values: Keys, radius: int) -> Pairs:
    """What `find` gives for all values, a bounded number of them at once."""
    if values.size <= AT_ONCE:
        return find(values, radius)
    starts = range(0, values.size, AT_ONCE)
    parts = [find(values[start : start + AT_ONCE], radius) for start in starts]
    return Pairs(
        np.concatenate([part.left + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.distance for part in parts]),
    )


def _turn(values: Keys) -> Table:
    """`values` turned left by each number of bands, shape (BANDS, n)."""
    turned = np.empty((BANDS, values.size), np.uint64)
    np.left_shift(values, _TURNS, out=turned)
    turned[1:] |= values >> _BACK[1:]
    return turned
