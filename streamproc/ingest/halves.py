"""Requests that a gateway logs in two records: each waits for the other, and neither waits for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamproc.ingest.record import Json, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Halves"]

MOST_WAITING: Final = 50_000
WAIT_S: Final = 120.0


class _Waiting(NamedTuple):
    side: str
    record: Json
    place: Any
    since_s: float


class Halves:
    """Records that wait, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, name: str, side: str, record: Json, place: Any) -> Json:
        """The whole of which `record` is a half; one that names no other half is whole.

        Raises:
            Refused: the other half is not there yet.
        """
        if not name:
            return record
        other = self._waiting.get(name)
        if other is None or other.side == side:  # the same again is a repeated delivery
            if other is None:
                self._waiting[name] = _Waiting(side, record, place, time.monotonic())
            raise Refused("half")
        del self._waiting[name]
        return other.record | record if side == "gateway" else record | other.record

    def overdue(self, *, all_of_them: bool = False) -> Iterator[Json]:
        """Records that have waited long enough, or that there is no room for; each is what there is of its request."""
        now = time.monotonic()
        while self._waiting:
            name, oldest = next(iter(self._waiting.items()))
            if not (all_of_them or len(self._waiting) > MOST_WAITING or now - oldest.since_s > WAIT_S):
                return
            del self._waiting[name]
            yield oldest.record

    def places(self) -> Iterator[Any]:
        """Where the records that wait lie."""
        return (one.place for one in self._waiting.values())
