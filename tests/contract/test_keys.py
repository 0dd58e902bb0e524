"""Keys are a function of a string's bytes alone, fixed for good, and 0 is the empty string's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.contract.keys import combine, key64, simhash64, spread64

MASK = 2**64 - 1
LITERALS = {
    "": 0x0,
    "a": 0xE7A6772EB75E90FB,
    "b": 0x9DF225E4B333B858,
    "a\x00": 0x15875A6D58FE34F6,
    "api": 0x1B9E5E271FDBE066,
    "acct-0001": 0x1D1FDDE23B52EEA1,
    "0123456789abcdef": 0x524AE0377310B00D,
    "python-sdk/1.2.3": 0x2918A205C2ED7ACF,
    "é": 0x982DF161CB615ED2,
    "日本語のテキスト": 0xC87A1DE2C3C878E6,
    "x" * 64: 0x819426EE7FF1A404,
}
texts = st.lists(st.text(max_size=40), min_size=1, max_size=12)


def splitmix64(step: int) -> int:
    value = step * 0x9E3779B97F4A7C15 & MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def finish(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33


def scalar_key(string: str) -> int:
    """The definition, one string at a time in Python's own whole numbers."""
    raw = string.encode()
    total = len(raw) * 0xC2B2AE3D27D4EB4F
    for at, start in enumerate(range(0, len(raw), 8), 1):
        word = int.from_bytes(raw[start : start + 8], "little")
        total += finish(word * (splitmix64(at) | 1) & MASK)
    return finish(total & MASK) or (1 if raw else 0)


@pytest.mark.parametrize(("string", "key"), LITERALS.items())
def test_keys_never_change(string: str, key: int) -> None:
    assert key64([string]).tolist() == [key]


@given(texts)
def test_a_key_depends_on_its_string_alone(strings: list[str]) -> None:
    assert key64(strings).tolist() == [scalar_key(string) for string in strings]


@given(texts)
def test_strings_are_equal_exactly_when_their_keys_are(strings: list[str]) -> None:
    keys = key64(strings).tolist()
    for (one, key), (other, other_key) in itertools.combinations(zip(strings, keys, strict=True), 2):
        assert (one == other) == (key == other_key)


@pytest.mark.parametrize("strings", [["a", "a\0", "a\0\0"], ["\0", "\0\0", ""], ["12345678", "12345678\0"]])
def test_trailing_nuls_count(strings: list[str]) -> None:
    keys = key64(strings).tolist()
    assert len(set(keys)) == len(strings)
    assert keys == [scalar_key(string) for string in strings]


def test_ten_thousand_like_strings_have_keys_of_their_own_with_every_bit_in_use() -> None:
    keys = key64([f"a{number}" for number in range(10_000)])
    assert np.unique(keys).size == 10_000
    shares = [float(np.mean((keys >> np.uint64(bit)) & np.uint64(1))) for bit in range(64)]
    assert min(shares) > 0.47
    assert max(shares) < 0.53


def test_empty_columns_and_empty_strings() -> None:
    assert key64([]).size == 0
    assert key64(["", "", ""]).tolist() == [0, 0, 0]
    assert key64(["", "a"])[0] == 0


def test_half_a_surrogate_pair_has_a_key_too() -> None:
    assert key64(["\ud800", "\ud801"]).tolist() != [0, 0]


def test_combining_counts_the_order_of_columns_and_keeps_missing_apart() -> None:
    one, other = key64(["a", "b", "", "a"]), key64(["b", "a", "", ""])
    keys = combine(one, other)
    assert np.unique(keys).size == 4
    assert keys[2] == 0
    assert combine(other, one).tolist() != keys.tolist()
    assert one.tolist() == key64(["a", "b", "", "a"]).tolist(), "the columns handed in stay as they are"


def test_spreading_numbers_keeps_them_apart_and_far() -> None:
    keys = spread64(np.arange(1000))
    assert keys[0] == 0
    assert np.unique(keys).size == 1000
    distances = np.bitwise_count(keys[1:, None] ^ keys[None, 1:])[~np.eye(999, dtype=bool)]
    assert distances.min() > 8, "no two epochs bring far templates near"


def test_simhashes_are_read_as_numbers() -> None:
    values, present = simhash64(["00000000000000ff", "FFFFFFFFFFFFFFFF", "0123456789abcdef"])
    assert values.tolist() == [0xFF, MASK, 0x0123456789ABCDEF]
    assert present.all()


@pytest.mark.parametrize(
    "odd",
    [
        "0123456789abcde",
        "0123456789abcdefa",
        "0123456789abcdeg",
        " 123456789abcdef",
        "0x23456789abcdef",
        "é" * 16,
        "01 3456789abcd f",
        "0123456789abcde\n",
        "0123456789abcdef\n",
        "\N{ARABIC-INDIC DIGIT ZERO}" * 16,
    ],
)
def test_what_is_no_simhash_is_still_a_key_and_harms_no_neighbour(odd: str) -> None:
    values, present = simhash64(["00000000000000ff", odd, "", "00000000000000ff"])
    assert values.tolist() == [0xFF, scalar_key(odd), 0, 0xFF]
    assert present.tolist() == [True, True, False, True]


@given(
    st.lists(
        st.sampled_from(["", "0" * 16, "f" * 16, "0123456789ABCDEF", "x", " " * 16, "0" * 15 + " "]),
        max_size=6,
    )
)
def test_simhashes_do_not_depend_on_their_neighbours(digits: list[str]) -> None:
    values, present = simhash64(digits)
    alone = [simhash64([one]) for one in digits]
    assert values.tolist() == [int(value[0]) for value, _ in alone]
    assert present.tolist() == [bool(there[0]) for _, there in alone]
