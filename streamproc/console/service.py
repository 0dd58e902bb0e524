"""`streamproc console`: follows the topics and serves the analyst's pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from streamproc.console.guard import HEADERS, Guard, is_cross_site
from streamproc.console.labelling import Labeller
from streamproc.console.metrics import PAGES, Metrics
from streamproc.console.pages import Pages
from streamproc.console.table import TOPICS, Table
from streamproc.following import Follower
from streamproc.health import HealthServer
from streamproc.serving import quiet_logs, until_told

if TYPE_CHECKING:
    from collections.abc import Container

    from aiohttp.typedefs import Handler
    from aiokafka import ConsumerRecord

    from streamproc.settings import Settings

__all__ = ["Console", "run"]

EVERY_S: Final = 1.0
FOR_ALL: Final = ("/healthz", "/readyz", "/metrics")  # whoever scrapes has a name of its own for us; no id is there
WILDCARDS: Final = ("0.0.0.0", "::", "")  # noqa: S104 - addresses that name no host


def run(settings: Settings) -> int:
    """Serve until told to stop (INT, TERM); returns the exit code.

    Raises:
        SettingsError: the address cannot be had, or certificate files cannot be used.
    """
    quiet_logs()
    return asyncio.run(Console(settings).serve())


class Console:
    """The service: a table, who fills it, and a server that shows it."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.table = Table(settings.console.most_subjects)
        self._names = {getattr(settings.topics, topic): topic for topic in TOPICS}
        optional = [settings.topics.rounds]
        needed = [name for name in self._names if name not in optional]
        self.follower = Follower(settings.kafka, needed, self._take, optional=optional)
        own = () if settings.http_host in WILDCARDS else (settings.http_host.lower(),)
        self.guard = Guard(settings.console.token, (*settings.console.hosts, *own), settings.console.own_tokens)
        self.labeller = Labeller(settings.kafka, settings.topics.labels)
        pages = Pages(self.table, self.follower, self.guard, self.labeller, self.metrics)
        self.server = HealthServer(
            settings.http_host, settings.http_port, metrics=self.metrics,
            healthy=lambda: None, ready=lambda: self.follower.why_not_ready,
            routes=pages.routes, middlewares=(self._timed, self._guarded),
        )  # fmt: skip

    async def serve(self) -> int:
        """Serve until told to stop; returns the exit code."""
        await self.server.start()
        try:
            await until_told(self.follower.run(), self._look_after())
        finally:
            await self.server.stop()
            await self.labeller.close()
        return 0

    def _take(self, record: ConsumerRecord) -> None:
        self.table.take(self._names[record.topic], record.value, record.key)

    async def _look_after(self) -> None:
        while True:
            self.metrics.show(self.table, self.follower)
            await asyncio.sleep(EVERY_S)

    @web.middleware
    async def _timed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Take the time of a page; every answer bears the headers that keep other sites out."""
        name = request.match_info.route.name
        with self.metrics.timed("console_page_seconds", page=name if name in PAGES else "other"):
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                answer.headers.update(_missing(answer.headers))
                raise
        response.headers.update(_missing(response.headers))
        return response

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away what another site's page wants done here, or has a name lead here for."""
        if request.path not in FOR_ALL and not self.guard.knows_host(request.host):
            return self._refuse("host", 421, "this host's name is not in CONSOLE_HOSTS")
        if request.method not in {"GET", "HEAD"} and is_cross_site(request.headers):
            return self._refuse("cross_site", 403, "the request comes from another site")
        return await handler(request)

    def _refuse(self, why: str, status: int, text: str) -> web.Response:
        self.metrics.add("console_refusals_total", why=why)
        return web.Response(text=f"{text}\n", status=status)


def _missing(headers: Container[str]) -> dict[str, str]:
    return {name: value for name, value in HEADERS.items() if name not in headers}
