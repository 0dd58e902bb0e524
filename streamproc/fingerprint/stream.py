"""Responses: whole bodies, and streams of server-sent events or of binary frames, in pieces cut anywhere."""

from __future__ import annotations

import orjson

from streamproc.fingerprint.dialects import Dialect
from streamproc.fingerprint.frames import FIRST_BYTE, Frames
from streamproc.fingerprint.neutral import Json, Reply, objects

MOST_PENDING_BYTES = 16 * 2**20  # a line or body beyond is given up: its response has no fingerprint


class Response:
    """Collects one response. Feed it the bytes as they pass, then `close` it; it never raises on what it reads."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._pending = bytearray()
        self._frames: Frames | None = None
        self._streamed = False
        self._begun = False
        self._given_up = False
        self._taken = False
        self.reply = Reply()

    def feed(self, piece: bytes) -> None:
        """Take in the next bytes of the body or of the stream of events."""
        if self._given_up or not piece:
            return
        if not self._begun and piece[0] == FIRST_BYTE:
            self._frames = Frames()
        self._begun = True
        if self._frames:
            for event in self._frames.feed(piece):
                self._answer(event)
        else:
            self._lines(piece)

    def _lines(self, piece: bytes) -> None:
        self._pending += piece
        if not self._streamed:
            start = bytes(self._pending[:64]).lstrip()
            self._streamed = start.startswith((b"data:", b"event:", b"id:", b":", b"retry:"))
        if self._streamed and b"\n" in piece:
            *lines, rest = self._pending.split(b"\n")
            self._pending = bytearray(rest)
            for line in lines:
                self._line(line)
        if len(self._pending) > MOST_PENDING_BYTES:
            self._given_up = True
            self._pending.clear()

    def take(self, body: Json) -> None:
        """Take in a whole body, or one event of a stream, that somebody has parsed already."""
        self._taken = True
        self._answer(body)

    def close(self) -> Reply | None:
        """The reply, or None if nothing of it could be read."""
        rest, self._pending = bytes(self._pending), bytearray()
        if self._given_up:
            return None
        if self._frames:
            return None if self._frames.broken else self.reply
        if self._streamed:
            self._line(rest)
            return self.reply
        if self._taken:
            return self.reply
        body = _parsed(rest)
        for one in objects(body if isinstance(body, list) else [body]):  # generateContent may stream as one list
            self._answer(one)
        return self.reply if isinstance(body, (dict, list)) else None

    def _line(self, line: bytes | bytearray) -> None:
        if line.startswith(b"data:"):
            event = _parsed(bytes(line[5:]).strip())
            if isinstance(event, dict):
                self._answer(event)

    def _answer(self, body: Json) -> None:
        self._dialect.answer(self.reply, body)


def _parsed(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
