"""What a gateway does with a request, whatever the gateway: fingerprint it, ask for its verdict, post its event."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamproc.fingerprint import Fingerprinter, Peppers, Request, Response
from streamproc.fingerprint.dialects import route
from streamproc.gateway.answers import Answer, Asked
from streamproc.gateway.gate import Gate, now_ms
from streamproc.gateway.verdicts import Subjects
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.fingerprint.prints import Headers
    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.post import Post
    from streamproc.gateway.verdicts import Verdict
    from streamproc.settings import GatewaySettings

__all__ = ["Arrival", "Caller", "Exchange", "Observer", "error_of", "peppers"]

BYTES_A_TOKEN: Final = 4  # of a request's body: what a bucket of tokens is charged before the answer is known
# What a caller was told, as the contract's `error`; the rest of 4xx is invalid, of 5xx other.
ERRORS: Final = {408: "cancelled", 429: "rate_limited", 499: "cancelled", 503: "overloaded", 529: "overloaded"}
ENFORCED: Final = {"suspend": "suspended", "restrict": "blocked", "throttle": "blocked", "unavailable": "overloaded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, raw, as the gateway knows it; `known` are further fields of the event, ready as they are."""

    account: str = ""
    org: str = ""
    key: str = ""
    payer: str = ""
    device: str = ""
    session: str = ""  # counts where the request itself names none
    ip: str = ""
    email_domain: str = ""
    known: dict[str, Any] = field(default_factory=dict)

    def identities(self) -> dict[str, str]:
        """What goes into the event as pseudonyms, beside the account."""
        names = ("org", "key", "payer", "device", "session", "ip", "email_domain")
        return {name: value for name in names if (value := getattr(self, name))}


class Arrival(NamedTuple):
    """When a request came, by the wall clock and by one that never goes back, and the id that it got then."""

    id: str
    ts_ms: int
    began_s: float

    @classmethod
    def now(cls, clock_ms: Callable[[], int] = now_ms) -> Arrival:
        """Return that of a request which comes now."""
        return cls(uuid.uuid4().hex, clock_ms(), time.perf_counter())


@dataclass(slots=True)
class Exchange:
    """One request on its way to its answer."""

    id: str
    ts_ms: int
    caller: Caller
    request: Request
    asked: Asked
    response: Response | None
    began_s: float  # of a clock that never goes back
    first_s: float | None = None  # when the answer began
    refused_by: Answer | None = None
    verdict: Verdict | None = None  # of all in force, the one that it was admitted or refused by
    parted: bool = False

    def feed(self, piece: bytes | dict[str, Any]) -> None:
        """Take in a piece of the answer as it passes: bytes cut anywhere, or one whole JSON value, parsed."""
        if self.first_s is None:
            self.first_s = time.perf_counter()
        if self.response is None:
            return
        if isinstance(piece, dict):
            self.response.take(piece)
        else:
            self.response.feed(piece)


