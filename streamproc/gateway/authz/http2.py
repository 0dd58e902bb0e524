"""The server's side of HTTP/2 (RFC 9113), as far as gRPC needs it. No I/O: bytes in, events out, bytes to send.

No priorities, no push, no trailers from clients, and headers are told of a request's path alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import hpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Begun", "Connection", "Data", "Ended", "Event", "Gone", "Http2Error", "literal"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD_BYTES: Final = 9
MOST_FRAME_BYTES: Final = 2**20  # that we take
SENT_FRAME_BYTES: Final = 2**14  # that every peer takes
MOST_HEADER_BYTES: Final = 2**16
MOST_STREAMS: Final = 1_000  # open at once on a connection
FIRST_WINDOW: Final = 2**16 - 1  # until settings say another
MOST_WINDOW: Final = 2**31 - 1
OUR_WINDOW: Final = 2**24  # bytes a peer may send before we give it room again
GIVE_ROOM_BYTES: Final = 2**22

# Frame types, flags, settings and errors, by their numbers in the RFC.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 5, 6
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, COMPRESSION_ERROR = 0x1, 0x3, 0x6, 0x7, 0x9


class Begun(NamedTuple):
    """A request has begun."""

    stream: int
    path: str


class Data(NamedTuple):
    """More of a request's body."""

    stream: int
    data: bytes


class Ended(NamedTuple):
    """A request is there in whole: it wants its answer."""

    stream: int


class Gone(NamedTuple):
    """The peer wants no answer any more."""

    stream: int


Event: TypeAlias = Begun | Data | Ended | Gone


