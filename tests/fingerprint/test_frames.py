"""Amazon's event stream: read in any pieces, and never past what breaks its rules."""

from __future__ import annotations

import struct
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.fingerprint import Fingerprinter, Peppers
from streamproc.fingerprint.frames import MOST_FRAME_BYTES, Frames
from tests.fingerprint.talk import Json, chunked, frame, framed

PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
EVENTS: list[Json] = [{"a": 1}, {"b": "two" * 100}, {"c": [3]}]
# The empty message of the AWS SDKs' own tests: 16 bytes, no header, no payload.
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")


def read(raw: bytes, size: int = 0) -> tuple[list[Json], bool]:
    """The events in a stream fed in pieces of `size` bytes (0: at once), and whether it was found broken."""
    frames = Frames()
    size = size or len(raw) or 1
    events = [one for at in range(0, len(raw), size) for one in frames.feed(raw[at : at + size])]
    return events, frames.broken


@given(size=st.integers(1, 700))
def test_any_pieces_give_the_same_events(size: int) -> None:
    assert read(framed(EVENTS), size) == (EVENTS, False)
    assert read(chunked(EVENTS), size) == (EVENTS, False)


def test_the_published_empty_message_is_whole_and_no_event() -> None:
    assert read(EMPTY + framed(EVENTS)) == (EVENTS, False)


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_the_stream(at: int, bit: int) -> None:
    first, second = framed(EVENTS[:1]), bytearray(framed(EVENTS[1:2]))
    second[at % len(second)] ^= 1 << bit
    events, _ = read(first + second + framed(EVENTS[2:]))
    assert events == EVENTS[:1]


def test_what_is_cut_off_is_waited_for() -> None:
    raw = framed(EVENTS)
    assert read(raw[:-1]) == (EVENTS[:2], False)


@pytest.mark.parametrize("lengths", [(15, 0), (MOST_FRAME_BYTES + 1, 0), (40, 25), (2**20, 2**18)])
def test_lengths_beyond_the_rules_end_the_stream(lengths: tuple[int, int]) -> None:
    prelude = struct.pack(">II", *lengths)
    assert read(prelude + struct.pack(">I", zlib.crc32(prelude)) + bytes(100)) == ([], True)


def test_exceptions_and_other_payloads_are_no_events() -> None:
    fault = frame(b'{"message":"slow down"}', message_type="exception", exception_type="throttlingException")
    others = [b"", b"[1]", b"no json", b'{"bytes":"@@"}', b'{"bytes":"W10="}']
    raw = b"".join(frame(one, message_type="event") for one in others)
    assert read(fault + raw + framed(EVENTS)) == (EVENTS, False)


def test_headers_of_every_type_are_passed_over_and_broken_ones_end_the_stream() -> None:
    typed = [b"\x00", b"\x01", b"\x02a", b"\x03ab", b"\x04abcd", b"\x05abcdefgh", b"\x06\x00\x03abc", b"\x08abcdefgh"]
    typed += [b"\x09" + bytes(16), b"\x07\x00\x05event"]
    names = [f"n{at}".encode() for at in range(len(typed) - 1)] + [b":message-type"]
    headers = b"".join(bytes([len(name)]) + name + value for name, value in zip(names, typed, strict=True))

    def with_headers(headers: bytes) -> bytes:
        prelude = struct.pack(">II", 16 + len(headers) + 7, len(headers))
        written = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + b'{"a":1}'
        return written + struct.pack(">I", zlib.crc32(written))

    assert read(with_headers(headers)) == ([{"a": 1}], False)
    for broken in (headers[:-1], headers + b"\x09", headers + b"\x01n\x0a", b"\x01n\x07\x00", b"\x00"):
        assert read(with_headers(broken)) == ([], True)


@given(raw=st.binary(max_size=80), size=st.integers(1, 9))
def test_nothing_raises(raw: bytes, size: int) -> None:
    read(b"\0" + raw, size)
    prelude = struct.pack(">II", 16 + len(raw), len(raw))
    written = prelude + struct.pack(">I", zlib.crc32(prelude)) + raw
    read(written + struct.pack(">I", zlib.crc32(written)), size)


def test_a_broken_stream_gives_no_response() -> None:
    request = PRINTER.request(
        "/model/m/converse-stream", (), {"messages": [{"role": "user", "content": [{"text": "a"}]}]}
    )
    raw = framed([{"contentBlockIndex": 0, "delta": {"text": "b"}}, {"stopReason": "end_turn"}])
    whole = PRINTER.finish(request, raw, id="1", ts_ms=1, account="a")
    broken = PRINTER.finish(request, raw[:-1] + b"\0", id="1", ts_ms=1, account="a")
    assert "response_fp" in whole
    assert "response_fp" not in broken
    assert orjson.dumps(broken)
