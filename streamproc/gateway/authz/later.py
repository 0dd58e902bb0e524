"""Work that no request waits for, done between those that come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Later"]

MOST_JOBS: Final = 4_000
MOST_BYTES: Final = 64 * 2**20
MOST_TURN_S: Final = 0.0002  # that a check waits for them, or for the one that takes longer


class Later:
    """Jobs in the order in which they came, for a moment in every second turn of the event loop.

    Beyond `MOST_JOBS`, or `MOST_BYTES` of what they hold, the oldest are done at once.
    """

    def __init__(self) -> None:
        self._jobs: deque[tuple[int, Callable[[], None]]] = deque()
        self._bytes = 0

    def put(self, job: Callable[[], None], held_bytes: int = 0) -> None:
        """Have a job done, which holds so many bytes until then."""
        begins = not self._jobs
        self._jobs.append((held_bytes, job))
        self._bytes += held_bytes
        if begins:
            asyncio.get_running_loop().call_soon(self._wait_a_turn)
        while len(self._jobs) > MOST_JOBS or self._bytes > MOST_BYTES:
            self._do_one()

    def finish(self) -> None:
        """Do all of them now."""
        while self._jobs:
            self._do_one()

    def _wait_a_turn(self) -> None:
        """Let the answers of this turn be written first."""
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        until_s = time.perf_counter() + MOST_TURN_S
        try:
            while self._jobs:
                self._do_one()
                if time.perf_counter() >= until_s:
                    break
        finally:
            if self._jobs:
                asyncio.get_running_loop().call_soon(self._wait_a_turn)

    def _do_one(self) -> None:
        held_bytes, job = self._jobs.popleft()
        self._bytes -= held_bytes
        job()
