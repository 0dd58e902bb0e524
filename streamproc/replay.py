"""Replay: a file of request events through the engine, as the worker would see it from Kafka."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from streamproc import contract
from streamproc.contract.decisions import Enforcement, encode
from streamproc.contract.labels import decode_label
from streamproc.core.engine import Engine, Observed
from streamproc.lines import InputError, open_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from streamproc.contract.decisions import Campaign
    from streamproc.contract.labels import Label
    from streamproc.contract.rounds import RoundEvent
    from streamproc.core.accounts.batch import Dead
    from streamproc.core.policy import Policy

KEPT_BYTES = 65_536  # of a dead letter's message
CHUNK = 2000  # lines taken at once; the output does not depend on it


@dataclass(slots=True)
class Replayed:
    """What a replay said, in the order (ts_ms, subject, seq), and what it counted."""

    enforcements: list[Enforcement] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    surveys: list[RoundEvent] = field(default_factory=list)  # one a round
    counts: Counter[str] = field(default_factory=Counter)


def chunks(lines: Iterable[bytes], size: int = CHUNK) -> Iterator[list[bytes]]:
    """Lines without their ends, some at a time; blank lines are no messages."""
    stripped = (line.rstrip(b"\r\n") for line in lines)
    messages = (line for line in stripped if line)
    while chunk := list(islice(messages, size)):
        yield chunk


def replay(
    lines: Iterable[bytes],
    policy: Policy,
    partitions: int = 1,
    labels: Iterable[Label] = (),
    observe: Callable[[Observed], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Run `lines` through the engine, dealt out to `partitions` as Kafka would.

    `labels` are entered at their own event times.  `observe` gets what each chunk brought (dead letters, rounds),
    `progress` the lines read so far.
    """
    engine = Engine(policy, partitions)
    engine.campaigns.expect(labels)
    deal = Dealer(partitions)
    replayed = Replayed()
    read = 0

    def take(observed: Observed) -> None:
        replayed.enforcements += observed.enforcements
        replayed.campaigns += observed.campaigns
        replayed.surveys += observed.surveys
        replayed.counts.update(observed.counts)
        observe(observed)

    for chunk in chunks(lines):
        for partition, values, offsets in deal(chunk):
            take(engine.observe(partition, values, offsets))
        read += len(chunk)
        progress(read)
    take(engine.flush())
    replayed.enforcements.sort(key=lambda event: (event.ts_ms, event.subject.id, event.seq))
    return replayed


class Dealer:
    """Deals messages out to partitions by their account, with offsets that count up in each partition."""

    def __init__(self, partitions: int) -> None:
        self._next = [0] * partitions

    def __call__(self, messages: list[bytes]) -> Iterator[tuple[int, list[bytes], range]]:
        """(partition, values, offsets) of each partition that `messages` touch."""
        dealt: list[list[bytes]] = [messages]
        if len(self._next) > 1:
            dealt = [[] for _ in self._next]
            decoded = contract.decode(messages)
            keys = dict(zip(decoded.index.tolist(), decoded.columns.account, strict=True))
            for number, message in enumerate(messages):
                dealt[partition_of(keys.get(number, ""), len(self._next))].append(message)
        for partition, values in enumerate(dealt):
            if values:
                first = self._next[partition]
                self._next[partition] = first + len(values)
                yield partition, values, range(first, first + len(values))


def partition_of(key: str, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a key: murmur2, as its Java client defines it."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 of Apache Kafka's org.apache.kafka.common.utils.Utils."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def read_labels(path: Path) -> list[Label]:
    """The label events of a file.

    Raises:
        InputError: the file cannot be read, or a line is no label: its number and what is wrong.
    """
    found = []
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    found.append(decode_label(line))
                except contract.EventError as error:
                    raise InputError(f"{path}:{number}: {error}") from error
    return found


def dead_letter(dead: Dead, **place: str | int) -> bytes:
    """A message that is no event as a line: where it stood (`place` and offset), why it is none, and what it was."""
    value = None if dead.value is None else dead.value[:KEPT_BYTES].decode("utf-8", "backslashreplace")
    why = {"offset": dead.offset, "reason": dead.reason, "detail": dead.detail, "value": value}
    return orjson.dumps(place | why)


def encoded(replayed: Replayed) -> Iterator[bytes]:
    """The enforcement events as lines."""
    return map(encode, replayed.enforcements)
