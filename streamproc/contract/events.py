"""A run of raw request events to columns: one numpy array for each thing that is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamproc.contract import schemas
from streamproc.contract.errors import EventError
from streamproc.contract.fields import ELICITS_BITS, ERROR_CODES, NO_PATTERNS, TASK_CLASS_CODES, RequestEvent
from streamproc.contract.keys import Keys, combine, key64, simhash64, spread64
from streamproc.contract.reading import FAILURES, PLAIN_BYTES, BadReason, check_size, patient, strict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FIELDS = RequestEvent.__struct_fields__
_KNOWN = frozenset(schemas.load("request-event")["properties"])
_PATTERNS_MISSING = 256  # above the bits of the patterns themselves
_as_tuple = msgspec.structs.astuple


@dataclass(frozen=True, slots=True)
class Columns:
    """Request events as columns of shape (n,).

    Keys are 0 and numbers -1 where the field is missing.  Numbers beyond their column's type are its largest.
    """

    account: list[str]  # ids as written
    account_key: Keys
    event_key: Keys  # of account and id together: equal for a duplicate delivery
    ts_ms: NDArray[np.int64]
    template: Keys  # SimHash, near within one pepper_epoch and far between two; never 0 where present
    has_template: NDArray[np.bool_]
    org: Keys
    client: Keys  # ua
    client_full: Keys  # ua, ua_version and tls_fp together
    pathway: Keys
    program: Keys
    signup_ms: NDArray[np.int64]
    status: NDArray[np.int16]
    error: NDArray[np.uint8]  # ERROR_CODES; a value new to the contract is "other"
    tok_in: NDArray[np.int32]
    tok_out: NDArray[np.int32]
    n_assistant: NDArray[np.int16]
    task_class: NDArray[np.uint8]  # TASK_CLASS_CODES; a value new to the contract is 0
    elicits: NDArray[np.uint8]  # the sum of ELICITS_BITS; values new to the contract have none
    sampled: NDArray[np.bool_]  # its source logs only a share of its requests

    def __len__(self) -> int:
        return len(self.account)

    def take(self, index: NDArray[np.integer]) -> Columns:
        """The rows at `index`, in that order."""
        account = [self.account[at] for at in index.tolist()]
        return Columns(account, *(getattr(self, name)[index] for name in ARRAYS))

    @staticmethod
    def concat(batches: Sequence[Columns]) -> Columns:
        """All rows in the order given."""
        if not batches:
            return Columns.empty()
        account = [one for batch in batches for one in batch.account]
        return Columns(account, *(np.concatenate([getattr(b, name) for b in batches]) for name in ARRAYS))

    @staticmethod
    def empty() -> Columns:
        """Columns without rows."""
        return decode(()).columns


ARRAYS = tuple(field.name for field in fields(Columns) if field.name != "account")


@dataclass(frozen=True, slots=True)
class Bad:
    """A message that is no event: its place in the run and why, without its content."""

    index: int
    reason: BadReason
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a run of messages holds.

    `index`, shape (n,), is each row's place in the run, ascending.  `missing` counts by field the rows that
    lack it, so that detectors can say where they were blind; `mistyped` counts fields that were present and
    not valid, which are missing as well.  `unknown_fields` is a sample: the keys that the contract does not
    have, in the run's first good message alone.
    """

    columns: Columns
    index: NDArray[np.int64]
    bad: list[Bad]
    missing: dict[str, int]
    mistyped: int
    unknown_fields: int


def decode(values: Sequence[bytes | None]) -> Decoded:
    """Read a run of messages; a bad one among them changes nothing about the others."""
    rows, bad, mistyped = _rows(values)
    index = np.delete(np.arange(len(values)), [one.index for one in bad])
    columns, missing = _columns(rows)
    unknown = _unknown_fields(values[index[0]]) if index.size else 0
    return Decoded(columns, index, bad, missing, mistyped, unknown)


def _rows(values: Sequence[bytes | None]) -> tuple[list[RequestEvent], list[Bad], int]:
    """The events in order, the messages that are none, and how many fields were not valid.

    The strict reading runs through the messages without a step of Python in between, up to one that it does not
    take; that one is read patiently, and the strict reading goes on behind it.
    """
    rows: list[RequestEvent] = []
    bad: list[Bad] = []
    mistyped = 0
    sized = [value if value and (len(value) <= PLAIN_BYTES or _bears(value)) else b"" for value in values]
    rest = iter(sized)
    while len(rows) + len(bad) < len(sized):
        try:
            rows.extend(map(strict, rest))  # keeps what it read before a failure
        except FAILURES:
            at = len(rows) + len(bad)
            try:
                row = patient(values[at])
            except EventError as error:
                bad.append(Bad(at, BadReason(error.reason), error.detail))
            else:
                rows.append(row.event)
                mistyped += row.mistyped
    return rows, bad, mistyped


def _bears(value: bytes) -> bool:
    try:
        check_size(value)
    except EventError:
        return False
    return True


