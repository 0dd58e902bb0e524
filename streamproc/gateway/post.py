"""Request events to the brokers, in batches off the requests' path.

Whoever posts an event never waits and never hears of a failure: brokers that are away, slow or full cost events, which
are counted, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

if TYPE_CHECKING:
    from streamproc.gateway.metrics import Metrics
    from streamproc.settings import KafkaSettings

__all__ = ["Post"]

log = logging.getLogger(__name__)

BATCH_EVENTS: Final = 500
GATHER_S: Final = 0.1  # after an event, before it is sent: a batch costs little more than one alone
GIVE_UP_AFTER_MS: Final = 10_000  # on one batch; what comes meanwhile waits, up to the limit
RETRY_S: Final = 1.0


class Post:
    """Events that wait for the brokers, at most `most_waiting`; a further one is dropped.

    `send` may be called from any thread, before `run` or after; `run` belongs to one event loop.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, metrics: Metrics, most_waiting: int) -> None:
        self._kafka = kafka
        self._topic = topic
        self._metrics = metrics
        self._most = most_waiting
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._some = asyncio.Event()
        self._woken = False
        self._up = True

    def send(self, event: dict[str, Any]) -> None:
        """Have the event sent, keyed by its account."""
        if len(self._waiting) >= self._most:
            self._metrics.add("gateway_requests_total", fate="dropped")
            return
        self._waiting.append((event["account"].encode(), orjson.dumps(event)))
        if self._loop is not None and not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended: so does the process
                self._loop.call_soon_threadsafe(self._some.set)

    async def run(self) -> None:
        """Send until cancelled, then send what waits.

        Raises:
            SettingsError: certificate files that cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._some.set()
        producer: AIOKafkaProducer | None = None
        try:
            while True:
                producer = await self._connected()
                await self._sending(producer)
        finally:
            self._loop = None
            if producer is not None:
                with suppress(KafkaError, asyncio.CancelledError):
                    while self._waiting and await self._send_some(producer):
                        pass
                await producer.stop()

    async def _connected(self) -> AIOKafkaProducer:
        while True:
            producer = AIOKafkaProducer(
                **self._kafka.client_options(),
                acks="all",
                request_timeout_ms=GIVE_UP_AFTER_MS,
            )
            try:
                await producer.start()
            except BaseException as reason:
                with suppress(KafkaError, OSError):
                    await producer.stop()
                if not isinstance(reason, (KafkaError, OSError)):
                    raise
                self._say_up(type(reason).__name__)
                await asyncio.sleep(RETRY_S)
            else:
                return producer

    async def _sending(self, producer: AIOKafkaProducer) -> None:
        while True:
            await self._some.wait()
            if len(self._waiting) < BATCH_EVENTS:
                await asyncio.sleep(GATHER_S)
            self._some.clear()
            self._woken = False  # before the look: who comes after it wakes us again
            while self._waiting:
                await self._send_some(producer)
            self._metrics.set("gateway_waiting_requests", 0)

    async def _send_some(self, producer: AIOKafkaProducer) -> bool:
        """Send the oldest that wait, and return whether none failed; what the brokers do not have waits on."""
        batch = list(islice(self._waiting, BATCH_EVENTS))
        self._metrics.set("gateway_waiting_requests", len(self._waiting))
        failures = await _send_all(producer, self._topic, batch)
        for _ in batch:
            self._waiting.popleft()
        again = [one for one, failure in zip(batch, failures, strict=True) if failure and not _is_final(failure)]
        self._waiting.extendleft(reversed(again))
        sent = failures.count(None)
        self._metrics.add("gateway_requests_total", sent, fate="sent")
        self._metrics.add("gateway_requests_total", len(batch) - sent - len(again), fate="failed")
        if again:
            self._say_up(next(type(failure).__name__ for failure in failures if failure))
            await asyncio.sleep(RETRY_S)
        else:
            self._say_up(None)
        return not again

    def _say_up(self, why: str | None) -> None:
        if why is None and not self._up:
            log.warning("request events are sent again")
        elif why is not None and self._up:
            log.error("request events cannot be sent (%s): they wait, and are dropped beyond %d", why, self._most)
        self._up = why is None


async def _send_all(
    producer: AIOKafkaProducer, topic: str, batch: list[tuple[bytes, bytes]]
) -> list[BaseException | None]:
    """Return what became of each: None, or why the brokers do not have it."""
    sent: list[Any] = []
    failures: list[BaseException | None] = []
    for key, value in batch:
        try:
            sent.append(await producer.send(topic, value, key=key))
        except MessageSizeTooLargeError as reason:
            sent.append(_failed(reason))
        except KafkaError as reason:  # no use in waiting as long for each of the rest
            failures = [reason] * (len(batch) - len(sent))
            break
    results = await asyncio.gather(*sent, return_exceptions=True)
    return [result if isinstance(result, BaseException) else None for result in results] + failures


async def _failed(reason: KafkaError) -> None:
    raise reason


def _is_final(failure: BaseException) -> bool:
    return isinstance(failure, MessageSizeTooLargeError)
