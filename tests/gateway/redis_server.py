"""A real Redis for tests, which can be killed, paused and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import redis

from tests.gateway.test_limiter import free_port

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(PROGRAM is None, reason="no redis-server: apt-get install redis-server")
PREFIX = "streamproc:verdict:"


class RedisServer:
    """Keeps nothing on disk: what is started again is empty."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self._port}/3"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        told = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        with (self._folder / "redis.log").open("ab") as out:
            self._process = subprocess.Popen([PROGRAM or "", *told], stdout=out, stderr=out)
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "redis.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, command: str, *words: Any) -> Any:
        """Return the answer to one command."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(command, *words)

    def verdicts(self) -> dict[str, Any]:
        """Return what a limiter of somebody's would read: each subject with its value."""
        with redis.Redis.from_url(self.url) as client:
            names = sorted(client.scan_iter(f"{PREFIX}*"))
            values = client.mget(names) if names else []
        subjects = (name.decode().removeprefix(PREFIX) for name in names)
        return {subject: _read(value) for subject, value in zip(subjects, values, strict=True)}

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.ask("PING"))
        return False


def _read(value: bytes | None) -> Any:
    """The value as JSON, and what is none as it is."""
    with suppress(orjson.JSONDecodeError, TypeError):
        return orjson.loads(value)  # type: ignore[arg-type]
    return value
