"""What a body costs, against a plain one of its size in the same run; and what is kept for good."""

from __future__ import annotations

import time

import pytest

from streamproc.fingerprint import Fingerprinter, Peppers, classify, kept, skeleton
from tests.fingerprint.bodies import chat, hostile, plain

PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
PATH = "/v1/chat/completions"
SIZE = 100_000
MOST_TIMES_PLAIN = 40  # measured: 8; what is quadratic is above 1,000
ROUNDS = 3
WHOLE, FOURFOLD = hostile(SIZE), hostile(4 * SIZE)


def seconds(body: bytes) -> float:
    """The least CPU time of a request."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        PRINTER.request(PATH, (), body)
        best = min(best, time.process_time() - begun)
    return best


@pytest.fixture(scope="module")
def plain_s() -> float:
    return max(map(seconds, plain(SIZE).values()))


@pytest.mark.parametrize("name", WHOLE)
def test_no_body_costs_much_more_than_a_plain_one(name: str, plain_s: float) -> None:
    assert seconds(WHOLE[name]) < MOST_TIMES_PLAIN * plain_s


@pytest.mark.parametrize("name", WHOLE)
def test_no_cost_is_quadratic(name: str) -> None:
    floor_s = 0.001  # below, other things than the size tell
    assert seconds(FOURFOLD[name]) < 4 * 2 * max(seconds(WHOLE[name]), floor_s)


def test_what_is_kept_of_words_has_a_bound() -> None:
    words = [
        f"{number:x}".translate(str.maketrans("0123456789", "ghijklmnop")) for number in range(kept.MOST_KEPT + 2000)
    ]
    for at in range(0, len(words), 100):
        said = " ".join(words[at : at + 100])
        PRINTER.request(PATH, (), chat(said, system=said))
    for table in (PRINTER._words._kept, classify._RULES_OF, skeleton._LASTING):
        assert 0 < len(table) <= kept.MOST_KEPT


def test_long_words_are_not_kept() -> None:
    table = kept.Kept(len)
    assert table["a" * 1000] == 1000
    assert not table
    assert table["a" * 10] == 10
    assert dict(table) == {"a" * 10: 10}
