"""Where events go: a file, or the topic of requests, keyed by account."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streamproc.lines import InputError, open_lines
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from types import TracebackType

    from streamproc.ingest.record import Json
    from streamproc.settings import KafkaSettings

__all__ = ["FileSink", "KafkaSink", "Sink", "UnavailableError", "check_topic"]

LINGER_MS: Final = 5
BATCH_BYTES: Final = 512 * 1024
GIVE_UP_AFTER_MS: Final = 10_000


class UnavailableError(Exception):
    """The brokers do not take events now."""


class Sink(Protocol):
    """Takes events, some at a time; when `put` has returned they are there."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def put(self, events: list[Json]) -> None:
        """Hand over events.

        Raises:
            UnavailableError: they are not there, or not all; the same may be put again.
        """


class FileSink:
    """A file of JSON Lines, compressed by its suffix; `-` is standard output."""

    def __init__(self, path: Path) -> None:
        self._out = sys.stdout.buffer if str(path) == "-" else open_lines(path, "wb")
        self._path = path

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if str(self._path) == "-":
            self._out.flush()
        else:
            self._out.close()

    async def put(self, events: list[Json]) -> None:
        """Write the events.

        Raises:
            InputError: the file cannot be written.
        """
        try:
            self._out.write(b"".join([orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events]))
            self._out.flush()
        except OSError as error:
            raise InputError(f"{self._path}: {error.strerror or error}") from error


class KafkaSink:
    """The topic. Events are there when all of its copies have them; a batch is sent again until it is there.

    Raises:
        SettingsError: no broker answers, or there is no such topic.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        await check_topic(self._kafka, self._topic, "`streamproc run` makes it, or make it by hand")
        # Not an idempotent one: that would wait for brokers without end. What is sent twice has the same id.
        self._producer = AIOKafkaProducer(
            **self._kafka.client_options(),
            acks="all",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=GIVE_UP_AFTER_MS,
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._producer is not None
        with suppress(KafkaError):
            await self._producer.stop()

    async def put(self, events: list[Json]) -> None:
        """Have the events sent, and wait until the brokers have them all.

        Raises:
            UnavailableError: they do not.
        """
        assert self._producer is not None
        sent: list[Any] = []
        try:
            for event in events:
                key, value = event["account"].encode(), orjson.dumps(event)
                sent.append(await self._producer.send(self._topic, value, key=key))
        except KafkaError as reason:
            await asyncio.gather(*sent, return_exceptions=True)
            raise UnavailableError(type(reason).__name__) from reason
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, KafkaError):
                raise UnavailableError(type(result).__name__) from result
            if isinstance(result, BaseException):
                raise result


async def check_topic(kafka: KafkaSettings, topic: str, fix: str) -> None:
    """See that the topic is there: asked for by name alone it would be made, with the broker's own settings.

    Raises:
        SettingsError: no broker answers, or there is no such topic; `fix` says what to do then.
    """
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it would say is in the errors below
    client = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=10_000)
    try:
        await client.start()
        known = await client.list_topics()
    except (KafkaError, OSError) as reason:
        servers = ",".join(kafka.bootstrap_servers)
        raise SettingsError(f"KAFKA_BOOTSTRAP_SERVERS: no broker answers at {servers} ({reason})") from reason
    finally:
        await client.close()
    if topic not in known:
        raise SettingsError(f"there is no topic {topic}: {fix}")
