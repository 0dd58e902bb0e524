"""gRPC over `http2.py` for a few methods, on one event loop and without a thread.

grpcio hands every step of a call from threads of its own to the event loop, and takes two to three times the CPU time:
docs/adr has the figures.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from streamproc.gateway.authz.http2 import Begun, Connection, Data, Ended, Gone, Http2Error, literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from streamproc.gateway.authz.http2 import Event

__all__ = ["GrpcServer"]

log = logging.getLogger(__name__)

MOST_MESSAGE_BYTES: Final = 16 * 2**20
PREFIX_BYTES: Final = 5  # whether it is compressed, and its length
HEADERS: Final = literal(":status", "200") + literal("content-type", "application/grpc")
OK, INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL = 0, 3, 12, 13
STOP_WITHIN_S: Final = 1.0


class GrpcServer:
    """Serves methods by their paths until stopped.

    `calls` take one message and return one; `streams` take message after message and return nothing. Both are of
    serialised messages. A call that raises ValueError is an INVALID_ARGUMENT to its client.
    """

    def __init__(
        self, calls: Mapping[str, Callable[[bytes], Awaitable[bytes]]], streams: Mapping[str, Callable[[bytes], None]]
    ) -> None:
        self.calls = calls
        self.streams = streams
        self.peers: set[_Peer] = set()
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> None:
        """Listen on host:port or unix:/path.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        if address.startswith("unix:"):
            self._server = await loop.create_unix_server(lambda: _Peer(self), address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self._server = await loop.create_server(lambda: _Peer(self), host.strip("[]"), int(port))

    async def stop(self) -> None:
        """Take no more, and answer what was asked."""
        if self._server is None:
            return
        self._server.close()
        tasks = [task for peer in self.peers for task in peer.tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        for peer in list(self.peers):
            peer.close()


@dataclass(slots=True)
class _Call:
    path: str
    got: bytearray = field(default_factory=bytearray)

    def messages(self) -> list[bytes]:
        """Take out the messages that are there in whole.

        Raises:
            ValueError: one is compressed, which nobody asked for, or too long.
        """
        found, at = [], 0
        while len(self.got) - at >= PREFIX_BYTES:
            end = at + PREFIX_BYTES + int.from_bytes(self.got[at + 1 : at + PREFIX_BYTES])
            if self.got[at] or end - at > MOST_MESSAGE_BYTES:
                raise ValueError("a message is compressed or too long")
            if len(self.got) < end:
                break
            found.append(bytes(self.got[at + PREFIX_BYTES : end]))
            at = end
        del self.got[:at]
        return found


class _Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: GrpcServer) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._server = server
        self._connection = Connection()
        self._calls: dict[int, _Call] = {}
        self._transport: asyncio.Transport | None = None
        self._writes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # as asyncio has it, though uvloop's is not of its class
        self._server.peers.add(self)
        self._write()

    def connection_lost(self, _reason: Exception | None) -> None:
        self._server.peers.discard(self)
        self._transport = None

    def pause_writing(self) -> None:
        """Take no more questions of a peer that does not take its answers."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._connection.receive(data):
                self._on(event)
        except Http2Error as error:
            log.warning("a connection to the gRPC port breaks the protocol: %s", error)
            self._write()
            self.close()
        self._write_soon()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _on(self, event: Event) -> None:
        match event:
            case Begun(stream, path):
                self._calls[stream] = _Call(path)
            case Data(stream, data) if call := self._calls.get(stream):
                call.got += data
                if call.path in self._server.streams:
                    self._take_in(stream, call)
            case Ended(stream) if call := self._calls.pop(stream, None):
                self._end(stream, call)
            case Gone(stream):
                self._calls.pop(stream, None)

    def _take_in(self, stream: int, call: _Call) -> None:
        try:
            for message in call.messages():
                self._server.streams[call.path](message)
        except ValueError:
            self._calls.pop(stream, None)
            self._answer(stream, INVALID_ARGUMENT)

    def _end(self, stream: int, call: _Call) -> None:
        if call.path in self._server.streams:
            self._answer(stream, OK, b"")
        elif call.path in self._server.calls:
            task = asyncio.create_task(self._call(stream, call))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self._answer(stream, UNIMPLEMENTED)

    async def _call(self, stream: int, call: _Call) -> None:
        try:
            (message,) = call.messages()
            self._answer(stream, OK, await self._server.calls[call.path](message))
        except ValueError:
            self._answer(stream, INVALID_ARGUMENT)
        except Exception:
            self._answer(stream, INTERNAL)
            log.exception("a call of %s failed", call.path)

    def _answer(self, stream: int, status: int, message: bytes | None = None) -> None:
        data = b"" if message is None else b"\0" + len(message).to_bytes(4) + message
        self._connection.answer(stream, HEADERS, data, literal("grpc-status", str(status)))
        self._write_soon()

    def _write_soon(self) -> None:
        """Write once for all that is answered in this turn of the event loop."""
        if not self._writes:
            self._writes = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._writes = False
        out = self._connection.take()
        if out and self._transport is not None:
            self._transport.write(out)
