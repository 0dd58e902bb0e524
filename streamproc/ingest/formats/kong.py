"""Kong's log plugins (kafka-log, http-log, file-log) with what ai-proxy adds; content with `log_payloads`."""

from __future__ import annotations

from typing import Final

from streamproc.fingerprint.dialects import route
from streamproc.fingerprint.neutral import mapping, text
from streamproc.ingest.formats.shared import FROM_CONTENT, loaded
from streamproc.ingest.record import Content, Field, Format, Json, Refused

PLUGINS: Final = ("proxy", "ai-proxy", "ai-proxy-advanced")  # the member of `ai`, by Kong's version
CHAT: Final = "/v1/chat/completions"  # what ai-proxy takes in, whatever its route is called


def _paths(below: str) -> tuple[str, ...]:
    return tuple(f"ai/{plugin}/{below}" for plugin in PLUGINS)


def _plugin(record: Json) -> Json:
    said = mapping(record.get("ai"))
    return next((found for one in PLUGINS if (found := mapping(said.get(one)))), {})


def _finish(record: Json, _told: Json) -> None:
    if not _plugin(record) and not route(text(mapping(record.get("request")).get("uri")), {}):
        raise Refused("not_a_request")


def _content(record: Json) -> Content | None:
    payload = mapping(_plugin(record).get("payload"))
    body = mapping(loaded(payload.get("request")))
    if not body:
        return None
    path = text(mapping(record.get("request")).get("uri"))
    answer = loaded(payload.get("response"))
    return Content(path if route(path, {}) else CHAT, body, answer if isinstance(answer, (dict, list)) else None)


KONG: Final = Format(
    name="kong",
    fields=(
        Field("ts_ms", ("started_at",)),
        Field("account", ("consumer/id", "consumer/custom_id", "consumer/username")),
        Field("key", ("authenticated_entity/id",)),
        Field("ip", ("client_ip",)),
        Field("ua", ("request/headers/user-agent",)),
        Field("model", (*_paths("meta/request_model"), *_paths("meta/response_model"))),
        Field("stream", _paths("meta/request_mode")),
        Field("status", ("response/status",)),
        Field("ttft_ms", _paths("usage/time_to_first_token")),
        Field("duration_ms", ("latencies/request",)),
        Field("tok_in", _paths("usage/prompt_tokens")),
        Field("tok_out", _paths("usage/completion_tokens")),
        Field("tok_cached", _paths("usage/prompt_tokens_details/cached_tokens")),
        Field("tok_reasoning", _paths("usage/completion_tokens_details/reasoning_tokens")),
    ),
    finish=_finish,
    content=_content,
    own_id="request/id",
    derived=("error",),
    with_content=FROM_CONTENT,
    constants={"pathway": "api"},
)
