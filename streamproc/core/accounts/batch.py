"""What one run of a partition gives, and how it travels from accounts to campaigns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from streamproc.core import snapshot
from streamproc.core import uses as columns
from streamproc.core.arrays import Ints
from streamproc.core.uses import Uses


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that is no event, told apart from its neighbours."""

    offset: int
    reason: str
    detail: str
    value: bytes | None


@dataclass(slots=True)
class Batch:
    """Uses with the input offset of each (n,), and how far the partition's time is.

    `dead` and `counts` are for the shell of the accounts reducer; they do not travel.
    """

    partition: int
    next_offset: int
    watermark_ms: int
    offsets: Ints
    uses: Uses
    dead: list[Dead] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def encode(batch: Batch) -> bytes:
    """A batch as one message of the topic `uses`."""
    meta = {"partition": batch.partition, "next_offset": batch.next_offset, "watermark_ms": batch.watermark_ms}
    return snapshot.pack(meta, columns.to_arrays(batch.uses) | {"offsets": batch.offsets})


def decode(data: bytes) -> Batch:
    """The batch that `encode` wrote.

    Raises:
        SnapshotError: the message is torn or of another format version.
    """
    meta, arrays = snapshot.unpack(data)
    return Batch(**meta, offsets=arrays["offsets"].view("int64"), uses=columns.from_arrays(arrays))
