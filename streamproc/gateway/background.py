"""What a gateway inside another program keeps running: a thread that follows the verdicts and sends the events."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from typing import TYPE_CHECKING, Final

from streamproc.gateway.gate import Gate, now_ms
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.post import Post
from streamproc.gateway.reading import Reader
from streamproc.gateway.verdicts import Verdicts
from streamproc.health import HealthServer
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamproc.settings import Settings

__all__ = ["Background"]

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
AGAIN_S: Final = 1.0
STOP_WITHIN_S: Final = 5.0
MOST_PROCESSES: Final = 64  # of one program on one machine: each shows its metrics on a port of its own


class Background:
    """The verdicts, the gate that answers by them, and the post, for the threads of one process.

    The thread ends with its process: what waits to be sent then is sent first, for at most some seconds.

    Raises:
        SettingsError: certificate files that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        settings.kafka.ssl_context()
        gateway = settings.gateway
        self.metrics = Metrics()
        self.verdicts = Verdicts(gateway.most_subjects, int(gateway.ahead_s * 1000))
        self.reader = Reader(settings.kafka, settings.topics.enforcement, self.verdicts, self.metrics)
        self.post = Post(settings.kafka, settings.topics.requests, self.metrics, gateway.most_waiting)
        self.gate = Gate(gateway, self.verdicts, self.metrics, self.why_not_ready)
        self._settings = settings
        self._known = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="streamproc", daemon=True)

    def why_not_ready(self) -> str | None:
        """Return None once the verdicts are known."""
        return self.reader.why_not_ready

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()
        atexit.register(self.stop)

    def wait_ready(self, within_s: float) -> bool:
        """Return whether the verdicts are known, as soon as they are or when the time is over."""
        return self._known.wait(within_s)

    def stop(self) -> None:
        """Send what waits, and end; twice does no harm."""
        atexit.unregister(self.stop)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_WITHIN_S)

    # -- in the thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        works = (self.reader.run, self.post.run, self._look_after, self._show)
        tasks = [asyncio.create_task(self._kept(work)) for work in works]
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _kept(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin the work again whenever it fails: nobody watches this thread."""
        while True:
            try:
                await work()
            except Exception:
                self.metrics.add("gateway_failures_total")
                log.exception("begun again after a failure")
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _look_after(self) -> None:
        while True:
            more = self.verdicts.lapse(now_ms())
            self.metrics.show(self.verdicts)
            if self.why_not_ready() is None:
                self._known.set()
            await asyncio.sleep(0 if more else EVERY_S if self._known.is_set() else EVERY_S / 20)

    async def _show(self) -> None:
        """Serve /metrics, /healthz and /readyz on the first free port from GATEWAY_HTTP_PORT on, if that is set."""
        first = self._settings.gateway.http_port
        if first is None:
            return
        for port in range(first, first + MOST_PROCESSES):
            server = HealthServer(
                self._settings.http_host, port,
                metrics=self.metrics, healthy=lambda: None, ready=self.why_not_ready,
            )  # fmt: skip
            try:
                log.warning("metrics are on port %d", await server.start())
            except SettingsError:
                continue
            try:
                await asyncio.Event().wait()
            finally:
                await server.stop()
        log.error(
            "GATEWAY_HTTP_PORT: %d and the %d after it are taken: no metrics are shown", first, MOST_PROCESSES - 1
        )
