"""One message to one row of fields: a strict reading of the whole, and a patient one where that fails.

Each message is read by itself, so a bad one harms no neighbour and costs no more than itself.  The two agree
on every message that the strict one accepts: the field's own rule decides, the last of equal keys counts, and
what is not read is not judged beyond its syntax.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, NamedTuple, get_type_hints

import msgspec
import numpy as np

from streamproc.contract.errors import EventError
from streamproc.contract.fields import REQUIRED, RequestEvent

MOST_BYTES = 65_536
MOST_DEPTH = 640  # objects and arrays within each other; well below what every supported Python bears
PLAIN_BYTES = 2 * MOST_DEPTH  # a message up to here cannot be nested deeper, for what opens must close

FAILURES = (ValueError, RecursionError)  # msgspec's errors and those of UTF-8 are ValueErrors


class BadReason(StrEnum):
    """Why a message is no event; `TEXTS` has each in words."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    MISTYPED_FIELD = "mistyped_field"
    BAD_VERSION = "bad_version"
    FUTURE = "future"


TEXTS = {
    BadReason.EMPTY: "the message has no value",
    BadReason.TOO_LARGE: f"the message is over {MOST_BYTES} bytes",
    BadReason.NOT_JSON: f"the message is not JSON, or is nested over {MOST_DEPTH} deep",
    BadReason.NOT_OBJECT: "the message is JSON but no object",
    BadReason.MISSING_FIELD: "a required field is left out",
    BadReason.MISTYPED_FIELD: "a required field is of another type or out of its range",
    BadReason.BAD_VERSION: "v is not 1: another version of the contract",
    BadReason.FUTURE: "ts_ms is far ahead of the partition's time",
}


class Row(NamedTuple):
    """One event, and how many of its fields were present but not valid."""

    event: RequestEvent
    mistyped: int


strict = msgspec.json.Decoder(RequestEvent).decode

_TYPES = get_type_hints(RequestEvent, include_extras=True) | {"v": int}
_RULES = {name: msgspec.json.Decoder(type_).decode for name, type_ in _TYPES.items()}
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(RequestEvent)}
_WHOLE = frozenset(name for name, type_ in get_type_hints(RequestEvent).items() if type_ is int) | {"v"}
_Parts = msgspec.defstruct("_Parts", [(name, msgspec.Raw, msgspec.Raw()) for name in _TYPES])
_parts = msgspec.json.Decoder(_Parts).decode
_number = msgspec.json.Decoder(float).decode

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_FRACTION = re.compile(rb"[.eE]")
_NOT_UTF8 = b"\xff"
_NOT_VALID = object()


def patient(value: bytes | None) -> Row:
    """Read a message field by field.  A field that is not required and not valid counts as left out.

    Raises:
        EventError: the message is no event; its reason is a `BadReason`.
    """
    if not value:
        raise _refusal(BadReason.EMPTY)
    check_size(value)
    parts = _split(value)
    if _field(parts, "v") != 1:
        raise _refusal(BadReason.BAD_VERSION)
    read = [_field(parts, name) for name in _RULES]
    fields = [_DEFAULTS[name] if one is _NOT_VALID else one for name, one in zip(_RULES, read, strict=True)]
    return Row(RequestEvent(*fields), sum(one is _NOT_VALID for one in read))


def check_size(value: bytes) -> None:
    """Refuse a message that is too large or too deep, the same on every Python and at any depth of calls.

    Raises:
        EventError: it is.
    """
    if len(value) > MOST_BYTES:
        raise _refusal(BadReason.TOO_LARGE)
    if value.count(b"[") + value.count(b"{") > MOST_DEPTH:
        syntax = np.frombuffer(_STRING.sub(b"", value), np.uint8)
        steps = np.isin(syntax, list(b"[{")).astype(np.int64) - np.isin(syntax, list(b"]}"))
        if np.max(np.cumsum(steps), initial=0) > MOST_DEPTH:
            raise _refusal(BadReason.NOT_JSON)


def _split(value: bytes) -> Any:
    """The raw text of each field that is read, empty where it is left out."""
    try:
        return _parts(value)
    except msgspec.ValidationError:
        raise _refusal(BadReason.NOT_OBJECT) from None
    except FAILURES:
        if b"\\u" not in value:
            raise _refusal(BadReason.NOT_JSON) from None
    # Half of a surrogate pair is legal JSON but no text.  A client must not get its events thrown away by
    # putting one into a header, so the escape becomes a byte that is not UTF-8: only its field is not valid.
    try:
        return _parts(_ESCAPE.sub(lambda match: _NOT_UTF8 if match["lone"] else match[0], value))
    except FAILURES:
        raise _refusal(BadReason.NOT_JSON) from None


def _field(parts: Any, name: str) -> Any:
    """The field's value, its default where left out, `_NOT_VALID` where it is not what the contract says."""
    raw = bytes(getattr(parts, name))
    required = name in REQUIRED
    if not raw:
        if required:
            raise EventError(BadReason.MISSING_FIELD, name)
        return _DEFAULTS[name]
    try:
        return _RULES[name](_as_whole(raw) if name in _WHOLE else raw)
    except FAILURES:
        if required:
            raise EventError(BadReason.MISTYPED_FIELD, f"{name} is not {REQUIRED[name]}") from None
        return _NOT_VALID


def _as_whole(raw: bytes) -> bytes:
    """The number without its fraction of zero: to JSON Schema 5.0 and 5e3 are whole numbers."""
    if raw[0] not in b"-0123456789" or not _FRACTION.search(raw):
        return raw
    number = _number(raw)
    return b"%d" % int(number) if number.is_integer() else raw


def _refusal(reason: BadReason) -> EventError:
    return EventError(reason, TEXTS[reason])
