"""Where records come from: files, standard input, a Kafka topic; and the accounts table that lies in a topic."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

import zstandard
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from streamproc.following import Follower
from streamproc.ingest.parsing import lines_of, parse
from streamproc.ingest.record import Refused
from streamproc.ingest.sinks import check_topic
from streamproc.lines import InputError, open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aiokafka import ConsumerRecord, TopicPartition

    from streamproc.ingest.accounts import Accounts
    from streamproc.ingest.stage import Stage
    from streamproc.settings import KafkaSettings

__all__ = ["AccountsTopic", "files", "topic"]

log = logging.getLogger(__name__)

AT_ONCE: Final = 500  # records
POLL_MS: Final = 200
RETRY_S: Final = 1.0
READY_EVERY_S: Final = 0.02
STOP_WITHIN_S: Final = 5.0
PATIENCE_S: Final = 60.0  # for brokers that are away while files are read


async def files(paths: list[Path], stage: Stage) -> None:
    """Pass on the lines of files, `-` for standard input.

    Raises:
        InputError: one cannot be read to its end. What came before is passed on.
        UnavailableError: the brokers were away for too long.
    """
    for path in paths:
        lines = _lines(path)
        while some := list(islice(lines, AT_ONCE)):
            await stage.take(((line, None) for line in some), patience_s=PATIENCE_S)
    await stage.end(PATIENCE_S)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        if str(path) == "-":
            yield from lines_of(sys.stdin.buffer)
        else:
            with open_lines(path) as file:
                yield from lines_of(file)
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise InputError(f"{path}: {error}") from error


# -- Kafka ---------------------------------------------------------------------------------------------


async def topic(kafka: KafkaSettings, name: str, stage: Stage, stop: asyncio.Event) -> None:
    """Pass on a topic's records until `stop`. Offsets are committed when the brokers have the events, never before.

    Raises:
        SettingsError: no broker answers at the start, or there is no such topic.
    """
    await check_topic(kafka, name, "name the one that the gateway writes to")
    consumer = AIOKafkaConsumer(
        name, **kafka.client_options(), group_id=f"{kafka.group}-ingest", enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=int(kafka.session_timeout_s * 1000),
        heartbeat_interval_ms=int(kafka.session_timeout_s * 300),
    )  # fmt: skip
    stopping = asyncio.create_task(stop.wait())
    try:
        await consumer.start()
        while not stop.is_set():
            work = asyncio.create_task(_pass_on(consumer, stage))
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({work}, timeout=STOP_WITHIN_S if stop.is_set() else None)
            if work.done():
                await work
            else:  # the brokers are away: what is not there is taken again by who comes next
                work.cancel()
                await asyncio.wait({work})
    finally:
        stopping.cancel()
        with suppress(KafkaError):
            await consumer.stop()


async def _pass_on(consumer: AIOKafkaConsumer, stage: Stage) -> None:
    try:
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
    except KafkaError as reason:
        log.error("records cannot be read (%s)", type(reason).__name__)  # noqa: TRY400 - the name says it
        await asyncio.sleep(RETRY_S)
        return
    messages = ((one.value, (place, one.offset)) for place, records in fetched.items() for one in records)
    await stage.take(messages, patience_s=math.inf)
    done = {place: records[-1].offset + 1 for place, records in fetched.items()}
    ends = [(consumer.highwater(place) or 0) - offset for place, offset in done.items()]
    stage.metrics.set("ingest_lag_records", max(sum(ends), 0))
    if done:
        with suppress(CommitFailedError, IllegalStateError):  # another has the partition: it takes them again
            await consumer.commit(_up_to_what_waits(done, stage))


def _up_to_what_waits(done: dict[TopicPartition, int], stage: Stage) -> dict[TopicPartition, int]:
    """The offsets that may be committed: a record that waits for its other half is not done, nor is what follows it."""
    for place, offset in stage.maker.halves.places():
        if place in done:
            done[place] = min(done[place], offset)
    return done


class AccountsTopic:
    """Keeps an accounts table as a compacted topic has it; a message without a value takes its account out.

    The key is the account's raw name, the value an object with the columns of the table.
    """

    def __init__(self, kafka: KafkaSettings, name: str, accounts: Accounts) -> None:
        self._kafka = kafka
        self._name = name
        self._accounts = accounts
        self._follower = Follower(kafka, (name,), self._take, meanwhile=f"the accounts of {name} stay as they are")
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read the topic to its end, then go on in the background."""
        await check_topic(self._kafka, self._name, "make it with cleanup.policy=compact and write the accounts there")
        self._following = asyncio.create_task(self._follower.run())
        while self._follower.why_not_ready is not None:  # noqa: ASYNC110 - it says so, and nothing more
            await asyncio.sleep(READY_EVERY_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following

    def _take(self, record: ConsumerRecord) -> None:
        self._enter((record.key or b"").decode("utf-8", "replace"), record.value)

    def _enter(self, account: str, value: bytes | None) -> None:
        if value is None:
            self._accounts.drop(account)
            return
        try:
            row: Any = parse(value)
        except Refused:
            row = None
        if not (isinstance(row, dict) and self._accounts.put({"account": account or None, **row})):
            self._accounts.ignored += 1
