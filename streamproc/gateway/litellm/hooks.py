"""The object that LiteLLM's proxy calls on each request's way: before the model, after it, and when it fails.

Nothing here is read from LiteLLM's log events: a client can switch those off (`no-log`) or blank them (the redaction
header). All hooks are defined by this class itself, for LiteLLM looks for them nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from streamproc import settings as environment
from streamproc.gateway.background import Background
from streamproc.gateway.gate import now_ms
from streamproc.gateway.litellm.reading import asked, caller, record, status_of
from streamproc.gateway.observer import Exchange, Observer
from streamproc.gateway.underway import Underway

try:
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.proxy._types import ProxyException
except ImportError as reason:
    raise ImportError(
        "streamproc.gateway.litellm runs inside LiteLLM's proxy: pip install 'litellm[proxy]'"
    ) from reason

try:
    from litellm.proxy.common_utils.encrypt_decrypt_utils import decrypt_value_helper
except ImportError:  # a LiteLLM that has it elsewhere, or seals nothing
    decrypt_value_helper = None

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from streamproc.gateway.answers import Answer
    from streamproc.settings import Settings

__all__ = ["Hooks", "RefusedError"]

log = logging.getLogger(__name__)

KNOWN_WITHIN_S: Final = 5.0  # a start waits so long for the verdicts, that the first request meets them
SWEEP_EVERY_S: Final = 30.0
SAY_EVERY_S: Final = 10.0
# What we note of a request in LiteLLM's own record of it (`proxy_server_request`), where no client can write.
MARK: Final = "streamproc_id"
TOLD: Final = "streamproc_headers"
PASS_THROUGH: Final = ("pass_through_endpoint", "allm_passthrough_route")  # their answers go by without a hook
OBSERVED: Final = (
    "completion", "acompletion", "text_completion", "atext_completion", "aresponses", "_aresponses_websocket",
    "anthropic_messages", "agenerate_content", "agenerate_content_stream", "acreate_batch",
)  # fmt: skip

_met: ContextVar[str] = ContextVar("streamproc_met", default="")


class RefusedError(ProxyException):  # type: ignore[misc]
    """A request that a verdict stops, as an error that LiteLLM gives the form of the API that was asked.

    What a client's program reads is under `provider_specific_fields`. (Of an HTTPException the Anthropic form would
    lose the headers.)
    """

    def __init__(self, answer: Answer) -> None:
        error = {name: value for name, value in (answer.body or {}).get("error", {}).items() if value}
        self._code = error.get("code", answer.word)
        super().__init__(
            message=error.pop("message", self._code),
            type=error.get("type", ""),
            param=None,
            code=answer.status,
            headers={name: value for name, value in answer.headers.items() if name != "content-type"},
            openai_code=self._code,
            provider_specific_fields=error,
        )
        self.status_code = answer.status

    def to_dict(self) -> dict[str, Any]:
        """Return the error of OpenAI's form."""
        return {**super().to_dict(), "code": self._code}

    def __str__(self) -> str:
        """Return what LiteLLM's log shows: whom it is about is nobody's business there."""
        return f"{self.status_code}: {self._code}"


class _Desk:
    """What one process has: the thread behind, the observer, the exchanges underway."""

    def __init__(self, settings: Settings, clock_ms: Callable[[], int]) -> None:
        self.process = os.getpid()
        self.background = Background(settings)
        self.metrics = self.background.metrics
        gateway = settings.gateway
        self.observer = Observer(gateway, self.background.gate, self.background.post, self.metrics, clock_ms)
        self.underway = Underway(self._forget)
        self._sweeping = False

    def meet(self, key: Any, data: dict[str, Any]) -> Exchange:
        """Begin an exchange; not yet to be kept."""
        what = asked(data, getattr(key, "request_route", None))
        headers = {name: "" if name.lower() == "accept" else value for name, value in what.headers.items()}
        return self.observer.meet(what.path, headers, _unsealed(what.body), caller(key, data))

    def keep(self, exchange: Exchange) -> None:
        """Keep the exchange until its end."""
        self.underway.begin(exchange)
        self.metrics.set("gateway_underway_requests", len(self.underway))
        _met.set(exchange.id)
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)

    def end(self, exchange: Exchange, status: int | None, known: dict[str, Any] | None = None) -> None:
        """End the exchange: its event goes out."""
        self.underway.end(exchange)
        self.metrics.set("gateway_underway_requests", len(self.underway))
        self.observer.part(exchange, status, known)

    def stop(self) -> None:
        """End all, and send what is left."""
        self.underway.give_up_all()
        self.background.stop()

    def _sweep(self) -> None:
        self.underway.sweep()
        self._sweeping = bool(self.underway)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)

    def _forget(self, exchange: Exchange) -> None:
        self.metrics.add("gateway_forgotten_requests_total")
        self.observer.part(exchange, None)


