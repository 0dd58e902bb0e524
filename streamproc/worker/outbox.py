"""What the worker sends: in order, and known to be at the brokers after a flush."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer

if TYPE_CHECKING:
    import asyncio

    from streamproc.settings import KafkaSettings

__all__ = ["Outbox"]

GIVE_UP_AFTER_MS: Final = 120_000  # of brokers that do not answer
BATCH_BYTES: Final = 512 * 1024  # a batch of uses has some 140 KB, and one that does not fit waits for the one before
LINGER_MS: Final = 5


class Outbox:
    """A producer that sends nothing any more once something could not be sent.

    The order of a partition is kept: aiokafka has one request of a partition in flight.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            **self._kafka.client_options(),
            acks="all",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=GIVE_UP_AFTER_MS,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Send what waits and disconnect; once is enough, twice does no harm."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def send(self, topic: str, value: bytes, *, key: str | None = None) -> None:
        """Put a message into the queue, and wait only while the queue is full.

        Raises:
            KafkaError: an earlier message could not be sent.
        """
        self._check()
        assert self._producer is not None
        sent = await self._producer.send(topic, value, key=None if key is None else key.encode())
        sent.add_done_callback(self._note)

    async def flush(self) -> None:
        """Return once all messages are at the brokers.

        Raises:
            KafkaError: one could not be sent.
        """
        if self._producer is not None:
            await self._producer.flush()
        self._check()

    def _note(self, sent: asyncio.Future[Any]) -> None:
        if not sent.cancelled() and self._failure is None:
            self._failure = sent.exception()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
