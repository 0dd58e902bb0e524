"""`streamproc limiter`: the verdicts over HTTP, for gateways that ask and for those that follow."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from aiohttp import web

from streamproc.gateway.answers import Answer, Asked
from streamproc.gateway.gate import Gate, now_ms
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.reading import Reader
from streamproc.gateway.streams import Streams
from streamproc.gateway.verdicts import Verdict, Verdicts
from streamproc.health import HealthServer
from streamproc.serving import quiet_logs, until_told

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from streamproc.gateway.mirror import Mirror
    from streamproc.gateway.verdicts import Change
    from streamproc.settings import GatewaySettings, Settings

__all__ = ["Limiter", "run"]

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
AT_ONCE: Final = 1_000
NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"


def run(settings: Settings) -> int:
    """Serve until told to stop (INT, TERM); returns the exit code.

    Raises:
        SettingsError: the address cannot be had, or certificate files cannot be used.
    """
    quiet_logs()
    return asyncio.run(Limiter(settings).serve())


class Limiter:
    """The service: a table, its reader, and a server that answers by it."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.streams = Streams(self.metrics)
        gateway = settings.gateway
        self.verdicts = Verdicts(gateway.most_subjects, int(gateway.ahead_s * 1000), self._tell)
        self.reader = Reader(settings.kafka, settings.topics.enforcement, self.verdicts, self.metrics)
        self.mirror = self._mirror(gateway)
        self.gate = Gate(gateway, self.verdicts, self.metrics, lambda: self.reader.why_not_ready)
        self.server = HealthServer(
            settings.http_host, settings.http_port, metrics=self.metrics,
            healthy=lambda: None, ready=lambda: self.reader.why_not_ready,
            routes=(
                web.post("/v1/check", self._check),
                web.get("/v1/decisions", self._decisions),
                web.get("/v1/decisions/stream", self._stream),
            ),
        )  # fmt: skip

    async def serve(self) -> int:
        """Serve until told to stop; returns the exit code."""
        await self.server.start()
        mirroring = [self.mirror.run()] if self.mirror else []
        try:
            await until_told(self.reader.run(), self._look_after(), *mirroring)
        finally:
            self.streams.close()
            await self.server.stop()
            await self.gate.close()
        return 0

    def _tell(self, change: Change) -> None:
        self.streams.tell(change)
        if self.mirror is not None:
            self.mirror.tell(change)

    def _mirror(self, settings: GatewaySettings) -> Mirror | None:
        if settings.redis_url is None:
            return None
        from streamproc.gateway.mirror import Mirror  # noqa: PLC0415 - needs the extra `redis`

        return Mirror(settings, self.verdicts, self.reader, self.metrics)

    async def _look_after(self) -> None:
        while True:
            more = self.verdicts.lapse(now_ms())
            self.metrics.show(self.verdicts)
            await asyncio.sleep(0 if more else EVERY_S)

    # -- what is served --------------------------------------------------------------------------------

    async def _check(self, request: web.Request) -> web.Response:
        try:
            asked = _asked(await request.read())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.metrics.add("gateway_bad_checks_total")
            return web.Response(text="the body is not as POST /v1/check wants it\n", status=400)
        answer, verdict = await self.gate.answer(asked)
        return web.Response(body=orjson.dumps(_told(answer, verdict)), content_type="application/json")

    async def _decisions(self, request: web.Request) -> web.StreamResponse:
        """All that is in force, one JSON object a line; of one subject alone with ?kind=...&id=..."""
        if self.reader.why_not_ready is not None:
            return _not_ready(self.reader.why_not_ready)
        kind, name = request.query.get("kind"), request.query.get("id")
        found = [
            held
            for held in self.verdicts.in_force(now_ms())
            if kind in (None, held.subject.kind) and name in (None, held.subject.id)
        ]
        return await _send(request, NDJSON, _lines(found))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.reader.why_not_ready is not None:
            return _not_ready(self.reader.why_not_ready)
        if self.streams.full:
            return web.Response(text="too many clients follow the decisions\n", status=503)
        messages = self.streams.follow(lambda: self.verdicts.in_force(now_ms()))
        if EVENTS in request.headers.get("Accept", ""):
            return await _send(request, EVENTS, messages, b"data: %s\n\n")
        return await _send(request, NDJSON, messages, b"%s\n")


def _told(answer: Answer, verdict: Verdict | None) -> dict[str, Any]:
    decision = None if verdict is None else {"id": verdict.id, "action": verdict.action}
    refusal = None if answer.passes else {"status": answer.status, "body": answer.body}
    return {"passes": answer.passes, "answer": refusal, "headers": answer.headers, "decision": decision}


async def _lines(found: list[Verdict]) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(found), AT_ONCE):
        yield _encode_lines(found[at : at + AT_ONCE])


async def _send(
    request: web.Request, content_type: str, messages: AsyncGenerator[bytes, None], frame: bytes = b"%s"
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
    async with aclosing(messages):
        with suppress(ConnectionError):  # the client has gone
            await response.prepare(request)
            async for message in messages:
                await response.write(frame % message)
    return response


def _not_ready(why: str) -> web.Response:
    return web.Response(text=f"{why}\n", status=503)


_asked = msgspec.json.Decoder(Asked).decode
_encode_lines = msgspec.json.Encoder().encode_lines