class Hooks(CustomLogger):  # type: ignore[misc]
    """Observes and obeys, for one process; a process that is forked off begins anew.

    `clock_ms` is what events are dated by, and the verdicts are not.

    Raises:
        SettingsError: of the environment's variables one is wrong, or a pepper is missing.
    """

    def __init__(self, settings: Settings | None = None, clock_ms: Callable[[], int] = now_ms) -> None:
        super().__init__()
        self._settings = settings or environment.read()
        self._clock_ms = clock_ms
        self._said_s = 0.0
        self._desk = self._open()
        if not self._desk.background.wait_ready(KNOWN_WITHIN_S):
            log.error("begun without verdicts (%s)", self._desk.background.why_not_ready())

    def stop(self) -> None:
        """Send what is left, and end."""
        self._desk.stop()

    # -- what LiteLLM calls ----------------------------------------------------------------------------

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> None:
        """Refuse the request by the verdicts in force, else let it pass.

        Raises:
            RefusedError: the request is refused.
        """
        del cache
        with self._harmless():
            desk = self._here()
            known = desk.underway.find(_met.get())
            if known is not None:  # LiteLLM tries another model for the same request
                _mark(data, known.id)
                return
            exchange = desk.meet(user_api_key_dict, data)
            answer = await desk.observer.admit(exchange)
            if not answer.passes:
                raise RefusedError(answer)
            _mark(data, exchange.id, answer.headers)
            if call_type in PASS_THROUGH:
                desk.end(exchange, None)
            elif call_type in OBSERVED:
                desk.keep(exchange)

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> None:
        """Take in a whole answer."""
        del user_api_key_dict
        with self._harmless():
            exchange = self._find(data)
            if exchange is not None:
                exchange.feed(_plain(response))
                self._desk.end(exchange, 200)

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Pass a stream on as it is, and take it in as it passes."""
        del user_api_key_dict
        with self._harmless():
            exchange = self._find(request_data)
        try:
            async for item in response:
                with self._harmless():
                    if exchange is not None:
                        exchange.feed(_plain(item))
                        self._desk.underway.find(exchange.id)
                yield item
        except (GeneratorExit, asyncio.CancelledError):  # the client has gone
            self._end(exchange, 200, {"error": "cancelled"})
            raise
        except Exception as reason:
            self._end(exchange, status_of(reason))
            raise
        self._end(exchange, 200)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """End an exchange that failed; one that LiteLLM itself refused before we met it is met now."""
        del traceback_str
        if isinstance(original_exception, RefusedError):
            return
        with self._harmless():
            exchange = self._find(request_data)
            if exchange is None and not _noted(request_data, MARK) and getattr(user_api_key_dict, "user_id", None):
                exchange = self._here().meet(user_api_key_dict, request_data)
            self._end(exchange, status_of(original_exception))

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any, request_headers: dict[str, str] | None = None
    ) -> dict[str, str]:
        """Return what a request that passes is told in headers: that a step-up is asked for."""
        del user_api_key_dict, response, request_headers
        told = _noted(data, TOLD)
        return dict(told) if isinstance(told, dict) else {}

    # -- one's own -------------------------------------------------------------------------------------

    def _open(self) -> _Desk:
        desk = _Desk(self._settings, self._clock_ms)
        desk.background.start()
        return desk

    def _here(self) -> _Desk:
        if self._desk.process != os.getpid():
            self._desk = self._open()
        return self._desk

    def _find(self, data: dict[str, Any]) -> Exchange | None:
        name = _noted(data, MARK)
        return self._here().underway.find(name) if isinstance(name, str) else None

    def _end(self, exchange: Exchange | None, status: int, known: dict[str, Any] | None = None) -> None:
        with self._harmless():
            if exchange is not None:
                self._desk.end(exchange, status, known)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Let no failure of ours become the request's: it is counted, and said now and then."""
        try:
            yield
        except RefusedError:
            raise
        except Exception:
            self._desk.metrics.add("gateway_failures_total")
            if time.monotonic() - self._said_s >= SAY_EVERY_S:
                self._said_s = time.monotonic()
                log.exception("a request went on without us")


def _mark(data: dict[str, Any], name: str, told: dict[str, str] | None = None) -> None:
    """Leave a mark by which the later hooks find the exchange, and what its client is to be told."""
    known = record(data)
    if known is not None:
        known[0].update({MARK: name, TOLD: told or {}})


def _noted(data: dict[str, Any], name: str) -> Any:
    known = record(data)
    return None if known is None else known[0].get(name)


def _unsealed(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with the name of the previous response as the hooks know it: clients get it encrypted."""
    name = body.get("previous_response_id")
    if decrypt_value_helper is None or not isinstance(name, str) or not name.startswith("resp_"):
        return body
    seal = decrypt_value_helper(value=name.removeprefix("resp_"), key="response_id", return_original_value=True)
    _, _, plain = str(seal or "").partition("response_id:")
    return {**body, "previous_response_id": plain.partition(";")[0]} if plain else body


def _plain(item: Any) -> bytes | dict[str, Any]:
    """Return an answer, or a piece of one, as it is on the wire: LiteLLM hands out its own objects for most."""
    if isinstance(item, (bytes, dict)):
        return item
    if isinstance(item, str):
        return item.encode("utf-8", "replace")
    dumped = item.model_dump(exclude_none=True, by_alias=True) if hasattr(item, "model_dump") else None
    return dumped if isinstance(dumped, dict) else b""