class Http2Error(Exception):
    """The peer broke the protocol: the connection ends, once `take` is sent."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Connection:
    """One connection. After an `Http2Error` it is of no use any more."""

    def __init__(self) -> None:
        self._in = bytearray()
        self._out = bytearray()
        self._greeted = False
        self._headers = hpack.Decoder(max_header_list_size=MOST_HEADER_BYTES)
        self._block: tuple[int, bool, bytearray] | None = None  # headers that go on: stream, whether it ends, so far
        self._newest = 0
        self._consumed: dict[int, int] = {0: 0}  # of each stream that still sends, and of all: since we last gave room
        self._window = FIRST_WINDOW  # what we may send
        self._first_window = FIRST_WINDOW
        self._windows: dict[int, int] = {}  # of each stream that has no answer yet
        self._answers: dict[int, deque[bytes]] = {}  # data that waits for a window, then the trailers
        ours = ((MAX_CONCURRENT_STREAMS, MOST_STREAMS), (INITIAL_WINDOW_SIZE, OUR_WINDOW),
                (MAX_FRAME_SIZE, MOST_FRAME_BYTES), (MAX_HEADER_LIST_SIZE, MOST_HEADER_BYTES))  # fmt: skip
        said = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in ours)
        self._send(SETTINGS, 0, 0, said)
        self._send(WINDOW_UPDATE, 0, 0, (OUR_WINDOW - FIRST_WINDOW).to_bytes(4))

    def take(self) -> bytes:
        """Return what is to be sent, once."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def receive(self, data: bytes) -> list[Event]:
        """Take in bytes, cut anywhere; return what they say.

        Raises:
            Http2Error: they are not HTTP/2.
        """
        self._in += data
        events: list[Event] = []
        try:
            for kind, flags, stream, payload in self._frames():
                events += self._frame(kind, flags, stream, payload)
        except Http2Error as error:
            self._send(GOAWAY, 0, 0, self._newest.to_bytes(4) + error.code.to_bytes(4))
            raise
        return events

    def answer(self, stream: int, headers: bytes, data: bytes, trailers: bytes) -> None:
        """Answer a request that has ended, in whole; headers are blocks of `literal`s. Not one that is gone."""
        if stream not in self._windows:
            return
        self._consumed.pop(stream, None)
        self._send(HEADERS, END_HEADERS, stream, headers)
        pieces = (data[at : at + SENT_FRAME_BYTES] for at in range(0, len(data), SENT_FRAME_BYTES))
        self._answers[stream] = deque([*pieces, trailers])
        self._go_on(stream)

    # -- what comes ------------------------------------------------------------------------------------

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield whole frames: type, flags, stream, payload."""
        at = 0
        if not self._greeted:
            if not PREFACE.startswith(self._in[: len(PREFACE)]):
                raise Http2Error(PROTOCOL_ERROR, "no HTTP/2 preface")
            if len(self._in) < len(PREFACE):
                return
            self._greeted, at = True, len(PREFACE)
        try:
            while len(self._in) - at >= FRAME_HEAD_BYTES:
                length = int.from_bytes(self._in[at : at + 3])
                if length > MOST_FRAME_BYTES:
                    raise Http2Error(FRAME_SIZE_ERROR, "a frame is too long")
                end = at + FRAME_HEAD_BYTES + length
                if len(self._in) < end:
                    return
                kind, flags, stream = self._in[at + 3], self._in[at + 4], int.from_bytes(self._in[at + 5 : at + 9])
                payload = bytes(self._in[at + FRAME_HEAD_BYTES : end])
                at = end
                yield kind, flags, stream & MOST_WINDOW, payload
        finally:
            del self._in[:at]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> list[Event]:
        if (self._block is not None) is not (kind == CONTINUATION):
            raise Http2Error(PROTOCOL_ERROR, "a header block is cut by another frame")
        read: Callable[[int, int, bytes], list[Event]] | None = {
            DATA: self._on_data,
            HEADERS: self._on_headers,
            CONTINUATION: self._on_continuation,
            RST_STREAM: self._on_reset,
            SETTINGS: self._on_settings,
            PING: self._on_ping,
            WINDOW_UPDATE: self._on_window,
            PUSH_PROMISE: self._on_push,
        }.get(kind)
        return read(flags, stream, payload) if read else []

    def _on_data(self, flags: int, stream: int, payload: bytes) -> list[Event]:
        self._give_room(0, len(payload))
        if stream not in self._consumed or not stream:
            if not stream or stream > self._newest:
                raise Http2Error(PROTOCOL_ERROR, "data of no stream")
            return []  # of one that has been answered or is gone
        events: list[Event] = [Data(stream, _unpadded(flags, payload))]
        if flags & END_STREAM:
            del self._consumed[stream]
            events.append(Ended(stream))
        else:
            self._give_room(stream, len(payload))
        return events

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> list[Event]:
        block = _unpadded(flags, payload)[5 if flags & PRIORITISED else 0 :]
        self._block = (stream, bool(flags & END_STREAM), bytearray())
        return self._on_continuation(flags, stream, block)

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> list[Event]:
        assert self._block is not None
        begun, ends, block = self._block
        block += payload
        if stream != begun or len(block) > MOST_HEADER_BYTES:
            raise Http2Error(PROTOCOL_ERROR, "a header block goes on too long, or elsewhere")
        if not flags & END_HEADERS:
            return []
        self._block = None
        try:
            headers = self._headers.decode(bytes(block), raw=True)
        except hpack.HPACKError:
            raise Http2Error(COMPRESSION_ERROR, "a header block cannot be read") from None
        path = next((bytes(value) for name, value in headers if bytes(name) == b":path"), b"")
        return self._begin(stream, path.decode("latin-1"), ends=ends)

    def _begin(self, stream: int, path: str, *, ends: bool) -> list[Event]:
        if stream in self._windows:  # trailers
            events: list[Event] = [Ended(stream)] if ends and self._consumed.pop(stream, None) is not None else []
            return events
        if not stream % 2 or stream <= self._newest:
            raise Http2Error(PROTOCOL_ERROR, "a stream has no new odd number")
        self._newest = stream
        if len(self._windows) >= MOST_STREAMS:
            self._send(RST_STREAM, 0, stream, REFUSED_STREAM.to_bytes(4))
            return []
        self._windows[stream] = self._first_window
        if ends:
            return [Begun(stream, path), Ended(stream)]
        self._consumed[stream] = 0
        return [Begun(stream, path)]

    def _on_reset(self, _flags: int, stream: int, _payload: bytes) -> list[Event]:
        self._consumed.pop(stream, None) if stream else None
        self._answers.pop(stream, None)
        return [Gone(stream)] if self._windows.pop(stream, None) is not None else []

    def _on_settings(self, flags: int, _stream: int, payload: bytes) -> list[Event]:
        if flags & ACK:
            return []
        if len(payload) % 6:
            raise Http2Error(FRAME_SIZE_ERROR, "settings are cut")
        for at in range(0, len(payload), 6):
            name, value = int.from_bytes(payload[at : at + 2]), int.from_bytes(payload[at + 2 : at + 6])
            if name == INITIAL_WINDOW_SIZE:
                if value > MOST_WINDOW:
                    raise Http2Error(FLOW_CONTROL_ERROR, "a window is too large")
                more, self._first_window = value - self._first_window, value
                self._windows = {stream: window + more for stream, window in self._windows.items()}
        self._send(SETTINGS, ACK, 0, b"")
        self._go_on(*self._answers)
        return []

    def _on_ping(self, flags: int, _stream: int, payload: bytes) -> list[Event]:
        if not flags & ACK:
            self._send(PING, ACK, 0, payload)
        return []

    def _on_window(self, _flags: int, stream: int, payload: bytes) -> list[Event]:
        more = int.from_bytes(payload) & MOST_WINDOW
        if not more or (self._windows.get(stream, 0) if stream else self._window) + more > MOST_WINDOW:
            raise Http2Error(FLOW_CONTROL_ERROR, "a window grows by nothing or too much")
        if not stream:
            self._window += more
        elif stream in self._windows:
            self._windows[stream] += more
        self._go_on(*self._answers)
        return []

    def _on_push(self, _flags: int, _stream: int, _payload: bytes) -> list[Event]:
        raise Http2Error(PROTOCOL_ERROR, "clients do not push")

    # -- what goes -------------------------------------------------------------------------------------

    def _go_on(self, *streams: int) -> None:
        """Send of these answers what the windows have room for."""
        for stream in streams:
            left = self._answers[stream]
            while len(left) > 1 and len(left[0]) <= min(self._window, self._windows[stream]):
                self._window -= len(left[0])
                self._windows[stream] -= len(left[0])
                self._send(DATA, 0, stream, left.popleft())
            if len(left) == 1:
                self._send(HEADERS, END_HEADERS | END_STREAM, stream, left[0])
                del self._answers[stream], self._windows[stream]

    def _give_room(self, stream: int, used: int) -> None:
        self._consumed[stream] += used
        if self._consumed[stream] >= GIVE_ROOM_BYTES:
            self._send(WINDOW_UPDATE, 0, stream, self._consumed[stream].to_bytes(4))
            self._consumed[stream] = 0

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._out += len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def literal(name: str, value: str) -> bytes:
    """Return a header as part of a block that depends on none before it (RFC 7541, 6.2.2); both below 127 bytes."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "a frame is all padding")
    return payload[1 : len(payload) - payload[0]]
