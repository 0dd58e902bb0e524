"""Labels are read strictly; a bad one says why without its content."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from streamproc.contract import BadReason, EventError, decode_label, encode_label, schemas

GOOD: dict[str, Any] = {
    "v": 1,
    "id": "l1",
    "ts_ms": 1_790_000_000_000,
    "subject": {"kind": "account", "id": "a1"},
    "label": "lawful",
    "who": "analyst-7",
    "why": "A course of lectures.",
}
SECRET = "nobody-may-read-this"  # noqa: S105 - it stands for content
CASES: list[tuple[Any, BadReason, str]] = [
    (None, BadReason.EMPTY, "no value"),
    (b"", BadReason.EMPTY, "no value"),
    (b"{", BadReason.NOT_JSON, "not JSON"),
    (b'{"v": NaN}', BadReason.NOT_JSON, "not JSON"),
    (b'{"a":' * 2000, BadReason.NOT_JSON, "nested"),
    (b" " * 65_537, BadReason.TOO_LARGE, "65536"),
    (b"[]", BadReason.NOT_OBJECT, "no object"),
    (GOOD | {"v": 2}, BadReason.BAD_VERSION, "v is not 1"),
    (GOOD | {"v": "1"}, BadReason.MISTYPED_FIELD, "v"),
    (GOOD | {"v": True}, BadReason.MISTYPED_FIELD, "v"),
    (GOOD | {"id": ""}, BadReason.MISTYPED_FIELD, "id"),
    (GOOD | {"ts_ms": -1}, BadReason.MISTYPED_FIELD, "ts_ms"),
    (GOOD | {"ts_ms": 2**60}, BadReason.MISTYPED_FIELD, "ts_ms"),
    (GOOD | {"label": SECRET}, BadReason.MISTYPED_FIELD, "label"),
    (GOOD | {"who": SECRET * 4}, BadReason.MISTYPED_FIELD, "who"),
    (GOOD | {"why": SECRET * 40}, BadReason.MISTYPED_FIELD, "why"),
    (GOOD | {"program": "p" * 33}, BadReason.MISTYPED_FIELD, "program"),
    (GOOD | {"subject": {"kind": "org", "id": "o1"}}, BadReason.MISTYPED_FIELD, "subject.kind"),
    (GOOD | {"subject": {"kind": "account"}}, BadReason.MISSING_FIELD, "id"),
    (GOOD | {"subject": {"kind": "account", "id": "a", SECRET: 1}}, BadReason.MISTYPED_FIELD, "subject"),
]


def written(label: Any) -> bytes | None:
    return orjson.dumps(label) if isinstance(label, dict) else label


@pytest.mark.parametrize("more", [{}, {"program": "research", "label": "vetted"}, {"new_field": [1]}])
def test_a_good_label_is_read_whole(more: dict[str, Any]) -> None:
    label = decode_label(orjson.dumps(GOOD | more))
    assert label.key == "account:a1"
    assert label.label == more.get("label", "lawful")
    assert label.program == more.get("program", "")
    back = orjson.loads(encode_label(label))
    Draft202012Validator(schemas.load("label-event")).validate(back)
    assert decode_label(encode_label(label)) == label


@pytest.mark.parametrize(("label", "reason", "detail"), CASES)
def test_a_bad_label_says_why(label: Any, reason: BadReason, detail: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_label(written(label))
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_every_required_field_is_required(name: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_label(orjson.dumps({key: value for key, value in GOOD.items() if key != name}))
    assert caught.value.reason == BadReason.MISSING_FIELD
    assert name in caught.value.detail


@pytest.mark.parametrize("label", [label for label, *_ in CASES if isinstance(label, dict)])
def test_what_is_refused_is_no_label_by_the_schema_either(label: dict[str, Any]) -> None:
    beyond_exact_numbers = label["ts_ms"] > 2**53
    assert beyond_exact_numbers or not Draft202012Validator(schemas.load("label-event")).is_valid(label)
