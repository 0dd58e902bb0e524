"""Amazon's binary event stream (`application/vnd.amazon.eventstream`), in which Bedrock streams its answers.

A frame is: its length and the length of its headers (big-endian, 4 bytes each), the CRC-32 of those 8 bytes, headers,
payload, the CRC-32 of all before. The headers say what kind of message it is; the payload is JSON.
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import binascii
import struct
import zlib
from typing import Any

import orjson

from streamproc.fingerprint.neutral import Json

FIRST_BYTE = 0  # of every frame, since lengths are below 2**24; neither JSON nor server-sent events begin with it
MOST_FRAME_BYTES = 2**24 - 1
MOST_HEADER_BYTES = 128 * 1024
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_BYTES, _STRING = 6, 7  # types of a header's value that say their length
# The other types' lengths: true, false, byte, short, integer, long, time, UUID.
_VALUE_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class Frames:
    """Reads frames from bytes cut anywhere. One that breaks the rules ends the stream: nothing after it is read."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.broken = False

    def feed(self, piece: bytes) -> list[Json]:
        """The events of the frames that are whole now; exceptions and frames of another kind are none."""
        if self.broken:
            return []
        self._pending += piece
        events: list[Json] = []
        at = 0
        while (length := self._length(at)) and len(self._pending) - at >= length:
            event = self._event(bytes(self._pending[at : at + length]))
            if self.broken:
                break
            events += [event] if event else []
            at += length
        del self._pending[: len(self._pending) if self.broken else at]
        return events

    def _length(self, at: int) -> int:
        """The length of the frame that begins at `at`; 0 where its beginning is not there yet, or is none."""
        if len(self._pending) - at < _PRELUDE.size:
            return 0
        length, headers, crc = _PRELUDE.unpack_from(self._pending, at)
        fits = headers <= MOST_HEADER_BYTES and _PRELUDE.size + headers + _CRC.size <= length <= MOST_FRAME_BYTES
        self.broken = not fits or crc != zlib.crc32(self._pending[at : at + 8])
        return 0 if self.broken else int(length)

    def _event(self, frame: bytes) -> Json | None:
        self.broken = _CRC.unpack(frame[-_CRC.size :])[0] != zlib.crc32(frame[: -_CRC.size])
        if self.broken:
            return None
        begin = _PRELUDE.size + _PRELUDE.unpack_from(frame)[1]
        headers = _headers(frame[_PRELUDE.size : begin])
        self.broken = headers is None
        if headers is None or headers.get(b":message-type") != b"event":
            return None
        return _unwrapped(_parsed(frame[begin : -_CRC.size]))


def _headers(raw: bytes) -> dict[bytes, bytes] | None:
    """The headers that are text; None for what is no list of headers."""
    found = {}
    at = 0
    while at < len(raw):
        name_end = at + 1 + raw[at]
        if name_end >= len(raw):
            return None
        name, kind, at = raw[at + 1 : name_end], raw[name_end], name_end + 1
        size = _VALUE_BYTES.get(kind)
        if kind in (_BYTES, _STRING):
            size, at = int.from_bytes(raw[at : at + 2], "big"), at + 2
        if size is None or at + size > len(raw):
            return None
        if kind == _STRING:
            found[name] = raw[at : at + size]
        at += size
    return found


def _unwrapped(payload: Any) -> Json | None:
    """The event itself: in `invoke-with-response-stream` it is carried in base64, in `converse-stream` as it is."""
    if isinstance(payload, dict) and isinstance(wrapped := payload.get("bytes"), str):
        try:
            payload = _parsed(binascii.a2b_base64(wrapped, strict_mode=True))
        except ValueError:
            return None
    return payload if isinstance(payload, dict) else None


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
