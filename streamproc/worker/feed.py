"""Events into Kafka, keyed by account as a gateway would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from aiokafka import AIOKafkaProducer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from streamproc.settings import KafkaSettings

__all__ = ["feed"]

AT_ONCE: Final = 500
BATCH_BYTES: Final = 512 * 1024
LINGER_MS: Final = 50


class _Keyed(msgspec.Struct):
    account: str


async def _at_once(_sent: int) -> None:
    return None


async def feed(
    kafka: KafkaSettings,
    topic: str,
    lines: Iterable[bytes],
    before: Callable[[int], Awaitable[None]] = _at_once,
) -> int:
    """Send events, one a line, and return how many; all are at the brokers then.

    The producer waits for the brokers when it is some batches ahead of them. `before` is awaited before every 500
    events, with the number sent so far: whoever knows the consumer can hold the producer back there.

    Raises:
        KafkaError: the brokers do not take them.
    """
    key_of = msgspec.json.Decoder(_Keyed).decode
    sent = 0
    options = kafka.client_options() | {"linger_ms": LINGER_MS, "max_batch_size": BATCH_BYTES}
    async with AIOKafkaProducer(**options) as producer:
        for line in lines:
            if sent % AT_ONCE == 0:
                await before(sent)
            value = line.rstrip(b"\n")
            await producer.send(topic, value, key=key_of(value).account.encode())
            sent += 1
        await producer.flush()
    return sent
