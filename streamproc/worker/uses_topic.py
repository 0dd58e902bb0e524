"""What travels on the topic `uses`: batches of uses, marks of silent partitions, labels. One byte tells which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from streamproc.contract.errors import EventError
from streamproc.contract.labels import Label, decode_label, encode_label
from streamproc.core.accounts import batch as batches
from streamproc.core.accounts.batch import Batch
from streamproc.core.snapshot import SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Idle", "Message", "UsesError", "decode", "encode"]


class UsesError(ValueError):
    """A message is none of ours: somebody else writes to the topic, or a newer worker does."""


class Idle(msgspec.Struct, frozen=True):
    """A partition of `requests` is silent: its event time is at least `ts_ms`.

    None means as far as the furthest other partition is when campaigns reads this: time is moved by events
    alone, never by a wall clock, so a silent night and a back-fill of last week are judged alike.
    """

    partition: int
    ts_ms: int | None = None


Message: TypeAlias = Batch | Idle | Label


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of message is written and read."""

    mark: bytes
    type: type
    encode: Callable[..., bytes]
    decode: Callable[[bytes], Message]


KINDS: Final = (
    _Kind(b"B", Batch, batches.encode, batches.decode),
    _Kind(b"I", Idle, msgspec.json.encode, msgspec.json.Decoder(Idle).decode),
    _Kind(b"L", Label, encode_label, decode_label),
)
_BY_TYPE: Final = {kind.type: kind for kind in KINDS}
_BY_MARK: Final = {kind.mark: kind for kind in KINDS}


def encode(message: Message) -> bytes:
    """Return the message as bytes."""
    kind = _BY_TYPE[type(message)]
    return kind.mark + kind.encode(message)


def decode(data: bytes | None) -> Message:
    """Return what `encode` wrote.

    Raises:
        UsesError: it is none of ours, torn, or of another format version.
    """
    kind = _BY_MARK.get((data or b"")[:1])
    if data is None or kind is None:
        raise UsesError("it is of no known kind: stop whoever else writes to the topic")
    try:
        return kind.decode(data[1:])
    except (SnapshotError, EventError, msgspec.MsgspecError) as reason:
        raise UsesError(str(reason)) from reason
