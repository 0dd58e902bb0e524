"""`streamproc authz`: the service that proxies ask, by gRPC and by HTTP."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Final

from streamproc.gateway.authz.core import Authoriser
from streamproc.gateway.authz.forward import Forward
from streamproc.gateway.gate import Gate, now_ms
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.observer import Observer
from streamproc.gateway.post import Post
from streamproc.gateway.reading import Reader
from streamproc.gateway.verdicts import Verdicts
from streamproc.health import HealthServer
from streamproc.serving import quiet_logs, until_told
from streamproc.settings import NO_GRPC, SettingsError

if TYPE_CHECKING:
    from streamproc.gateway.authz.envoy import EnvoyServer
    from streamproc.settings import Settings

__all__ = ["Authz", "run"]

EVERY_S: Final = 1.0


def run(settings: Settings) -> int:
    """Serve until told to stop (INT, TERM); returns the exit code.

    Raises:
        SettingsError: a setting is missing, an address cannot be had, or certificate files cannot be used.
    """
    quiet_logs()
    return asyncio.run(Authz(settings).serve())


class Authz:
    """The service: what is in force, who asks about it, and events on their way out."""

    def __init__(self, settings: Settings) -> None:
        if not settings.authz.account:
            raise SettingsError("AUTHZ_ACCOUNT: name the header that the proxy puts the account into, as x-account-id")
        gateway = settings.gateway
        self.metrics = Metrics()
        self.verdicts = Verdicts(gateway.most_subjects, int(gateway.ahead_s * 1000))
        self.reader = Reader(settings.kafka, settings.topics.enforcement, self.verdicts, self.metrics)
        self.post = Post(settings.kafka, settings.topics.requests, self.metrics, gateway.most_waiting)
        self.gate = Gate(gateway, self.verdicts, self.metrics, lambda: self.reader.why_not_ready)
        observer = Observer(gateway, self.gate, self.post, self.metrics)
        self.authoriser = Authoriser(settings.authz, observer, self.metrics)
        self.http = HealthServer(
            settings.http_host, settings.http_port, metrics=self.metrics,
            healthy=lambda: None, ready=lambda: self.reader.why_not_ready,
            routes=Forward(self.authoriser, self.metrics).routes,
        )  # fmt: skip
        self.envoy = _envoy(settings.authz.grpc, self.authoriser)

    async def serve(self) -> int:
        """Serve until told to stop; returns the exit code."""
        posting = asyncio.create_task(self.post.run())
        try:
            await self.http.start()
            if self.envoy is not None:
                await self.envoy.start()
            gc.freeze()  # what stands by now stands for good: no collection need walk it while a check waits
            await until_told(self.reader.run(), self._look_after(), _end_of(posting))
        finally:
            await self._stop(posting)
        return 0

    async def _stop(self, posting: asyncio.Task[None]) -> None:
        """Take no more requests, and send out what is known of the last ones."""
        if self.envoy is not None:
            await self.envoy.stop()
        await self.http.stop()
        self.authoriser.close()
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        await self.gate.close()

    async def _look_after(self) -> None:
        while True:
            more = self.verdicts.lapse(now_ms())
            self.metrics.show(self.verdicts)
            self.authoriser.look_after()
            await asyncio.sleep(0 if more else EVERY_S)


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait for a task that goes on when nobody waits any more."""
    await asyncio.shield(task)


def _envoy(address: str, authoriser: Authoriser) -> EnvoyServer | None:
    if address == NO_GRPC:
        return None
    try:
        from streamproc.gateway.authz.envoy import EnvoyServer  # noqa: PLC0415 - an extra
    except ImportError as reason:
        text = f"AUTHZ_GRPC: pip install 'streamproc[envoy]' for Envoy ({reason.name} is missing), or set {NO_GRPC}"
        raise SettingsError(text) from reason
    return EnvoyServer(address, authoriser)
