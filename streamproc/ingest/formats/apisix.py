"""APISIX's loggers (kafka-logger, http-logger) with what ai-proxy adds; content with `logging.payloads`."""

from __future__ import annotations

from typing import Any, Final

from streamproc.fingerprint.dialects import route
from streamproc.fingerprint.neutral import mapping, text
from streamproc.ingest.formats.shared import CHAT_WORDS, DECLARED
from streamproc.ingest.record import Content, Field, Format, Json, Refused

# llm_request has the messages and whether a stream was asked for, and no more.
UNKNOWN: Final = frozenset(DECLARED) - {"stream"}


def _finish(record: Json, _told: Json) -> None:
    if not mapping(record.get("llm_summary")) and not route(text(mapping(record.get("request")).get("uri")), {}):
        raise Refused("not_a_request")


def _content(record: Json) -> Content | None:
    body = mapping(record.get("llm_request"))
    if not isinstance(body.get("messages"), list):
        return None
    said = mapping(record.get("llm_response_text")).get("content")
    answer: dict[str, Any] | None = {"choices": [{"message": {"content": said}}]} if isinstance(said, str) else None
    return Content("/v1/chat/completions", body, answer, UNKNOWN)


APISIX: Final = Format(
    name="apisix",
    fields=(
        Field("ts_ms", ("start_time",)),
        Field("account", ("consumer/username",)),
        Field("org", ("consumer/group_id",)),
        Field("session", ("llm_summary/end_user_id",)),
        Field("ip", ("client_ip",)),
        Field("ua", ("request/headers/user-agent",)),
        Field("model", ("llm_summary/request_model", "llm_summary/model")),
        Field("stream", ("llm_summary/stream",)),
        Field("status", ("response/status",)),
        Field("duration_ms", ("latency",)),
        Field("tok_in", ("llm_summary/prompt_tokens",)),
        Field("tok_out", ("llm_summary/completion_tokens",)),
        Field("tok_cached", ("llm_summary/cache_read_input_tokens",)),
        Field("tok_reasoning", ("llm_summary/reasoning_tokens",)),
        Field("n_tools", ("llm_summary/tool_count",)),
    ),
    finish=_finish,
    content=_content,
    derived=("error",),
    with_content=(*CHAT_WORDS, "stream"),
    constants={"pathway": "api"},
)
