"""How fast a throttled subject may go: a bucket of requests and one of tokens, by the library `limits`."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Final, TypeAlias

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

if TYPE_CHECKING:
    from limits.aio.storage.redis import RedisStorage

    from streamproc.gateway.verdicts import Verdict
    from streamproc.settings import GatewaySettings

__all__ = ["Buckets", "Store"]

MOST_MINUTES: Final = 60 * 24  # the slowest rate above none at all: once a day
MOST_AMOUNT: Final = 10**12
STORES: Final = (
    256  # with each hit a store of `limits` walks through all that it holds: 12 ms at 50,000 subjects in one
)


Storage: TypeAlias = "MemoryStorage | RedisStorage"


class Store:
    """One place that counts.

    The strategy counts by fixed windows and weighs the one before, so a bucket is two numbers whatever its rate.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def wait_s(self, rates: list[tuple[str, float, int]], subject: str) -> float | None:
        """Take each cost out of the subject's bucket of that name and rate a minute: None, or the wait if one lacks it.

        What one bucket lacks costs nothing in another, but for a request that was first at the same time.
        A cost of more than a whole bucket takes the whole: it must pass some time.
        """
        items = [(_item(rate), name, cost) for name, rate, cost in rates if cost]
        taken = [(item, name, min(cost, item.amount)) for item, name, cost in items if item is not None]
        if len(taken) < len(items):
            return math.inf
        for item, name, cost in taken[:-1]:
            if not await self._limiter.test(item, name, subject, cost=cost):
                return await self._left_s(item, name, subject)
        for item, name, cost in reversed(taken):
            if not await self._limiter.hit(item, name, subject, cost=cost):
                return await self._left_s(item, name, subject)
        return None

    async def _left_s(self, item: RateLimitItem, name: str, subject: str) -> float:
        """Return the time until the present window ends, when the bucket has room again or begins to have."""
        window_s = item.get_expiry()
        key = item.key_for(name, subject)
        _, before_s, count, present_s = await self._storage.get_sliding_window(key, window_s)
        return (present_s if count else before_s) % window_s or window_s  # a multiple of it is as a window begins


class Buckets:
    """The buckets of one replica, in memory; a subject's go with its last window."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._stores = [Store(MemoryStorage()) for _ in range(STORES)]

    async def wait_s(self, verdict: Verdict, tokens: int) -> float | None:
        """Take one request and its tokens out of the subject's buckets: None, or the wait if one has too little.

        A bucket is asked only if the verdict limits by it; where it names no limit at all, the settings' rates hold.
        """
        store = self._stores[zlib.crc32(verdict.key.encode()) % STORES]
        return await store.wait_s(self.rates(verdict, tokens), verdict.key)

    async def close(self) -> None:
        """Let go of nothing: it is all in memory."""

    def rates(self, verdict: Verdict, tokens: int) -> list[tuple[str, float, int]]:
        """Return the buckets that the request takes from: their names, rates a minute, and costs."""
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
