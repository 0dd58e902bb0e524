"""One way to write state down: named arrays and a JSON header in one digest-checked piece; no pickle.

Layout: magic, format version (u32), length of the header (u64), header (JSON: `meta`, and name, dtype and shape of
each array in order), the arrays' bytes, and a 16-byte BLAKE2b digest of everything before it.  Little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import orjson

from streamproc.core.arrays import Array

MAGIC = b"SPSN"
VERSION = 4
_HEAD = struct.Struct("<4sIQ")
_DIGEST_BYTES = 16

Arrays: TypeAlias = dict[str, Array]


class SnapshotError(ValueError):
    """A snapshot cannot be used: torn, not one, or of another format version."""


def pack(meta: dict[str, Any], arrays: Arrays) -> bytes:
    """Write `meta` (JSON) and `arrays` into one piece."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    table = [(name, array.dtype.str, array.shape) for name, array in contiguous.items()]
    header = orjson.dumps({"meta": meta, "arrays": table})
    parts = [_HEAD.pack(MAGIC, VERSION, len(header)), header, *(a.tobytes() for a in contiguous.values())]
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return b"".join((*parts, digest.digest()))


def unpack(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """What `pack` wrote.

    Raises:
        SnapshotError: the piece is torn or of another format version.
    """
    if len(data) < _HEAD.size + _DIGEST_BYTES or data[:4] != MAGIC:
        raise SnapshotError("not a snapshot")
    _, version, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise SnapshotError(
            f"format version {version}, not {VERSION}: delete the state and start from the topic's start"
        )
    body = memoryview(data)[:-_DIGEST_BYTES]
    if hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != data[-_DIGEST_BYTES:]:
        raise SnapshotError("torn: its digest does not match")
    header = orjson.loads(body[_HEAD.size : _HEAD.size + length])
    arrays, at = {}, _HEAD.size + length
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
        at += arrays[name].nbytes
    return header["meta"], arrays


def under(prefix: str, arrays: Mapping[str, Array]) -> Arrays:
    """The arrays with `prefix.` before their names."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def within(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays under `prefix`, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
