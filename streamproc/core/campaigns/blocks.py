"""Blocks: the uses of closed slots as immutable arrays; everything a round knows of traffic is recomputed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.core.arrays import Array, Ints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.arrays import Bools, Bytes, Rows


@dataclass(frozen=True, slots=True)
class Block:
    """Uses of [start_ms, end_ms) in the order (slot, account, time); every array has shape (n,).  24 bytes a use."""

    start_ms: int
    end_ms: int
    account: Rows  # row of the account table
    component: Rows  # -1: no template, or one over the account's budget of new ones
    offset_ms: np.ndarray[tuple[int], np.dtype[np.uint32]]  # event time after start_ms
    tok_in: Rows
    tok_out: Rows
    turns: Bytes
    flags: Bytes
    task_class: Bytes
    elicits: Bytes

    def __len__(self) -> int:
        return self.account.size

    @property
    def ts_ms(self) -> Ints:
        """Event times, shape (n,)."""
        return self.offset_ms.astype(np.int64) + self.start_ms

    def keep(self, kept: Bools) -> Block:
        """The uses where `kept` (n,) holds."""
        return self.replace(**{name: getattr(self, name)[kept] for name in ARRAYS})

    def replace(self, **arrays: Array) -> Block:
        """The same block with other arrays."""
        held: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS} | arrays
        return Block(self.start_ms, self.end_ms, **held)


DTYPES: dict[str, Any] = {
    "account": np.int32,
    "component": np.int32,
    "offset_ms": np.uint32,
    "tok_in": np.int32,
    "tok_out": np.int32,
    "turns": np.uint8,
    "flags": np.uint8,
    "task_class": np.uint8,
    "elicits": np.uint8,
}
ARRAYS = tuple(DTYPES)


def merge(blocks: Sequence[Block]) -> Block:
    """One block of consecutive ones, oldest first; spans up to 49 days (32-bit milliseconds)."""
    start_ms, end_ms = blocks[0].start_ms, blocks[-1].end_ms
    arrays = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in ARRAYS}
    arrays["offset_ms"] = np.concatenate([block.offset_ms + np.uint32(block.start_ms - start_ms) for block in blocks])
    return Block(start_ms, end_ms, **arrays)


def empty(start_ms: int, end_ms: int) -> Block:
    """A span without uses."""
    return Block(start_ms, end_ms, **{name: np.empty(0, dtype) for name, dtype in DTYPES.items()})


def to_arrays(block: Block) -> dict[str, Array]:
    """A block as named arrays."""
    span = np.array([block.start_ms, block.end_ms], np.int64)
    return {"span_ms": span} | {name: getattr(block, name) for name in ARRAYS}


def from_arrays(arrays: dict[str, Array]) -> Block:
    """The block that `to_arrays` wrote."""
    start_ms, end_ms = arrays["span_ms"].tolist()
    held: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
    return Block(start_ms, end_ms, **held)
