"""64-bit keys of strings: our own mix over their UTF-8 bytes, so that no library's release can change them.

A string is cut into little-endian 8-byte words, the last one padded with NULs.  Word j is multiplied by an
odd constant of its position and finished (`_finish`); the sum of these, plus the length in bytes times a
constant, is finished once more.  A word of zeros adds nothing, so a word past a string's end changes no key.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Keys: TypeAlias = NDArray[np.uint64]
Ints: TypeAlias = NDArray[np.int64]

WORD_BYTES = 8
SIMHASH_DIGITS = 16
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_LENGTH = np.uint64(0xC2B2AE3D27D4EB4F)  # weight of the length, so that trailing NULs count
_INSTEAD_OF_ZERO = np.uint64(1)  # 0 is the key of the empty string alone
_LOWEST_BYTES = np.array([2 ** (8 * count) - 1 for count in range(WORD_BYTES + 1)], np.uint64)
_SHIFT = np.uint64(33)
_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
_HEX = re.compile(r"[0-9a-fA-F]{16}")


def key64(strings: Sequence[str]) -> Keys:
    """The key of each string, shape (n,): 0 for the empty string and for no other.

    A string's key depends on its UTF-8 bytes alone, not on its neighbours in the column.  Time grows with n
    times the longest string: hand in fields whose length the contract limits.
    """
    text, starts, lengths = _spans(strings)
    longest = int(np.max(lengths, initial=0))
    if not longest:
        return np.zeros(len(strings), np.uint64)
    text += b"\0" * (longest + WORD_BYTES)
    at_any_byte = np.ndarray(len(text) - WORD_BYTES + 1, "<u8", text, strides=(1,))
    whole_words = int(np.min(lengths)) // WORD_BYTES  # these lie within every string
    total = lengths.astype(np.uint64) * _LENGTH
    for at, constant in enumerate(_odd(-(-longest // WORD_BYTES))):
        words = at_any_byte[starts + at * WORD_BYTES].astype(np.uint64, copy=False)
        if at >= whole_words:
            words &= _LOWEST_BYTES[np.clip(lengths - at * WORD_BYTES, 0, WORD_BYTES)]
        words *= constant
        total += _finish(words)
    return _finished(total, lengths > 0)


def combine(*columns: Keys) -> Keys:
    """One key for each row of several key columns, shape (n,); their order counts; 0 where all are 0."""
    total = np.zeros_like(columns[0])
    present = np.zeros(total.shape, np.bool_)
    for column, constant in zip(columns, _odd(len(columns)), strict=True):
        total += _finish(column * constant)
        present |= column != 0
    return _finished(total, present)


def simhash64(digits: Sequence[str]) -> tuple[Keys, NDArray[np.bool_]]:
    """The values of 64-bit SimHashes written as 16 hexadecimal digits, shape (n,), and which are present.

    Anything else that is not empty gets its `key64`: still good for equality, near to nothing.  The empty
    string is absent and 0.
    """
    everything = "".join(digits)
    if len(everything) == SIMHASH_DIGITS * len(digits) and set(map(len, digits)) == {SIMHASH_DIGITS}:
        values = _parsed(everything)
        if values is not None:
            return values, np.ones(len(digits), np.bool_)
    return _simhash64_mixed(digits)


def spread64(numbers: NDArray[np.integer]) -> Keys:
    """A key of each whole number >= 0, shape as given; 0 for 0, and no two numbers share one."""
    return _finish(numbers.astype(np.uint64) * _odd(1)[0])


def _simhash64_mixed(digits: Sequence[str]) -> tuple[Keys, NDArray[np.bool_]]:
    values = key64(digits)
    written = [at for at, string in enumerate(digits) if _HEX.fullmatch(string)]
    parsed = _parsed("".join([digits[at] for at in written]))
    if parsed is not None:
        values[written] = parsed
    present = np.fromiter(map(len, digits), np.int64, len(digits)) > 0
    return values, present


def _parsed(everything: str) -> Keys | None:
    """The values of the joined digits, or nothing if one of them is no digit."""
    try:
        raw = bytes.fromhex(everything)
    except ValueError:
        return None
    if 2 * len(raw) != len(everything):  # fromhex passes over white space
        return None
    return np.frombuffer(raw, ">u8").astype(np.uint64)


def _spans(strings: Sequence[str]) -> tuple[bytes, Ints, Ints]:
    """The strings' UTF-8 bytes one after the other, with where each begins and its length in bytes."""
    text = "\0".join(strings).encode("utf-8", "surrogatepass")
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 0)
    if ends.size == len(strings) - 1:
        starts = np.concatenate(([0], ends + 1))
        return text, starts, np.append(ends, len(text)) - starts
    encoded = [string.encode("utf-8", "surrogatepass") for string in strings]  # some hold a NUL of their own
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return b"".join(encoded), np.cumsum(lengths) - lengths, lengths


def _finished(total: Keys, present: NDArray[np.bool_]) -> Keys:
    keys = _finish(total)
    keys[present & (keys == 0)] = _INSTEAD_OF_ZERO
    return keys


def _finish(values: Keys) -> Keys:
    """The finaliser of MurmurHash3 (Appleby), in place: every bit depends on all, and 0 stays 0."""
    values ^= values >> _SHIFT
    values *= _FIRST
    values ^= values >> _SHIFT
    values *= _SECOND
    values ^= values >> _SHIFT
    return values


@cache
def _odd(count: int) -> Keys:
    """An odd constant for each of the first positions: SplitMix64 (Steele, Lea, Flood 2014) from seed 0."""
    return np.array([_splitmix64(at) | 1 for at in range(1, count + 1)], np.uint64)


def _splitmix64(step: int) -> int:
    value = step * _GOLDEN & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
