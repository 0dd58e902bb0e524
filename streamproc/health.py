"""A service's HTTP server: /metrics for Prometheus, /healthz and /readyz for whoever restarts or waits.

It runs on the service's own event loop, so that a loop that is stuck answers nobody and is seen to be stuck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from streamproc.meters import CONTENT_TYPE_LATEST
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.typedefs import Middleware

    from streamproc.meters import Meters

__all__ = ["HealthServer"]


class HealthServer:
    """Serves until stopped.

    `healthy` and `ready` return None when all is well, or the reason in one line: the body of a 503.
    `routes` are what else is served, `middlewares` what all requests go through.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Meters,
        healthy: Callable[[], str | None],
        ready: Callable[[], str | None],
        routes: Iterable[web.RouteDef] = (),
        middlewares: Iterable[Middleware] = (),
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._checks = {"/healthz": healthy, "/readyz": ready}
        self._routes = tuple(routes)
        self._middlewares = tuple(middlewares)
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and return the port, which is a free one if 0 was asked for.

        Raises:
            SettingsError: the address cannot be had.
        """
        application = web.Application(middlewares=self._middlewares)
        application.router.add_get("/metrics", self._serve_metrics)
        application.router.add_routes(self._routes)
        for path in self._checks:
            application.router.add_get(path, self._serve_check)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as reason:
            await self.stop()
            address = f"{self._host}:{self._port}"
            text = f"HTTP_HOST, HTTP_PORT: cannot listen on {address} ({reason.strerror}), set another"
            raise SettingsError(text) from reason
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the server; once is enough, twice does no harm."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _serve_check(self, request: web.Request) -> web.Response:
        reason = self._checks[request.path]()
        return web.Response(text=f"{reason or 'ok'}\n", status=200 if reason is None else 503)
