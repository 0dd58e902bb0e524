"""A run of messages becomes columns; a bad one is told apart and harms no neighbour, whatever it holds."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from streamproc.contract import (
    ELICITS_BITS,
    ERROR_CODES,
    TASK_CLASS_CODES,
    BadReason,
    Columns,
    Decoded,
    combine,
    decode,
    events,
    key64,
    schemas,
)
from streamproc.contract.fields import REQUIRED, RequestEvent
from streamproc.contract.reading import MOST_BYTES, MOST_DEPTH, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL: dict[str, Any] = {
    "v": 1,
    "id": "r1",
    "ts_ms": 1_790_000_000_000,
    "account": "a1",
    "org": "o1",
    "signup_ms": 1_780_000_000_000,
    "program": "research",
    "pathway": "api",
    "status": 429,
    "error": "rate_limited",
    "tok_in": 1200,
    "tok_out": 0,
    "n_assistant": 1,
    "template_fp": "0123456789abcdef",
    "task_class": "code",
    "elicits": ["reasoning_trace", "grading"],
    "ua": "python-sdk",
    "ua_version": "1.2.3",
    "tls_fp": "tls",
    "sample_rate": 0.5,
    "pepper_epoch": 0,
}
LEAST = {name: FULL[name] for name in REQUIRED}
SECRET = "nobody-may-read-this"  # noqa: S105 - it stands for content
# Values as JSON text that some field does not bear, or that parsers disagree about.
HOSTILE = [
    *("null", "true", "false", "0", "-1", "1", "2", "99", "100", "1.0", "1e2", "1.5", "-0.0", "-0", "5e-324"),
    *("1e400", "-1e400", "1" + "0" * 30, "1" + "0" * 400, "9" * 5000, "9007199254740992", "9007199254740993"),
    *("9223372036854775807", "9223372036854775808", "2147483648", "NaN", "Infinity", "01", "1.", "+1", "0x1"),
    *(
        '""',
        '" "',
        '"a"',
        f'"{"a" * 32}"',
        f'"{"a" * 33}"',
        f'"{"é" * 64}"',
        f'"{"a" * 65}"',
        f'"{"a" * 9000}"',
    ),
    *(
        '"\\ud800"',
        '"\\udc00x"',
        '"\\ud83d\\ude00"',
        '"\\\\ud800"',
        '"\\u0000"',
        '"\x01"',
        '"\\x"',
        '"a',
        "'a'",
    ),
    *(
        "[]",
        "[[]]",
        "{}",
        '["grading"]',
        '["grading", 1]',
        '["new"]',
        '["a","a","a","a","a","a","a","a","a"]',
    ),
    *("[" * 700 + "]" * 700, "[" * 5000, '{"a":' * 400 + "1" + "}" * 400, "", "[1,]", "tru", "/**/1"),
]
HOSTILE_BYTES = [*(text.encode() for text in HOSTILE), b'"\xff"', b'"\xed\xa0\x80"', b'"\xc3\xa9"', b"\x00"]
NAMES = [*RequestEvent.__struct_fields__, "unread", "\\u0074s_ms", "\\ud800", "key"]


def message(**changes: Any) -> bytes:
    return orjson.dumps(FULL | changes)


def raw_message(parts: list[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(b'"' + name.encode() + b'":' + value for name, value in parts) + b"}"


def as_parts(event: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(name, orjson.dumps(value)) for name, value in event.items()]


def with_field(name: str, value: bytes) -> bytes:
    return raw_message([*((key, text) for key, text in as_parts(FULL) if key != name), (name, value)])


def plain(columns: Columns) -> dict[str, list[Any]]:
    return {field.name: np.asarray(getattr(columns, field.name)).tolist() for field in fields(columns)} | {
        "dtypes": [getattr(columns, name).dtype.str for name in events.ARRAYS]
    }


def whole(decoded: Decoded) -> tuple[Any, ...]:
    return (
        plain(decoded.columns),
        decoded.index.tolist(),
        decoded.bad,
        decoded.missing,
        decoded.mistyped,
        decoded.unknown_fields,
    )


@contextlib.contextmanager
def patient_only() -> Iterator[None]:
    def refuse(_: bytes) -> None:
        raise ValueError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "strict", refuse)
        yield


def only(decoded: Decoded) -> dict[str, Any]:
    assert decoded.bad == []
    return {name: values[0] for name, values in plain(decoded.columns).items()}


def test_a_full_event_is_read_into_every_column() -> None:
    decoded = decode([message()])
    row = only(decoded)
    key = {name: int(key64([value])[0]) for name, value in FULL.items() if isinstance(value, str)}
    client = combine(*(key64([FULL[name]]) for name in ("ua", "ua_version", "tls_fp")))
    expected = {
        "account": "a1",
        "account_key": key["account"],
        "event_key": int(combine(key64(["a1"]), key64(["r1"]))[0]),
        "template": 0x0123456789ABCDEF,
        "has_template": True,
        "client": key["ua"],
        "client_full": int(client[0]),
        "error": ERROR_CODES["rate_limited"],
        "task_class": TASK_CLASS_CODES["code"],
        "elicits": ELICITS_BITS["reasoning_trace"] | ELICITS_BITS["grading"],
        "sampled": True,
    }
    expected |= {name: key[name] for name in ("org", "pathway", "program")}
    numbers = ("ts_ms", "signup_ms", "status", "tok_in", "tok_out", "n_assistant")
    expected |= {name: FULL[name] for name in numbers}
    assert {name: row[name] for name in expected} == expected
    assert set(expected) == {field.name for field in fields(Columns)}
    assert (decoded.missing, decoded.mistyped, decoded.unknown_fields) == ({}, 0, 0)


def test_what_is_left_out_is_missing_and_counted() -> None:
    decoded = decode([orjson.dumps(LEAST), message(), orjson.dumps(LEAST)])
    row = {name: values[0] for name, values in plain(decoded.columns).items()}
    numbers = ("signup_ms", "status", "tok_in", "tok_out", "n_assistant")
    assert [row[name] for name in numbers] == [-1] * 5
    keys = ("template", "org", "client", "client_full", "pathway", "program")
    assert [row[name] for name in (*keys, "error", "task_class", "elicits")] == [0] * 9
    assert not row["has_template"]
    assert not row["sampled"]
    meaningful = {"program", "error", "sample_rate", "pepper_epoch"}
    assert decoded.missing == dict.fromkeys(FULL.keys() - REQUIRED.keys() - meaningful, 2)
    assert decoded.mistyped == 0


def test_an_empty_list_of_patterns_is_not_a_missing_one() -> None:
    decoded = decode([message(elicits=[])])
    assert only(decoded)["elicits"] == 0
    assert decoded.missing == {}


@pytest.mark.parametrize(
    ("changes", "column", "value"),
    [
        ({"error": "quite_new"}, "error", ERROR_CODES["other"]),
        ({"task_class": "quite_new"}, "task_class", 0),
        ({"elicits": ["quite_new", "reward"]}, "elicits", ELICITS_BITS["reward"]),
        ({"elicits": list(ELICITS_BITS)}, "elicits", 255),
        ({"tok_in": 2**40}, "tok_in", 2**31 - 1),
        ({"tok_out": 2**63 - 1}, "tok_out", 2**31 - 1),
        ({"n_assistant": 40_000}, "n_assistant", 2**15 - 1),
        ({"sample_rate": 1}, "sampled", False),
        ({"template_fp": "0" * 16}, "template", 1),
        ({"template_fp": "no simhash"}, "template", int(key64(["no simhash"])[0])),
        ({"ts_ms": 2**53}, "ts_ms", 2**53),
        ({"ts_ms": 0}, "ts_ms", 0),
    ],
)
def test_new_and_large_values_are_taken_in(changes: dict[str, Any], column: str, value: int) -> None:
    decoded = decode([message(**changes)])
    assert only(decoded)[column] == value
    assert decoded.mistyped == 0


def test_templates_are_near_within_an_epoch_and_far_between_two() -> None:
    near = ["0123456789abcdef", "0123456789abcdee"]
    runs = [decode([message(template_fp=fp, pepper_epoch=epoch) for fp in near]) for epoch in range(4)]
    templates = np.stack([run.columns.template for run in runs])
    assert np.bitwise_count(templates[:, 0] ^ templates[:, 1]).tolist() == [1] * 4
    between = np.bitwise_count(templates[:, None, 0] ^ templates[None, :, 0])[~np.eye(4, dtype=bool)]
    assert between.min() > 8
    without = decode([orjson.dumps(LEAST | {"pepper_epoch": 3})]).columns
    assert without.template.tolist() == [0]
    assert not without.has_template[0]


REFUSED: list[tuple[bytes | None, BadReason, str]] = [
    (None, BadReason.EMPTY, "no value"),
    (b"", BadReason.EMPTY, "no value"),
    (message() + b" " * MOST_BYTES, BadReason.TOO_LARGE, "65536"),
    (b"{", BadReason.NOT_JSON, "not JSON"),
    (message() + b"\n" + message(), BadReason.NOT_JSON, "not JSON"),
    (message()[:-1], BadReason.NOT_JSON, "not JSON"),
    (b"\xef\xbb\xbf" + message(), BadReason.NOT_JSON, "not JSON"),
    (with_field("tok_in", b"NaN"), BadReason.NOT_JSON, "not JSON"),
    (with_field("unread", b"[" * 30_000 + b"]" * 30_000), BadReason.NOT_JSON, "nested"),
    (b'{"a":' * 200, BadReason.NOT_JSON, "nested"),
    (b"[" * 60_000, BadReason.NOT_JSON, "nested"),
    (b"[1]", BadReason.NOT_OBJECT, "no object"),
    (b"null", BadReason.NOT_OBJECT, "no object"),
    (b'"text"', BadReason.NOT_OBJECT, "no object"),
    (message(v=2), BadReason.BAD_VERSION, "v is not 1"),
    (b'{"v":2}', BadReason.BAD_VERSION, "v is not 1"),
    (message(v="1"), BadReason.MISTYPED_FIELD, "v is not the number 1"),
    (message(v=True), BadReason.MISTYPED_FIELD, "v is not the number 1"),
    (message(id=""), BadReason.MISTYPED_FIELD, "id is not a string of 1 to 64"),
    (message(id=SECRET * 4), BadReason.MISTYPED_FIELD, "id is not a string of 1 to 64"),
    (message(id=7), BadReason.MISTYPED_FIELD, "id is not a string of 1 to 64"),
    (message(account=None), BadReason.MISTYPED_FIELD, "account is not a string of 1 to 64"),
    (message(account=[SECRET]), BadReason.MISTYPED_FIELD, "account is not a string of 1 to 64"),
    (with_field("account", b'"\\ud800"'), BadReason.MISTYPED_FIELD, "account is not"),
    (with_field("account", b'"\xff"'), BadReason.MISTYPED_FIELD, "account is not"),
    (message(ts_ms=True), BadReason.MISTYPED_FIELD, "ts_ms is not a whole number"),
    (message(ts_ms=-1), BadReason.MISTYPED_FIELD, "ts_ms is not a whole number"),
    (message(ts_ms=1.5), BadReason.MISTYPED_FIELD, "ts_ms is not a whole number"),
    (message(ts_ms=2**53 + 1), BadReason.MISTYPED_FIELD, "ts_ms is not a whole number"),
    (with_field("ts_ms", b"1e999"), BadReason.MISTYPED_FIELD, "ts_ms is not a whole number"),
    (with_field("ts_ms", b"9" * 5000), BadReason.MISTYPED_FIELD, "ts_ms is not a whole number"),
    *(
        (
            orjson.dumps({key: value for key, value in FULL.items() if key != name}),
            BadReason.MISSING_FIELD,
            name,
        )
        for name in REQUIRED
    ),
]


@pytest.mark.parametrize(("value", "reason", "detail"), REFUSED)
def test_a_bad_message_is_told_apart_without_its_content(value: bytes | None, reason: BadReason, detail: str) -> None:
    decoded = decode([message(id="before"), value, message(id="after")])
    assert [(bad.index, bad.reason) for bad in decoded.bad] == [(1, reason)]
    assert detail in decoded.bad[0].detail
    assert SECRET not in decoded.bad[0].detail
    assert len(decoded.bad[0].detail) < 100
    assert decoded.index.tolist() == [0, 2]
    assert plain(decoded.columns) == plain(decode([message(id="before"), message(id="after")]).columns)


def test_every_reason_has_its_words() -> None:
    assert set(TEXTS) == set(BadReason)
    assert {reason for _, reason, _ in REFUSED} == set(BadReason) - {BadReason.FUTURE}


@pytest.mark.parametrize("value", [b"null", b'"x"', b"true", b"-1", b"1.5", b"1e999", b"{}"])
@pytest.mark.parametrize("name", ["signup_ms", "status", "tok_in", "tok_out", "n_assistant"])
def test_a_number_that_is_not_valid_is_missing(name: str, value: bytes) -> None:
    decoded = decode([with_field(name, value)])
    assert only(decoded)[name] == -1
    assert decoded.missing == {name: 1}
    assert decoded.mistyped == 1


@pytest.mark.parametrize(
    "value", [b"null", b"5", b'["a"]', b'"\\ud800"', b'"a\\udfff"', b'"\xff"', b'"%s"' % (b"a" * 65)]
)
@pytest.mark.parametrize("name", ["org", "pathway"])
def test_a_string_that_is_not_valid_is_missing(name: str, value: bytes) -> None:
    decoded = decode([with_field(name, value)])
    assert only(decoded)[name] == 0
    assert decoded.missing == {name: 1}
    assert decoded.mistyped == 1


def test_several_fields_that_are_not_valid_are_all_counted() -> None:
    decoded = decode([message(), message(org=1, sample_rate=0, elicits=["a"] * 9), message(ua=None)])
    assert decoded.mistyped == 4
    assert decoded.missing == {"org": 1, "elicits": 1, "ua": 1}
    assert decoded.columns.sampled.tolist() == [True, False, True]


def test_a_half_pair_in_a_field_that_nobody_reads_is_no_matter() -> None:
    decoded = decode([with_field("unread", b'"\\udcff"'), with_field("\\ud800", b"1")])
    assert decoded.bad == []
    assert decoded.mistyped == 0


def test_whole_pairs_and_escaped_backslashes_are_left_alone_beside_half_ones() -> None:
    good = raw_message([*as_parts(LEAST), ("org", b'"\\ud83d\\ude00"'), ("pathway", b'"\\\\ud800"')])
    beside = good[:-1] + b',"unread":"\\ud800"}'
    assert plain(decode([good]).columns) == plain(decode([beside]).columns)
    assert decode([good]).columns.org.tolist() == key64(["\N{GRINNING FACE}"]).tolist()


def test_the_last_of_equal_keys_counts() -> None:
    for first in (b"5", b'"x"'):
        decoded = decode([raw_message([("tok_in", first), *as_parts(FULL)])])
        assert only(decoded)["tok_in"] == 1200
        assert decoded.mistyped == 0


def at_call_depth(frames: int, call: Callable[[], Decoded]) -> Decoded:
    return at_call_depth(frames - 1, call) if frames else call()


@pytest.mark.parametrize("frames", [0, 150])
@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_the_limit_of_nesting_does_not_depend_on_the_caller(frames: int, opened: str) -> None:
    def nested(depth: int) -> bytes:
        text = opened * depth + "1" + ("]" if opened == "[" else "}") * depth
        return with_field("unread", text.encode())

    decoded = at_call_depth(frames, lambda: decode([nested(MOST_DEPTH - 1), nested(MOST_DEPTH)]))
    assert [(bad.index, bad.reason) for bad in decoded.bad] == [(1, BadReason.NOT_JSON)]


def test_brackets_that_are_not_nested_or_lie_in_text_are_no_matter() -> None:
    flat = b"[" + b"[]," * 5000 + b'"' + b'[{\\"' * 3000 + b'"]'
    assert decode([with_field("unread", flat)]).bad == []


def test_unknown_fields_are_counted_in_the_first_good_message_only() -> None:
    first = message(new_one=1, new_two={"a": 1}, key="known but not read")
    assert decode([b"bad", first, message(another=1)]).unknown_fields == 2
    assert decode([message(), first]).unknown_fields == 0


def test_rows_can_be_taken_and_put_together() -> None:
    columns = decode([message(id=str(at), account=f"a{at}", tok_in=at) for at in range(5)]).columns
    taken = columns.take(np.array([3, 0]))
    assert taken.account == ["a3", "a0"]
    assert taken.tok_in.tolist() == [3, 0]
    halves = [columns.take(np.arange(2)), Columns.empty(), columns.take(np.arange(2, 5))]
    assert plain(Columns.concat(halves)) == plain(columns)
    assert len(columns) == 5


def test_no_rows_have_the_same_types() -> None:
    for nothing in (Columns.empty(), Columns.concat([]), decode([b"bad"]).columns):
        assert len(nothing) == 0
        assert plain(nothing)["dtypes"] == plain(decode([message()]).columns)["dtypes"]
    assert whole(decode([]))[1:] == ([], [], {}, 0, 0)


def numbers_end_earlier(name: str, value: bytes) -> bool:
    """Numbers that the schema allows and that no column bears, or that JSON's readers would not agree about."""
    kind = schemas.load("request-event")["properties"][name].get("type")
    return kind == "integer" and float(value) >= 2**53


