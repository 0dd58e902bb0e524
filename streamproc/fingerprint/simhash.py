"""A keyed 64-bit SimHash of words and of pairs of neighbours (Charikar 2002).

Each word has a keyed BLAKE2b of 128 bytes: 64 numbers from 0 to 255 for where it stands first, 64 for second. A
pair is the XOR of its words' numbers, so that a shingle costs one operation on whole integers and only a word not
seen of late is hashed. Bit i of the result says whether the sum of the shingles' i-th numbers is above its mean;
uniform numbers serve as the usual +1 and -1 do.
"""

from __future__ import annotations

import re
import struct
from hashlib import blake2b
from itertools import islice
from operator import xor

MOST_WORDS = 256  # 256 x 255 fits a lane's 16 bits
MOST_WORD_CHARS = 24  # longer ones are payload: a token, a hash, base64
MOST_KEPT = 32_768  # words of which the hash is kept; about 20 MB
_EDGES = ".,;:!?()[]{}<>\"'`*#-\u2013\u2014\u2026\u201c\u201d\u2018\u2019\u00ab\u00bb"
_CODE = frozenset("0123456789_(){}[]<>=;\\/|@#$%^&*+~")
_HEX = re.compile(r"[a-f]{8,}")  # with digits, _CODE tells
_LANES = struct.Struct("<64H")
_WIDE = 2  # bytes of a lane
# They name a day, so they are as variable as its number.
_CALENDAR = frozenset(
    {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
    | {"january", "february", "march", "april", "june", "july", "august"}
    | {"september", "october", "november", "december"}
)


class Words:
    """Hashes lists of words under one key; keeps the hashes of the words that were seen, up to a limit."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._kept: dict[str, tuple[int, int] | None] = {}

    def simhash(self, words: list[str]) -> str:
        """16 hexadecimal digits; empty where no word is left after normalising."""
        lanes = [pair for pair in map(self._lanes, words) if pair is not None][:MOST_WORDS]
        if not lanes:
            return ""
        first = [pair[0] for pair in lanes]
        pairs = map(xor, first, islice((pair[1] for pair in lanes), 1, None))
        alone = _LANES.unpack(sum(first).to_bytes(_LANES.size, "little"))
        joined = _LANES.unpack(sum(pairs).to_bytes(_LANES.size, "little"))
        mean = 255 * (2 * len(lanes) - 1)
        value = 0
        for one, two in zip(alone, joined, strict=True):
            value = value << 1 | (2 * (one + two) > mean)
        return f"{value:016x}"

    def _lanes(self, word: str) -> tuple[int, int] | None:
        try:
            return self._kept[word]
        except KeyError:
            pass
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        lanes = self._hashed(word)
        if len(word) <= 2 * MOST_WORD_CHARS:  # longer ones would be memory for nothing
            self._kept[word] = lanes
        return lanes

    def _hashed(self, word: str) -> tuple[int, int] | None:
        plain = normal(word)
        if not plain:
            return None
        message = plain.encode("utf-8", "surrogatepass")
        first = blake2b(message, key=self._key, person=b"first").digest()
        second = blake2b(message, key=self._key, person=b"second").digest()
        return _widened(first), _widened(second)


def normal(word: str) -> str:
    """A word as it counts: without case and edges; empty for numbers, dates, ids, paths, URLs and code."""
    if len(word) > 2 * MOST_WORD_CHARS:
        return ""
    word = word.strip(_EDGES).casefold()
    if len(word) > MOST_WORD_CHARS or not _CODE.isdisjoint(word) or word in _CALENDAR or _HEX.fullmatch(word):
        return ""
    return word


def _widened(digest: bytes) -> int:
    lanes = bytearray(_WIDE * len(digest))
    lanes[::_WIDE] = digest
    return int.from_bytes(lanes, "little")
