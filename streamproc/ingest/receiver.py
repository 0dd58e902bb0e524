"""Records over HTTP: OTLP's `/v1/traces` in JSON and protobuf, and POSTs of JSON as LiteLLM's generic_api sends them.

A POST is answered when its events are where they go; 503 says that they are not, and the sender is to try again.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from streamproc.ingest import otlp_protobuf
from streamproc.ingest.parsing import MOST_BYTES, messages_of, parse
from streamproc.ingest.record import REASONS
from streamproc.ingest.sinks import UnavailableError
from streamproc.meters import CONTENT_TYPE_LATEST
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.ingest.stage import Outcome, Stage

__all__ = ["Receiver", "address_of"]

log = logging.getLogger(__name__)

AT_ONCE: Final = 4  # bodies held in memory; further senders wait before theirs are read
BODY_WITHIN_S: Final = 30.0
PATIENCE_S: Final = 5.0
JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
UNREADABLE: Final = ("not_json", "not_object", "not_protobuf")


def address_of(listen: str, token: str | None) -> tuple[str, int]:
    """Host and port of `host:port`.

    Raises:
        SettingsError: it is none, or others could reach it and no token keeps them out.
    """
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not (host and colon and port.isdecimal() and int(port) < 2**16):
        raise SettingsError(f"--listen: {listen!r} is not host:port")
    if token is None and not _is_own(host):
        raise SettingsError(f"INGEST_TOKEN: {host} can be reached by others: set a token that senders must show")
    return host, int(port)


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Receiver:
    """Serves until `stop`."""

    def __init__(self, stage: Stage, *, otlp: bool, token: str | None) -> None:
        self._stage = stage
        self._expected = f"Bearer {token}".encode() if token else None
        self._room = asyncio.Semaphore(AT_ONCE)
        self._one = asyncio.Lock()  # the stage takes one run of messages after the other
        self._app = web.Application(client_max_size=MOST_BYTES)
        take = self._take_otlp if otlp else self._take_json
        for path in ("/v1/traces",) if otlp else ("/", "/v1/records"):
            self._app.router.add_post(path, take)
        self._app.router.add_get("/healthz", _healthz)
        self._app.router.add_get("/metrics", self._metrics)

    async def serve(self, host: str, port: int, stop: asyncio.Event, say: Callable[[str], None]) -> None:
        """Listen, say where, and answer until `stop`.

        Raises:
            SettingsError: the address cannot be had.
        """
        runner = web.AppRunner(self._app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            say(f"listening on {host}:{runner.addresses[0][1]}")
            await stop.wait()
        except OSError as reason:
            raise SettingsError(f"--listen: cannot listen on {host}:{port} ({reason.strerror})") from reason
        finally:
            await runner.cleanup()

    async def _take_json(self, request: web.Request) -> web.Response:
        return await self._take(request, lambda body: messages_of(body) if body.strip() else [], parse, _as_json)

    async def _take_otlp(self, request: web.Request) -> web.Response:
        kind = request.content_type
        if kind == JSON:
            return await self._take(request, lambda body: [body] if body.strip() else [], parse, _as_otlp_json)
        if kind != PROTOBUF:
            return web.Response(text=f"{kind} is neither {JSON} nor {PROTOBUF}\n", status=415)
        if not otlp_protobuf.available():
            return web.Response(text=f"no protobuf here: {otlp_protobuf.INSTALL}\n", status=415)
        return await self._take(request, lambda body: [body], otlp_protobuf.decode, _as_otlp_protobuf)

    async def _take(
        self,
        request: web.Request,
        split: Callable[[bytes], list[bytes]],
        decode: Callable[[bytes], object],
        answer: Callable[[Outcome], web.Response],
    ) -> web.Response:
        if not self._may(request):
            return web.Response(text="show the token: Authorization: Bearer ...\n", status=401)
        async with self._room:
            try:
                body = await asyncio.wait_for(request.read(), BODY_WITHIN_S)
            except TimeoutError:
                return web.Response(text="the body did not come\n", status=408)
            messages = ((message, None) for message in split(body))
            try:
                async with self._one:
                    outcome = await self._stage.take(messages, patience_s=PATIENCE_S, decode=decode)
            except UnavailableError:
                return web.Response(text="the brokers take no events\n", status=503, headers={"Retry-After": "5"})
        if outcome.reason in UNREADABLE and not outcome.events:
            return web.Response(text=f"the body is {REASONS[outcome.reason]}\n", status=400)
        return answer(outcome)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._stage.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _may(self, request: web.Request) -> bool:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return self._expected is None or hmac.compare_digest(shown, self._expected)


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _as_json(outcome: Outcome) -> web.Response:
    told = {"events": outcome.events, "refused": outcome.refused}
    return web.Response(body=orjson.dumps(told), content_type=JSON)


def _as_otlp_json(outcome: Outcome) -> web.Response:
    if not outcome.refused:
        return web.Response(body=b"{}", content_type=JSON)
    said = {"rejectedSpans": str(outcome.refused), "errorMessage": REASONS[outcome.reason]}
    return web.Response(body=orjson.dumps({"partialSuccess": said}), content_type=JSON)


def _as_otlp_protobuf(outcome: Outcome) -> web.Response:
    why = REASONS[outcome.reason] if outcome.refused else ""
    return web.Response(body=otlp_protobuf.partial(outcome.refused, why), content_type=PROTOBUF)
