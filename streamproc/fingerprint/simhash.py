"""A keyed 64-bit SimHash of words and of pairs of neighbours (Charikar 2002).

Each word has a keyed BLAKE2b of 128 bytes: 64 numbers from 0 to 255 for where it stands first, 64 for second. A
pair is the XOR of its words' numbers, so that a shingle costs one operation on whole integers and only a word not
seen of late is hashed. Bit i of the result says whether the sum of the shingles' i-th numbers is above its mean;
uniform numbers serve as the usual +1 and -1 do.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from operator import xor

from streamproc.fingerprint.kept import Kept

MOST_WORDS = 256  # 256 x 255 fits a lane's 16 bits
MOST_WORD_CHARS = 24  # longer ones are payload: a token, a hash, base64
EDGES = ".,;:!?()[]{}<>\"'`*#-\u2013\u2014\u2026\u201c\u201d\u2018\u2019\u00ab\u00bb"
_CODE = frozenset("0123456789_(){}[]<>=;\\/|@#$%^&*+~")
_HEX = re.compile(r"[a-f]{8,}")  # with digits, _CODE tells
_WIDE = 2  # bytes of a lane
_EVEN = int.from_bytes(b"\xff\xff\0\0" * 32, "little")  # every second lane
_ONES = int.from_bytes(b"\1\0\0\0" * 32, "little")  # a one in each of them
_DIGIT = b"0" * 128 + b"1" * 128  # of a byte: its highest bit
# They name a day, so they are as variable as its number.
CALENDAR = frozenset(
    {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
    | {"january", "february", "march", "april", "june", "july", "august"}
    | {"september", "october", "november", "december"}
)


class Words:
    """Hashes lists of words under one key; keeps the hashes of the words that were seen, about 20 MB at most."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._kept = Kept(self._hashed)

    def simhash(self, words: list[str], least: int = 1) -> str:
        """16 hexadecimal digits; empty where fewer than `least` words (1 or more) are left after normalising."""
        lanes = [*filter(None, map(self._kept.__getitem__, words))][:MOST_WORDS]
        if len(lanes) < least:
            return ""
        first = [one for one, _ in lanes]
        pairs = map(xor, first, [two for _, two in lanes[1:]])
        alone, joined = sum(first), sum(pairs)
        # All 64 sums at once, in lanes twice as wide; with this added, one above the mean sets its lane's highest bit.
        above = _ONES * (2**31 - 1 - 255 * (2 * len(lanes) - 1) // 2)
        bits = bytearray(64)
        for at in (0, 1):
            sums = (alone >> 16 * at & _EVEN) + (joined >> 16 * at & _EVEN) + above
            bits[at::2] = sums.to_bytes(128, "little")[3::4].translate(_DIGIT)
        return f"{int(bits, 2):016x}"

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
    word = word.strip(EDGES).casefold()
    if len(word) > MOST_WORD_CHARS or not _CODE.isdisjoint(word) or word in CALENDAR or _HEX.fullmatch(word):
        return ""
    return word


def _widened(digest: bytes) -> int:
    lanes = bytearray(_WIDE * len(digest))
    lanes[::_WIDE] = digest
    return int.from_bytes(lanes, "little")
