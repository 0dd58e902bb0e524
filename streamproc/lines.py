"""Files of JSON Lines, compressed by their suffix."""

from __future__ import annotations

import gzip
import io
import sys
from typing import IO, TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["InputError", "open_lines", "write_lines"]


class InputError(ValueError):
    """A file cannot be read or written; the message is one line with the fix."""


def open_lines(path: Path, mode: str = "rb") -> IO[bytes]:
    """A file of JSON Lines, compressed by its suffix (.gz, .zst); `mode` is rb, wb or ab.

    Raises:
        InputError: the file cannot be opened.
    """
    try:
        if path.suffix == ".gz":
            return gzip.GzipFile(path, mode, compresslevel=3, mtime=0)  # type: ignore[return-value]
        if path.suffix == ".zst":
            return _open_zst(path, mode)
        return path.open(mode)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _open_zst(path: Path, mode: str) -> IO[bytes]:
    if mode != "rb":
        return zstandard.ZstdCompressor(level=3).stream_writer(path.open(mode))
    decompressor = zstandard.ZstdDecompressor()
    return io.BufferedReader(decompressor.stream_reader(path.open("rb"), read_across_frames=True), 1 << 20)


def write_lines(path: Path, events: Iterable[bytes]) -> None:
    """Write JSON Lines, compressed by the suffix; `-` is standard output."""
    if str(path) == "-":
        sys.stdout.buffer.writelines(event + b"\n" for event in events)
        return
    with open_lines(path, "wb") as out:
        for event in events:
            out.write(event + b"\n")
