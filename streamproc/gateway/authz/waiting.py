"""Exchanges that wait for their answer's side. Pure: the time is handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamproc.gateway.observer import Exchange

__all__ = ["Waiting"]


class Waiting:
    """At most `most` exchanges, in the order in which they began, each for `most_s` at most."""

    def __init__(self, most: int, most_s: float) -> None:
        self._most = most
        self._most_s = most_s
        self._exchanges: dict[str, Exchange] = {}

    def put(self, exchange: Exchange) -> Exchange | None:
        """Have one wait; return the oldest if there is no room for both."""
        crowded = len(self._exchanges) >= self._most
        oldest = self._exchanges.pop(next(iter(self._exchanges))) if crowded else None
        self._exchanges[exchange.id] = exchange
        return oldest

    def take(self, name: str) -> Exchange | None:
        """Return the exchange of this id, which waits no longer; None if none does."""
        return self._exchanges.pop(name, None)

    def over(self, now_s: float) -> Iterator[Exchange]:
        """Yield those that have waited long enough at `now_s`, of the clock that `Exchange.began_s` is of."""
        while self._exchanges:
            oldest = next(iter(self._exchanges.values()))
            if oldest.began_s > now_s - self._most_s:
                return
            yield self._exchanges.pop(oldest.id)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._exchanges)
