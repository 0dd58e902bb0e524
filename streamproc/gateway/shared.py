"""Buckets that several gateways share, in Redis; while it is slow or away, each counts in its own memory."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from limits.aio.storage.redis import RedisStorage

from streamproc.gateway.buckets import Buckets, Store
from streamproc.gateway.redis_client import FAILURES, pool

if TYPE_CHECKING:
    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.verdicts import Verdict
    from streamproc.settings import GatewaySettings

__all__ = ["SharedBuckets"]

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0  # after a failure one request a second finds out whether Redis is back, and the rest wait for none
CONNECTIONS: Final = 32


class SharedBuckets:
    """Redis' buckets. A request waits for them for `buckets_wait_s` at most, then its replica's own ones count."""

    def __init__(self, settings: GatewaySettings, metrics: Metrics) -> None:
        self._wait_s = settings.buckets_wait_s
        self._metrics = metrics
        self._own = Buckets(settings)
        self._connections = pool(settings.redis_url or "", CONNECTIONS, self._wait_s)
        options: dict[str, Any] = {"implementation": "redispy", "connection_pool": self._connections}
        address = "async+redis://"  # of no account beside the connections
        self._shared = Store(RedisStorage(address, key_prefix=f"{settings.redis_prefix}bucket", **options))
        self._again_s = -math.inf
        self._up = True

    async def wait_s(self, verdict: Verdict, tokens: int) -> float | None:
        """As `Buckets.wait_s`, for all gateways together."""
        now = time.monotonic()
        if now >= self._again_s:
            if not self._up:
                self._again_s = now + AGAIN_S
            try:
                async with asyncio.timeout(self._wait_s):
                    wait_s = await self._shared.wait_s(self._own.rates(verdict, tokens), verdict.key)
            except FAILURES as reason:
                self._again_s = time.monotonic() + AGAIN_S
                self._say_up(type(reason).__name__)
            else:
                self._again_s = -math.inf
                self._say_up(None)
                return wait_s
        self._metrics.add("gateway_fallen_back_checks_total")
        return await self._own.wait_s(verdict, tokens)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    def _say_up(self, why: str | None) -> None:
        up = why is None
        if up and not self._up:
            log.warning("throttles are counted in Redis again, for all gateways together")
        elif self._up and not up:
            log.error("Redis is slow or away (%s): each gateway counts throttles by itself", why)
        self._up = up
