"""Small state (memory, watchlists) as JSON: dataclasses as they are, arrays as base64 of their bytes."""

from __future__ import annotations

import base64
from typing import Any, TypeVar, get_args

import msgspec
import numpy as np

T = TypeVar("T")


def write(state: Any) -> bytes:
    """A dataclass of plain values, sets and arrays as JSON."""
    return msgspec.json.encode(state, enc_hook=_write_array)


def read(data: bytes, kind: type[T]) -> T:
    """What `write` wrote of a dataclass `kind`, whose annotations say each array's dtype."""
    return msgspec.json.decode(data, type=kind, dec_hook=_read_array)


def _write_array(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    raise NotImplementedError(type(value).__name__)


def _read_array(kind: Any, value: str) -> Any:
    (dtype,) = get_args(get_args(kind)[1])
    return np.frombuffer(base64.b64decode(value), dtype).copy()
