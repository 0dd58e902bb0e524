"""Clients that follow the decisions: first what is in force, then what begins and what ends, as CrowdSec's LAPI does.

Each has a queue of bounded length; one that reads too slowly is cut off, and begins anew when it comes back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from streamproc.gateway.decoding import Held
    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.verdicts import Change

__all__ = ["MOST_STREAMS", "Streams"]

MOST_STREAMS: Final = 64
MOST_WAITING: Final = 10_000  # changes a client may be behind
AT_ONCE: Final = 1_000  # decisions in one message
ALIVE_EVERY_S: Final = 15.0


class _Message(msgspec.Struct, kw_only=True):
    """One message: `startup` while it tells what is in force already; an empty one says that nothing has changed."""

    startup: bool = False
    new: list[Held]
    deleted: list[Held]


class Streams:
    """All of the clients."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queues: set[asyncio.Queue[Change | None]] = set()

    @property
    def full(self) -> bool:
        """Whether there are as many clients as there may be."""
        return len(self._queues) >= MOST_STREAMS

    def tell(self, change: Change) -> None:
        """Let every client know, without waiting for any."""
        for queue in list(self._queues):
            try:
                queue.put_nowait(change)
            except asyncio.QueueFull:
                self._queues.discard(queue)
                self._metrics.add("gateway_dropped_streams_total")
                self._end(queue)

    def close(self) -> None:
        """End every stream."""
        for queue in self._queues:
            self._end(queue)

    async def follow(self, in_force: Callable[[], list[Held]]) -> AsyncGenerator[bytes, None]:
        """Yield one client's messages as JSON: what is in force at the first step, then what changes from there on."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue(MOST_WAITING)
        self._queues.add(queue)
        self._metrics.set("gateway_streams", len(self._queues))
        try:
            known = in_force()
            for at in range(0, len(known), AT_ONCE):
                yield _encode(_Message(startup=True, new=known[at : at + AT_ONCE], deleted=[]))
            yield _encode(_Message(new=[], deleted=[]))
            while (changes := await self._next(queue)) is not None:
                new = [change.new for change in changes if change.new]
                yield _encode(_Message(new=new, deleted=[change.deleted for change in changes if change.deleted]))
        finally:
            self._queues.discard(queue)
            self._metrics.set("gateway_streams", len(self._queues))

    async def _next(self, queue: asyncio.Queue[Change | None]) -> list[Change] | None:
        """Return the changes that wait, none after a while without any, None at the stream's end."""
        try:
            changes = [await asyncio.wait_for(queue.get(), ALIVE_EVERY_S)]
        except TimeoutError:
            return []
        while len(changes) < AT_ONCE and not queue.empty():
            changes.append(queue.get_nowait())
        return None if None in changes else [change for change in changes if change]

    @staticmethod
    def _end(queue: asyncio.Queue[Change | None]) -> None:
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)


_encode = msgspec.json.Encoder().encode
