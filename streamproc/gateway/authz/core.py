"""What becomes of a request that a proxy asks about, and of the answer that it tells of later; whatever the proxy."""

from __future__ import annotations

import logging
import math
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamproc.gateway.authz.callers import Presented, caller
from streamproc.gateway.authz.later import Later
from streamproc.gateway.authz.waiting import Waiting
from streamproc.gateway.observer import Arrival

if TYPE_CHECKING:
    from streamproc.gateway.answers import Answer
    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.observer import Caller, Exchange, Observer
    from streamproc.gateway.verdicts import Verdict
    from streamproc.settings import AuthzSettings

__all__ = ["Authoriser", "Checked"]

log = logging.getLogger(__name__)

ASKING: Final = ("POST", "")  # the methods that ask a model; "" where the proxy does not say. Others make no event.
OWN_HEADERS: Final = (":", "x-envoy-", "x-forwarded-", "x-original-", "x-request-id")  # what proxies add begins so
MOST_PLAIN_BYTES: Final = 16 * 2**20  # a compressed body that unfolds to more is not read
ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS
SAY_EVERY_S: Final = 10.0


class Checked(NamedTuple):
    """What a proxy is told: the exchange's id, whether it makes an event, the answer, and the verdict behind it."""

    id: str
    makes_event: bool
    answer: Answer
    verdict: Verdict | None = None


class _Unread(NamedTuple):
    arrival: Arrival
    presented: Presented
    caller: Caller
    waits: bool


class Authoriser:
    """Fingerprints, answers, and has events wait for their answer's side.

    Answers' sides are told through `later`, behind the reading of the requests that they belong to.
    """

    def __init__(self, settings: AuthzSettings, observer: Observer, metrics: Metrics) -> None:
        self._settings = settings
        self._observer = observer
        self._metrics = metrics
        self._waiting = Waiting(settings.most_open, settings.answer_s)
        places = {*settings.account, *settings.org, *settings.address} - {*settings.key}  # keys come from clients
        self._said_by_proxy = {place[0] for place in places if len(place) == 1}
        self.later = Later()
        self._unasked = 0
        self._said_s = -math.inf

    async def check(self, presented: Presented, *, waits: bool) -> Checked:
        """Return whether the request may pass.

        The event of one that passes `waits` for its answer's side, or goes out at once. A request of whom nothing in
        force is about is answered first and read after.
        """
        unread = _Unread(Arrival.now(), presented, caller(self._settings, presented), waits)
        makes_event = presented.method.upper() in ASKING
        answer = await self._observer.free(unread.caller)
        if answer is not None:
            if makes_event:
                self.later.put(partial(self._read, unread), len(presented.body))
            return Checked(unread.arrival.id, makes_event, answer)
        exchange = self._meet(unread)
        exchange.parted = not makes_event
        answer = await self._observer.admit(exchange)
        self._passed(exchange, waits=waits)
        return Checked(exchange.id, makes_event, answer, exchange.verdict)

    def answered(self, name: str, status: int | None, known: dict[str, Any], told: bytes = b"") -> bool:
        """Join the answer's side of the exchange with this id; return whether it waited for it.

        `told` is what is left of the answer's body: an object with its token counts.
        """
        exchange = self._waiting.take(name)
        if exchange is not None:
            exchange.feed(told)
            self._observer.part(exchange, status, known)
        self._metrics.add("gateway_answers_total", join="unknown" if exchange is None else "joined")
        return exchange is not None

    def unasked(self) -> None:
        """Count an answer to a request that nobody asked about."""
        self._metrics.add("gateway_answers_total", join="unasked")
        self._unasked += 1

    def look_after(self, now_s: float | None = None) -> None:
        """Send out the events that have waited long enough, and say loudly what went past; every second or so."""
        for exchange in self._waiting.over(time.perf_counter() if now_s is None else now_s):
            self._lose(exchange, "never")
        self._metrics.set("gateway_open_requests", len(self._waiting))
        if self._unasked and time.monotonic() - self._said_s >= SAY_EVERY_S:
            self._said_s = time.monotonic()
            log.error("%d requests passed the proxy without being asked about: neither seen nor stopped", self._unasked)
            self._unasked = 0

    def close(self) -> None:
        """Send out all events that wait."""
        self.later.finish()
        self.look_after(math.inf)

    def _read(self, unread: _Unread) -> None:
        self._passed(self._meet(unread), waits=unread.waits)

    def _meet(self, unread: _Unread) -> Exchange:
        presented = unread.presented
        headers = self._clients(presented.headers)
        exchange = self._observer.meet(presented.path, headers, self._body(presented), unread.caller, unread.arrival)
        if not presented.ordered:
            exchange.request.event.pop("headers_fp", None)
        return exchange

    def _passed(self, exchange: Exchange, *, waits: bool) -> None:
        if not exchange.parted and waits:
            self._lose(self._waiting.put(exchange), "crowded")
        elif not exchange.parted:
            self._observer.lose(exchange)

    def _lose(self, exchange: Exchange | None, join: str) -> None:
        if exchange is not None:
            self._observer.lose(exchange)
            self._metrics.add("gateway_answers_total", join=join)

    def _clients(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers that the client sent, as far as names tell."""
        lower = [(name.lower(), name, value) for name, value in headers]
        return [
            (name, value)
            for key, name, value in lower
            if not key.startswith(OWN_HEADERS) and key not in self._said_by_proxy
        ]

    def _body(self, presented: Presented) -> bytes:
        """Return what can be read of the body: all of it or nothing."""
        body, kind = presented.body, "whole"
        if presented.partial:
            body, kind = b"", "partial"
        elif not body:
            kind = "none"
        elif encoding := presented.header("content-encoding").strip().lower():
            body = _plain(body, encoding)
            kind = "whole" if body else "unreadable"
        self._metrics.add("gateway_bodies_total", body=kind)
        return body


def _plain(body: bytes, encoding: str) -> bytes:
    """Return a compressed body as it was before, empty if that cannot be told."""
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return b""
    unfolding = zlib.decompressobj(ZLIB_OR_GZIP)
    try:
        plain = unfolding.decompress(body, MOST_PLAIN_BYTES)
    except zlib.error:
        return b""
    return plain if unfolding.eof else b""
