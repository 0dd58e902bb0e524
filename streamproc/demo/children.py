"""The demo's folder, broker and worker: all are gone when their block ends.

Broker and worker also end with this process, however it ends: their standard input is a pipe that only it holds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from streamproc import broker, settings
from streamproc.demo.telling import DemoError, say
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PARTITIONS", "broker_in", "folder_for", "worker_in"]

PARTITIONS: Final = 4
TOPICS: Final = {
    "requests": PARTITIONS, "requests.dead": 1, "uses": 1, "enforcement": PARTITIONS, "campaigns": 1, "rounds": 1,
    "labels": 1,
}  # fmt: skip
READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 15.0
LOOK_EVERY_S: Final = 0.1


@contextmanager
def folder_for(keep: Path | None) -> Iterator[Path]:
    """Yield the folder to keep, or a temporary one that is removed."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    made = Path(tempfile.mkdtemp(prefix="streamproc-demo-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def broker_in(folder: Path) -> Iterator[str]:
    """Yield the address of the broker that BROKER names: `embedded` (the default) or `kafka`.

    Raises:
        SettingsError: it names another, or there is no Java for a real one.
    """
    kind = os.environ.get("BROKER") or "embedded"
    if kind not in ("embedded", "kafka"):
        raise SettingsError(f"BROKER: {kind!r} is neither embedded nor kafka")
    if kind == "kafka" and (reason := broker.available()) is not None:
        raise SettingsError(f"BROKER: {reason}")
    say(f"starting {'a real Kafka' if kind == 'kafka' else 'the embedded broker'} and the worker")
    with broker.kafka(folder / "kafka") if kind == "kafka" else broker.embedded(TOPICS) as address:
        yield address


@contextmanager
def worker_in(folder: Path, address: str) -> Iterator[int]:
    """Run the worker; yields the port of its metrics once it is ready.

    Raises:
        DemoError: it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    log = folder / "worker.log"
    ours = {
        "KAFKA_BOOTSTRAP_SERVERS": address, "KAFKA_PARTITIONS": str(PARTITIONS), "KAFKA_SESSION_S": "10",
        "STATE_URL": str(folder / "state"), "MODE": "enforce", "SNAPSHOT_S": "2", "IDLE_S": "3600", "STOP_S": "8",
        "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port),
    }  # fmt: skip
    names = {variable.name for variable in settings.VARIABLES} - {"POLICY"}
    rest = {name: value for name, value in os.environ.items() if name not in names}
    with log.open("wb") as out, subprocess.Popen(
        [sys.executable, "-m", "streamproc.cli", "run", "--owned"],
        env=rest | ours, stdin=subprocess.PIPE, stdout=out, stderr=out,
        start_new_session=True,  # an interrupt at the terminal is handled here, in our order
    ) as process:  # fmt: skip
        try:
            _wait_ready(process, port, log)
            yield port
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not asyncio.run(_ready(port)):
        if process.poll() is not None or time.monotonic() > deadline:
            last = (log.read_text(errors="replace").strip().splitlines() or ["it did not say why"])[-1]
            raise DemoError(f"the worker did not start: {last}")
        time.sleep(LOOK_EVERY_S)


async def _ready(port: int) -> bool:
    with suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200  # noqa: PLR2004 - HTTP's own number
    return False
