"""Connections to the Redis that REDIS_URL names. The package `redis` is an extra: whoever uses this needs it."""

from __future__ import annotations

from typing import Any, Final

from streamproc.settings import SettingsError

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ImportError as missing:
    raise SettingsError("REDIS_URL: the package redis is missing, install streamproc[redis]") from missing

__all__ = ["FAILURES", "Redis", "pool"]

FAILURES: Final = (RedisError, OSError, TimeoutError)  # Redis is away, slow, full, or not what it should be


def pool(url: str, most: int, within_s: float) -> BlockingConnectionPool:
    """Return up to `most` connections; each step of one fails after `within_s`, and is not tried again.

    Raises:
        SettingsError: an address that cannot be read.
    """
    options: dict[str, Any] = {
        "max_connections": most,
        "timeout": within_s,
        "socket_timeout": within_s,
        "socket_connect_timeout": within_s,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        return BlockingConnectionPool.from_url(url, **options)
    except ValueError:
        raise SettingsError("REDIS_URL: not an address that Redis' client can read") from None