def _columns(rows: list[RequestEvent]) -> tuple[Columns, dict[str, int]]:
    """The columns of the rows, and how many rows lack each field."""
    by_field = zip(*map(_as_tuple, rows), strict=True) if rows else [()] * len(_FIELDS)
    raw = dict(zip(_FIELDS, by_field, strict=True))
    keys = {name: key64(raw[name]) for name in _KEYED}
    numbers = {name: np.fromiter(raw[name], np.int64, len(rows)) for name in _NUMBERS}
    template, has_template = _templates(raw["template_fp"], raw["pepper_epoch"])
    elicits = _coded(raw["elicits"], _Patterns())
    error, task_class = _coded(raw["error"], _ERRORS), _coded(raw["task_class"], _TASK_CLASSES)
    columns = Columns(
        account=list(raw["account"]),
        account_key=keys["account"],
        event_key=combine(keys["account"], keys["id"]),
        template=template,
        has_template=has_template,
        org=keys["org"],
        client=keys["ua"],
        client_full=combine(keys["ua"], keys["ua_version"], keys["tls_fp"]),
        pathway=keys["pathway"],
        program=keys["program"],
        error=error.astype(np.uint8),
        task_class=task_class.astype(np.uint8),
        elicits=(elicits % _PATTERNS_MISSING).astype(np.uint8),
        sampled=np.fromiter(raw["sample_rate"], np.float64, len(rows)) < 1,
        **{name: _narrow(numbers[name], dtype) for name, dtype in _NUMBERS.items()},
    )
    return columns, _missing(keys, numbers, has_template, elicits, raw["task_class"])


def _missing(
    keys: dict[str, Keys],
    numbers: dict[str, NDArray[np.int64]],
    has_template: NDArray[np.bool_],
    elicits: NDArray[np.int64],
    task_class: Sequence[str],
) -> dict[str, int]:
    """How many rows lack each field whose absence makes a detector blind, where any do."""
    absent = {name: keys[name] == 0 for name in _BLIND_KEYS}
    absent |= {name: numbers[name] < 0 for name in _BLIND_NUMBERS}
    absent |= {"template_fp": ~has_template, "elicits": elicits == _PATTERNS_MISSING}
    counts = {name: int(np.count_nonzero(where)) for name, where in absent.items()}
    counts["task_class"] = task_class.count("")
    return {name: count for name, count in counts.items() if count}


# What makes a detector blind when absent; no program, error, sample_rate or pepper_epoch has a meaning.
_BLIND_KEYS = ("org", "pathway", "ua", "ua_version", "tls_fp")
_KEYED = ("id", "account", "program", *_BLIND_KEYS)
_NUMBERS: dict[str, type[np.signedinteger[Any]]] = {
    "ts_ms": np.int64,
    "signup_ms": np.int64,
    "status": np.int16,
    "tok_in": np.int32,
    "tok_out": np.int32,
    "n_assistant": np.int16,
}
_BLIND_NUMBERS = ("signup_ms", "status", "tok_in", "tok_out", "n_assistant")


class _Codes(dict[str, int]):
    """Codes by value, with one for every value that is new."""

    def __init__(self, codes: dict[str, int], unknown: int) -> None:
        super().__init__(codes)
        self._unknown = unknown

    def __missing__(self, _: str) -> int:
        return self._unknown


class _Patterns(dict[tuple[str, ...], int]):
    """Bit masks by list of patterns, worked out once a run for each list."""

    def __missing__(self, names: tuple[str, ...]) -> int:
        bits = 0
        for name in names:
            bits |= ELICITS_BITS.get(name, 0)
        self[names] = mask = _PATTERNS_MISSING if names == NO_PATTERNS else bits
        return mask


_ERRORS = _Codes(ERROR_CODES, ERROR_CODES["other"])
_TASK_CLASSES = _Codes(TASK_CLASS_CODES, 0)


def _coded(values: Sequence[Any], codes: dict[Any, int]) -> NDArray[np.int64]:
    return np.fromiter(map(codes.__getitem__, values), np.int64, len(values))


def _narrow(numbers: NDArray[np.int64], dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    return np.minimum(numbers, np.iinfo(dtype).max).astype(dtype, copy=False)


def _templates(digits: Sequence[str], epochs: Sequence[int]) -> tuple[Keys, NDArray[np.bool_]]:
    """The templates with their epoch mixed in: XOR leaves distances within an epoch as they are."""
    values, present = simhash64(digits)
    values ^= np.where(present, spread64(np.fromiter(epochs, np.int64, len(epochs))), np.uint64(0))
    values[present & (values == 0)] = 1  # one bit off, so that 0 is always "missing"
    return values, present


def _unknown_fields(value: bytes | None) -> int:
    """How many keys of a good message the contract does not have; what cannot be counted is not."""
    try:
        keys = msgspec.json.decode(value or b"", type=dict[str, msgspec.Raw])
    except FAILURES:
        return 0
    return len(keys.keys() - _KNOWN)
