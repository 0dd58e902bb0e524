"""Snapshots and blocks in a folder or under an fsspec URL: read back is what was written, or nothing.

A snapshot's file is `<name>.<position>.snap` and holds a length, a digest and the data. It is written under
a name that nothing reads, made durable, and renamed; a store that puts an object whole or not at all needs no
more than the put. Should one be torn in spite of that, its digest says so and the one before is taken: two
are kept.

The position is the next offset of the input that the snapshot covers, and the greatest is the newest. So a
worker that was paused past its time, and writes what it had, cannot hide what its successor has written.

A block is written once under its name and never changed; writing the same again is nothing, another content
under the name is an error.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KEPT", "StateStore"]

KEPT: Final = 2
MAGIC: Final = b"streamproc state 1\n"
HEAD: Final = struct.Struct(">Q32s")  # length of the data, their SHA-256
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*")
POSITION: Final = re.compile(r"\.(\d{20})\.snap")
BLOCK: Final = ".block"


class StateStore:
    """Files by name under one URL: a folder, or any URL that fsspec opens.

    Names are of lower-case letters, digits, dash, underscore and slash: `accounts-3`, `blocks/000123`.

    Raises:
        SettingsError: the URL is of a kind that is not installed.
    """

    def __init__(self, url: str) -> None:
        scheme = urlsplit(url).scheme
        self._files: _Folder | _Remote
        self._files = _Folder(Path(url.removeprefix("file://"))) if scheme in ("", "file") else _Remote(url)

    def save(self, name: str, position: int, data: bytes) -> None:
        """Keep this snapshot of the name, durable on return, and drop all but the newest two.

        `position` is the next offset of its input, from 0.
        """
        self._files.put(_snapshot(name, position), seal(data))
        for old in self._positions(name)[:-KEPT]:
            self._files.delete(_snapshot(name, old))

    def load(self, name: str) -> bytes | None:
        """Return the newest snapshot of the name that is whole, None if there is none."""
        for position in reversed(self._positions(name)):
            stored = self._files.get(_snapshot(name, position))
            data = None if stored is None else unseal(stored)
            if data is not None:
                return data
        return None

    def put_once(self, name: str, data: bytes) -> None:
        """Write a block, durable on return.

        Raises:
            ValueError: the name holds a whole block of another content.
        """
        there = self.get(name)
        if there == data:
            return
        if there is not None:
            raise ValueError(f"block {name} is there with another content: a block is written once")
        self._files.put(_valid(name) + BLOCK, seal(data))

    def get(self, name: str) -> bytes | None:
        """Return a block, None if it is not there or torn."""
        stored = self._files.get(_valid(name) + BLOCK)
        return None if stored is None else unseal(stored)

    def names(self, prefix: str) -> list[str]:
        """Return the names of the blocks that begin with the prefix, sorted."""
        return sorted(
            path.removesuffix(BLOCK)
            for path in self._files.paths(prefix)
            if path.endswith(BLOCK) and path.startswith(prefix)
        )

    def delete(self, name: str) -> None:
        """Drop a block; one that is not there is dropped already."""
        self._files.delete(_valid(name) + BLOCK)

    def _positions(self, name: str) -> list[int]:
        """Return the positions of the name's snapshots, ascending."""
        start = len(_valid(name))
        files = (path for path in self._files.paths(name) if path.startswith(name))
        return sorted(int(found.group(1)) for path in files if (found := POSITION.fullmatch(path, start)))


def seal(data: bytes) -> bytes:
    """Return the data behind a head that tells whether they are whole."""
    return MAGIC + HEAD.pack(len(data), hashlib.sha256(data).digest()) + data


def unseal(stored: bytes) -> bytes | None:
    """Return the data of what `seal` made, None if anything of it is missing or changed."""
    start = len(MAGIC) + HEAD.size
    if len(stored) < start or not stored.startswith(MAGIC):
        return None
    length, digest = HEAD.unpack_from(stored, len(MAGIC))
    data = stored[start:]
    whole = len(data) == length and hashlib.sha256(data).digest() == digest
    return data if whole else None


def _snapshot(name: str, position: int) -> str:
    return f"{_valid(name)}.{position:020d}.snap"


def _valid(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for state: lower-case letters, digits, -, _ and / between")
    return name


class _Folder:
    """A local folder: a file appears whole, by rename, once its content is on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, path: str, data: bytes) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
        _sync_folder(target.parent)

    def get(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def paths(self, prefix: str) -> Iterator[str]:
        folder = (self._root / prefix).parent if not prefix.endswith("/") else self._root / prefix
        if folder.is_dir():
            for entry in folder.iterdir():
                if not entry.name.startswith("."):
                    yield entry.relative_to(self._root).as_posix()

    def delete(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems where a folder can be opened."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


class _Remote:
    """A store of objects, each put whole or not at all."""

    def __init__(self, url: str) -> None:
        import fsspec  # noqa: PLC0415 - only installations that share state remotely need it

        try:
            self._system: Any
            self._system, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as reason:
            raise SettingsError(f"STATE_URL: {url!r} cannot be opened ({reason})") from reason
        self._root = root.rstrip("/")

    def put(self, path: str, data: bytes) -> None:
        self._system.makedirs(f"{self._root}/{path}".rpartition("/")[0], exist_ok=True)
        self._system.pipe_file(f"{self._root}/{path}", data)

    def get(self, path: str) -> bytes | None:
        try:
            return bytes(self._system.cat_file(f"{self._root}/{path}"))
        except FileNotFoundError:
            return None

    def paths(self, prefix: str) -> Iterator[str]:
        folder = f"{self._root}/{prefix}".rpartition("/")[0]
        with suppress(FileNotFoundError):
            for path in self._system.ls(folder, detail=False, refresh=True):
                yield path.removeprefix(f"{self._root}/")

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{path}")
