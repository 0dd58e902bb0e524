"""Bytes to JSON, so that no client can have its record thrown away by what it writes into a prompt or a header."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from streamproc.ingest.record import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["MOST_BYTES", "lines_of", "messages_of", "parse"]

MOST_BYTES: Final = 16 * 2**20  # a record beyond is refused, and never held whole
_LONE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_REPLACEMENT: Final = "\\ufffd"


def parse(message: bytes) -> Any:
    """The value of a message of JSON.

    Bytes that are no UTF-8 and halves of surrogate pairs are replaced, NaN and infinities read as null.

    Raises:
        Refused: it is too large, or no JSON all the same.
    """
    if len(message) > MOST_BYTES:
        raise Refused("too_large")
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError:
        pass
    mended = message.decode("utf-8", "replace").replace("\x00", "")
    mended = _LONE.sub(lambda found: _REPLACEMENT if found["lone"] else found[0], mended)
    try:
        return orjson.loads(mended)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(mended, parse_constant=_none, parse_int=_whole, parse_float=_number)
    except (ValueError, RecursionError):
        raise Refused("not_json") from None


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file without their ends, blank ones left out; of one that is too long only its beginning."""
    while line := file.readline(MOST_BYTES + 1):
        rest = line
        while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MOST_BYTES + 1)
        if line := line.strip(b" \t\r\n"):
            yield line


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a POST: the body itself if it is one JSON value, else its lines."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        lines = [line for line in (line.strip() for line in body.split(b"\n")) if line]
        # A line that stands for itself tells JSON Lines from one broken or mended value over many lines.
        return lines if len(lines) > 1 and lines[0][-1:] == b"}" else [body]
    return [body]


def _none(_word: str) -> None:
    return None


def _whole(digits: str) -> float | None:
    return int(digits) if len(digits) < 20 else _number(digits)  # noqa: PLR2004 - digits of 64 bits


def _number(digits: str) -> float | None:
    read = float(digits)
    return read if abs(read) != float("inf") else None