OPEN_WORDS = {"error", "task_class", "elicits"}  # a new word is no mistake there
VALID_JSON = []
for hostile in HOSTILE_BYTES:
    with contextlib.suppress(orjson.JSONDecodeError):
        VALID_JSON.append((hostile, orjson.loads(hostile)))


@pytest.mark.parametrize("name", [name for name in FULL if name not in OPEN_WORDS])
def test_a_field_is_valid_here_exactly_when_the_schema_says_so(name: str) -> None:
    rule = Draft202012Validator(schemas.load("request-event")["properties"][name])
    judged = 0
    for text, value in VALID_JSON:
        valid = rule.is_valid(value)
        if valid and numbers_end_earlier(name, text):
            continue
        decoded = decode([with_field(name, text)])
        assert (not decoded.bad and not decoded.mistyped) == valid, text[:80]
        judged += 1
    assert judged > 20


values = st.one_of(st.sampled_from(HOSTILE_BYTES), st.integers().map(lambda n: b"%d" % n))
changes = st.lists(st.tuples(st.sampled_from(NAMES), values), min_size=0, max_size=4)
bases = st.sampled_from([as_parts(FULL), as_parts(LEAST), as_parts(FULL | {"id": "r2", "account": "ä2"})])
changed = st.builds(lambda base, more: raw_message([*base, *more]), bases, changes)
put_first = st.builds(lambda base, more: raw_message([*more, *base]), bases, changes)
torn = st.builds(
    lambda text, at, new: text[: at % len(text)] + new + text[at % len(text) :],
    changed,
    st.integers(0, 2000),
    st.binary(max_size=3),
)
messages = st.one_of(changed, put_first, torn, st.none(), st.binary(max_size=20), st.just(message()))


@given(st.lists(messages, max_size=8))
def test_both_readings_agree_on_hostile_input(run: list[bytes | None]) -> None:
    quick = whole(decode(run))
    with patient_only():
        assert whole(decode(run)) == quick


@given(st.lists(messages, max_size=8))
def test_a_message_is_read_the_same_in_any_company(run: list[bytes | None]) -> None:
    together = decode(run)
    alone = [decode([one]) for one in run]
    assert plain(Columns.concat([one.columns for one in alone])) == plain(together.columns)
    assert together.index.tolist() == [at for at, one in enumerate(alone) if not one.bad]
    assert [(bad.index, bad.reason) for bad in together.bad] == [
        (at, one.bad[0].reason) for at, one in enumerate(alone) if one.bad
    ]
    assert together.mistyped == sum(one.mistyped for one in alone)
    assert sum(together.missing.values()) == sum(sum(one.missing.values()) for one in alone)
