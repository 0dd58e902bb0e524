"""How fast a throttled subject may go: a bucket of requests and one of tokens, by the library `limits`."""

from __future__ import annotations

import math
import time
import zlib
from typing import TYPE_CHECKING, Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

if TYPE_CHECKING:
    from streamproc.gateway.verdicts import Verdict
    from streamproc.settings import GatewaySettings

__all__ = ["Buckets"]

MINUTE_S: Final = 60
MOST_MINUTES: Final = 60 * 24  # the slowest rate above none at all: once a day
MOST_AMOUNT: Final = 10**12
STORES: Final = (
    256  # with each hit a store of `limits` walks through all that it holds: 12 ms at 50,000 subjects in one
)


class Buckets:
    """The buckets of one replica, in memory; a subject's go with its last window.

    The strategy counts by fixed windows and weighs the one before, so a bucket is two numbers whatever its rate.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._limiters = [SlidingWindowCounterRateLimiter(MemoryStorage()) for _ in range(STORES)]

    async def wait_s(self, verdict: Verdict, tokens: int) -> float | None:
        """Take one request and its tokens out of the subject's buckets: None, or the wait if one has too little.

        A bucket is asked only if the verdict limits by it; where it names no limit at all, the settings' rates hold.
        A request of more tokens than a whole bucket has takes the whole: it must pass some time.
        """
        limiter = self._limiters[zlib.crc32(verdict.key.encode()) % STORES]
        costs = [(_item(rate), name, cost) for name, rate, cost in self._rates(verdict, tokens) if cost]
        for item, name, cost in costs:
            if item is None:
                return math.inf
            if not await limiter.test(item, name, verdict.key, cost=min(cost, item.amount)):
                return _left_s(item)
        for item, name, cost in costs:
            if item is not None and not await limiter.hit(item, name, verdict.key, cost=min(cost, item.amount)):
                return _left_s(item)  # another request was first
        return None

    def _rates(self, verdict: Verdict, tokens: int) -> list[tuple[str, float, int]]:
        limit = verdict.limit
        requests = limit.requests_per_min if limit is not None else None
        per_min = limit.tokens_per_min if limit is not None else None
        if requests is None and per_min is None:
            requests, per_min = self._settings.requests_per_min, self._settings.tokens_per_min
        pairs = (("requests", requests, 1), ("tokens", per_min, tokens))
        return [(name, rate, cost) for name, rate, cost in pairs if rate is not None]


def _item(rate: float) -> RateLimitItem | None:
    """Return the window for a rate per minute, None for a rate of nothing; below one, a window of several minutes."""
    if rate >= 1:
        return RateLimitItemPerMinute(int(min(rate, MOST_AMOUNT)))
    minutes = math.ceil(1 / rate) if rate * MOST_MINUTES >= 1 else 0
    return RateLimitItemPerMinute(1, minutes) if minutes else None


def _left_s(item: RateLimitItem) -> float:
    """Return the time until the present window ends, when the bucket has room again or begins to have."""
    window_s = item.get_expiry()
    return window_s - time.time() % window_s
