"""Files that are read again when they have changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from streamproc.lines import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Refreshed"]

EVERY_S: Final = 10.0
T = TypeVar("T")
Signature: TypeAlias = tuple[tuple[str, int, int], ...]


class Refreshed(Generic[T]):
    """What `read` makes of a file or of a folder's files, made again when one of them has changed.

    Raises:
        InputError: it cannot be read at the start. Later the old state stays, and `say` is told why.
    """

    def __init__(self, path: Path, read: Callable[[Path], T], say: Callable[[str], None]) -> None:
        self._path = path
        self._read = read
        self._say = say
        self._seen = _signature(path)
        self._checked_s = time.monotonic()
        self.value = read(path)

    def refresh(self) -> None:
        """Look whether something has changed, now and then."""
        if time.monotonic() - self._checked_s < EVERY_S:
            return
        self._checked_s = time.monotonic()
        try:
            now = _signature(self._path)
            if now == self._seen:
                return
            self._seen = now
            self.value = self._read(self._path)
            self._say(f"{self._path} has changed and was read again")
        except InputError as error:
            self._say(f"{error}; what was known before stays")


def _signature(path: Path) -> Signature:
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(file, file.stat()) for file in files]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    return tuple((file.name, stat.st_mtime_ns, stat.st_size) for file, stat in stats)
