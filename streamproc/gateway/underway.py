"""Exchanges that have begun and not ended, and what becomes of those whose end never comes. For one event loop."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.gateway.observer import Exchange

__all__ = ["MOST_SILENT_S", "MOST_UNDERWAY", "Underway"]

MOST_UNDERWAY: Final = 10_000
MOST_SILENT_S: Final = 900.0  # a model that says nothing for longer is taken to say nothing any more


class Underway:
    """At most `most` exchanges, by their ids; `give_up` ends one that is forgotten, oldest first.

    An exchange is forgotten when there is no room, or when nothing was heard of it for `silent_s`.
    """

    def __init__(
        self,
        give_up: Callable[[Exchange], None],
        most: int = MOST_UNDERWAY,
        silent_s: float = MOST_SILENT_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._give_up = give_up
        self._most = most
        self._silent_s = silent_s
        self._clock_s = clock_s
        self._known: OrderedDict[str, tuple[Exchange, float]] = OrderedDict()  # by when each was last heard of

    def begin(self, exchange: Exchange) -> None:
        """Keep the exchange until it ends."""
        self.sweep()
        if len(self._known) >= self._most:
            self._give_up(self._known.popitem(last=False)[1][0])
        self._known[exchange.id] = exchange, self._clock_s()

    def find(self, name: str) -> Exchange | None:
        """Return the exchange, which counts as heard of; None for an id that is not known."""
        if name not in self._known:
            return None
        self._known.move_to_end(name)
        exchange = self._known[name][0]
        self._known[name] = exchange, self._clock_s()
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Forget an exchange that has ended."""
        self._known.pop(exchange.id, None)

    def sweep(self) -> None:
        """Give up those of which nothing was heard for too long."""
        latest = self._clock_s() - self._silent_s
        while self._known:
            exchange, heard_s = next(iter(self._known.values()))
            if heard_s > latest:
                return
            self.end(exchange)
            self._give_up(exchange)

    def give_up_all(self) -> None:
        """Give up every one."""
        while self._known:
            self._give_up(self._known.popitem(last=False)[1][0])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)
