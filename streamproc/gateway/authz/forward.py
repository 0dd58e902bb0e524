"""Forward-auth over HTTP: NGINX auth_request, Traefik ForwardAuth, Caddy forward_auth, APISIX forward-auth.

`/v1/auth` answers 200, or with the refusal as the client is to get it. With `?refuse=403`, for NGINX, which passes on
nothing but 401 and 403, a refusal is a 403 that has the whole of it in a header, and `/v1/refused` makes the refusal of
that. With `?answer=later` the event waits for its answer's side, which `POST /v1/answers` takes as JSON lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta

from streamproc.gateway.authz.callers import Presented

if TYPE_CHECKING:
    from streamproc.gateway.authz.core import Authoriser, Checked
    from streamproc.gateway.metrics import Metrics

__all__ = ["Forward"]

MOST_BODY_BYTES: Final = 4 * 2**20  # what a proxy hands over beyond is taken for a part
PATHS: Final = ("x-forwarded-uri", "x-original-uri", "x-original-url")  # Traefik, Caddy, APISIX; NGINX by custom
METHODS: Final = ("x-forwarded-method", "x-original-method")
UNFOLDED: Final = "content-encoding"  # aiohttp has undone it
FORWARDED_FOR: Final = "x-forwarded-for"
ID: Final = "x-streamproc-id"
REFUSAL: Final = "x-streamproc-refusal"

KNOWN: Final = ("duration_ms", "ttft_ms", "tok_in", "tok_out", "tok_cached", "tok_reasoning")

Whole = Annotated[int, Meta(ge=0, lt=2**53)]
Ms = Annotated[float, Meta(ge=0, le=1e12)]


class AnswersSide(msgspec.Struct, kw_only=True):
    """A line of `/v1/answers`: the id that the check gave, and what a proxy's log knows of the answer."""

    id: str
    status: Annotated[int, Meta(ge=100, le=599)] | None = None
    duration_ms: Ms | None = None
    duration_s: Ms | None = None  # instead, as NGINX has it
    ttft_ms: Ms | None = None
    tok_in: Whole | None = None
    tok_out: Whole | None = None
    tok_cached: Whole | None = None
    tok_reasoning: Whole | None = None


class _Refusal(msgspec.Struct):
    status: Annotated[int, Meta(ge=400, le=599)]
    headers: dict[str, str]
    body: msgspec.Raw


class Forward:
    """The routes."""

    def __init__(self, authoriser: Authoriser, metrics: Metrics) -> None:
        self._authoriser = authoriser
        self._metrics = metrics
        self.routes = (
            web.route("*", "/v1/auth", self._auth),
            web.get("/v1/refused", _refused),
            web.post("/v1/answers", self._answers),
        )

    async def _auth(self, request: web.Request) -> web.Response:
        body = await _read(request)
        shown = presented(request, body)
        checked = await self._authoriser.check(shown, waits=request.query.get("answer") == "later")
        return response(checked, only_403=request.query.get("refuse") == "403")

    async def _answers(self, request: web.Request) -> web.Response:
        """Take answers' sides, one JSON object a line; a line that is none is counted and passed over."""
        counts = {"joined": 0, "unknown": 0, "bad": 0}
        self._authoriser.later.finish()
        async for line in request.content:
            if not line.strip():
                continue
            try:
                side = _side(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                counts["bad"] += 1
                self._metrics.add("gateway_bad_checks_total")
                continue
            joined = self._authoriser.answered(side.id, side.status, _known(side))
            counts["joined" if joined else "unknown"] += 1
        return web.json_response(counts)


def presented(request: web.Request, body: bytes) -> Presented:
    """Return the request that a proxy asks about: its own is another, and tells of it in headers."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
    values = {name.lower(): value for name, value in headers}
    return Presented(
        method=next((values[name] for name in METHODS if name in values), ""),
        path=next((values[name] for name in PATHS if name in values), "/"),
        headers=[(name, value) for name, value in headers if name.lower() != UNFOLDED],
        body=body[:MOST_BODY_BYTES],
        partial=len(body) > MOST_BODY_BYTES,
        peer=values.get(FORWARDED_FOR, "").rpartition(",")[2].strip(),  # the last is the one that the proxy saw
    )


def response(checked: Checked, *, only_403: bool) -> web.Response:
    """Return what the proxy is told."""
    answer = checked.answer
    headers = {ID: checked.id, "cache-control": "no-store", **answer.headers}
    if answer.passes:
        return web.Response(headers=headers)
    if only_403:
        whole = {"status": answer.status, "headers": answer.headers, "body": answer.body}
        return web.Response(status=403, headers={ID: checked.id, REFUSAL: orjson.dumps(whole).decode()})
    return web.Response(status=answer.status, headers=headers, body=orjson.dumps(answer.body))


async def _refused(request: web.Request) -> web.Response:
    try:
        refusal = _refusal(request.headers.get(REFUSAL, ""))
    except msgspec.MsgspecError:
        return web.Response(text=f"{REFUSAL} is not as /v1/auth made it\n", status=400)
    return web.Response(status=refusal.status, headers=refusal.headers, body=bytes(refusal.body))


def _known(side: AnswersSide) -> dict[str, Any]:
    known = msgspec.structs.asdict(side)
    if side.duration_s is not None:
        known["duration_ms"] = round(side.duration_s * 1000, 1)
    return {name: known[name] for name in KNOWN if known[name] is not None}


async def _read(request: web.Request) -> bytes:
    """Return the body, or its first bytes and one more than may be."""
    body = bytearray()
    async for piece in request.content.iter_chunked(2**16):
        body += piece
        if len(body) > MOST_BODY_BYTES:
            break
    return bytes(body)


_refusal = msgspec.json.Decoder(_Refusal).decode
_side = msgspec.json.Decoder(AnswersSide).decode
