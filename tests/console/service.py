"""`streamproc console` as a process for tests, and events that are in force now."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaProducer

from streamproc.contract.decisions import Campaign, Enforcement, encode
from streamproc.contract.labels import Label, encode_label
from streamproc.contract.rounds import RoundEvent, encode_round
from tests import asking
from tests.telling import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

TOKEN = "a-token-of-some-length"  # noqa: S105 - the tests' own
TOPICS = {"enforcement": 3, "campaigns": 1, "rounds": 1, "labels": 1}
TIMES = ("ts_ms", "first_seen_ms", "expires_ms", "since_ms", "until_ms")


def now(event: Any) -> Any:
    """The event as if `tests.telling.events.NOW` were now."""
    shift = int(time.time() * 1000) - events.NOW
    moved = {name: getattr(event, name) + shift for name in TIMES if getattr(event, name, None) is not None}
    if hasattr(event, "seq"):
        moved["seq"] = moved["ts_ms"] * 8
    return msgspec.structs.replace(event, **moved)


def message(event: Any) -> tuple[str, bytes, bytes]:
    """An event's topic, key and value."""
    key = event.key.encode()
    if isinstance(event, Label):
        return "labels", key, encode_label(event)
    if isinstance(event, RoundEvent):
        return "rounds", key, encode_round(event)
    assert isinstance(event, (Campaign, Enforcement))
    return ("campaigns" if isinstance(event, Campaign) else "enforcement"), key, encode(event)


def send(address: str, messages: Iterable[tuple[str, bytes | None, bytes | None]], prefix: str = "") -> None:
    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=20, max_batch_size=400_000) as producer:
            for topic, key, value in messages:
                await producer.send(prefix + topic, value, key=key)
            await producer.flush()

    asyncio.run(produce())


@dataclass
class Console:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body, (0, "") while nobody answers."""
        return asking.get(self.url + path, 10, headers)

    def wait(self, done: Callable[[], Any], within_s: float = 30) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.02)

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200


@contextmanager
def console(address: str, folder: Path, **more: str) -> Iterator[Console]:
    """Run a console until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    log = folder / "console.log"
    environment = {
        **os.environ, "KAFKA_BOOTSTRAP_SERVERS": address, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port),
        "CONSOLE_TOKEN": TOKEN, **more,
    }  # fmt: skip
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamproc.cli", "console"], env=environment, stdout=out, stderr=out, cwd=folder
        )
    try:
        yield Console(process, port, log)
    finally:
        process.kill()
        process.wait()