class Observer:
    """The gateway's whole side, for one event loop: nothing waits for the network, and no client makes it raise."""

    def __init__(
        self,
        settings: GatewaySettings,
        gate: Gate,
        post: Post,
        metrics: Metrics,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._fingerprinter = Fingerprinter(peppers(settings))
        self._gate = gate
        self._post = post
        self._metrics = metrics
        self._clock_ms = clock_ms

    async def free(self, caller: Caller) -> Answer | None:
        """Return that a request passes if nothing in force is about its caller, whatever it asks; else None.

        Its fingerprints may then be taken after the answer: `meet` it later, with the arrival that it had.
        """
        subjects = self._subjects(caller)
        if self._gate.concerns(subjects):
            return None
        answer, _ = await self._gate.answer(Asked(subjects=subjects))
        return answer

    def meet(
        self, path: str, headers: Headers, body: bytes | dict[str, Any], caller: Caller, arrival: Arrival | None = None
    ) -> Exchange:
        """Return the exchange that a request begins, or began when it arrived."""
        with self._metrics.timed("gateway_fingerprint_seconds"):
            request = self._fingerprinter.request(path, headers, body)
        spoken = request.route or route(path, {})  # of a body that cannot be read, the path still tells the form
        asked = Asked(
            subjects=self._subjects(caller),
            capabilities=request.asks,
            tokens=_tokens(request, headers, body),
            api="anthropic" if spoken and spoken.dialect.name == "anthropic" else "openai",
            accept=_header(headers, "accept"),
        )
        response = Response(spoken.dialect) if spoken else None
        name, ts_ms, began_s = arrival or Arrival.now(self._clock_ms)
        return Exchange(name, ts_ms, caller, request, asked, response, began_s)

    async def admit(self, exchange: Exchange) -> Answer:
        """Return what becomes of the request by the verdicts in force; a refusal is the end, and posted."""
        answer, exchange.verdict = await self._gate.answer(exchange.asked)
        if not answer.passes:
            exchange.refused_by = answer
            self.part(exchange, answer.status)
        return answer

    def part(self, exchange: Exchange, status: int | None, known: dict[str, Any] | None = None) -> None:
        """End the exchange and post its event, once; `status` is None where nobody knows, `known` the gateway's own."""
        self._end(exchange, _ending(exchange, status) | (known or {}))

    def lose(self, exchange: Exchange) -> None:
        """End the exchange without a word of its answer, which nobody will tell."""
        self._end(exchange, {})

    def _end(self, exchange: Exchange, known: dict[str, Any]) -> None:
        if exchange.parted:
            return
        exchange.parted = True
        caller = exchange.caller
        if not caller.account:
            self._metrics.add("gateway_nameless_requests_total")
            return
        identities = caller.identities()
        if "session" in exchange.request.event:
            identities.pop("session", None)
        event = self._fingerprinter.finish(
            exchange.request, exchange.response, id=exchange.id, ts_ms=exchange.ts_ms, account=caller.account,
            known=caller.known | known, **identities,
        )  # fmt: skip
        self._post.send(event)

    def _subjects(self, caller: Caller) -> Subjects:
        named = {kind: getattr(caller, kind) for kind in ("account", "key", "payer", "org")}
        return Subjects(**{kind: self._fingerprinter.identity(kind, raw) for kind, raw in named.items() if raw})


def peppers(settings: GatewaySettings) -> Peppers:
    """Return the secrets of the settings.

    Raises:
        SettingsError: one is missing, or both are the same.
    """
    if not settings.identity_pepper or not settings.content_pepper:
        raise SettingsError("IDENTITY_PEPPER, CONTENT_PEPPER: set both to secrets of 16 bytes or more")
    try:
        return Peppers(settings.identity_pepper, settings.content_pepper, settings.pepper_epoch)
    except ValueError as reason:
        raise SettingsError(f"IDENTITY_PEPPER, CONTENT_PEPPER: {reason}") from reason


def error_of(status: int) -> str | None:
    """Return the contract's `error` of a status that the model's side gave, None for success."""
    if status < 400:  # noqa: PLR2004 - where HTTP's errors begin
        return None
    return ERRORS.get(status, "invalid" if status < 500 else "other")  # noqa: PLR2004 - the server's begin


def _ending(exchange: Exchange, status: int | None) -> dict[str, Any]:
    known: dict[str, Any] = {"duration_ms": round((time.perf_counter() - exchange.began_s) * 1000, 1)}
    if exchange.first_s is not None and exchange.request.event.get("stream"):
        known["ttft_ms"] = round((exchange.first_s - exchange.began_s) * 1000, 1)
    if status is not None:
        known["status"] = status
        by = exchange.refused_by
        error = error_of(status) if by is None else ENFORCED[by.word]
        known |= {"error": error} if error else {}
    return known


def _tokens(request: Request, headers: Headers, body: bytes | dict[str, Any]) -> int:
    """Return what a bucket is charged; of a parsed body the length is what the client said it to be."""
    asked = request.event.get("max_tokens") or 0
    said = _header(headers, "content-length")
    length = len(body) if isinstance(body, bytes) else int(said) if said.isdecimal() and said.isascii() else 0
    return int(min(asked + length // BYTES_A_TOKEN, 2**53))


def _header(headers: Headers, name: str) -> str:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return next((value for known, value in pairs if known.lower() == name), "")
