"""What travels from accounts to campaigns: one row per request, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.arrays import Array, Bytes, Ints, Keys, Rows

# Bits of `Uses.flags`.
SERVED = 1  # answered with a success
ENFORCED = 2  # turned away by an enforcement (`error` blocked or suspended)
FAILED = 4  # failed for another reason
SITTING = 8  # within 15 minutes of the account's previous request, without an earlier turn; set as slots close

MISSING_TURNS = 255


@dataclass(frozen=True, slots=True)
class Uses:
    """Requests as campaigns sees them, one row each; every array has shape (n,).

    Keys of 0 and numbers of -1 are missing values.  `names` maps the account keys of this batch to their ids.
    """

    account: Keys
    ts_ms: Ints  # event time
    template: Keys  # 64-bit SimHash; 0 where missing
    org: Keys
    client: Keys  # client family
    client_full: Keys  # client family, version and TLS fingerprint together
    pathway: Keys
    program: Keys
    signup_ms: Ints
    tok_in: Rows
    tok_out: Rows
    turns: Bytes  # earlier assistant turns up to 7; MISSING_TURNS where missing
    flags: Bytes
    task_class: Bytes
    elicits: Bytes
    names: dict[int, str]

    def __len__(self) -> int:
        return self.account.size

    def take(self, index: Ints) -> Uses:
        """The rows at `index`, with all names."""
        return Uses(**{name: getattr(self, name)[index] for name in COLUMNS}, names=self.names)


COLUMNS = tuple(field.name for field in fields(Uses) if field.name != "names")
DTYPES: dict[str, Any] = {
    "account": np.uint64,
    "ts_ms": np.int64,
    "template": np.uint64,
    "org": np.uint64,
    "client": np.uint64,
    "client_full": np.uint64,
    "pathway": np.uint64,
    "program": np.uint64,
    "signup_ms": np.int64,
    "tok_in": np.int32,
    "tok_out": np.int32,
    "turns": np.uint8,
    "flags": np.uint8,
    "task_class": np.uint8,
    "elicits": np.uint8,
}


def empty() -> Uses:
    """A batch without rows."""
    return Uses(**{name: np.empty(0, DTYPES[name]) for name in COLUMNS}, names={})


def concat(batches: Sequence[Uses]) -> Uses:
    """All rows in the order given."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return empty()
    names: dict[int, str] = {}
    for batch in batches:
        names.update(batch.names)
    columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in COLUMNS}
    return Uses(**columns, names=names)


def to_arrays(uses: Uses) -> dict[str, Array]:
    """A batch as named arrays: its columns, and its names as keys, lengths in bytes and UTF-8 text."""
    encoded = [name.encode() for name in uses.names.values()]
    return {name: getattr(uses, name) for name in COLUMNS} | {
        "names_key": np.fromiter(uses.names, np.uint64, len(uses.names)),
        "names_length": np.fromiter(map(len, encoded), np.uint16, len(encoded)),
        "names_text": np.frombuffer(b"".join(encoded), np.uint8),
    }


def from_arrays(arrays: dict[str, Array]) -> Uses:
    """The batch that `to_arrays` wrote."""
    text = arrays["names_text"].tobytes()
    ends = np.cumsum(arrays["names_length"], dtype=np.int64).tolist()
    names = [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    columns: dict[str, Any] = {name: arrays[name] for name in COLUMNS}
    return Uses(**columns, names=dict(zip(arrays["names_key"].tolist(), names, strict=True)))
