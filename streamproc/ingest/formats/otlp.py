"""OTLP traces: spans with the GenAI conventions' names, those they had before, and OpenInference's and OpenLLMetry's.

A span is taken for a request if it is one to a model; agents' and tools' spans around it are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from streamproc.fingerprint.neutral import mapping, objects, text
from streamproc.ingest.formats.otlp_content import content
from streamproc.ingest.formats.shared import CHAT_WORDS
from streamproc.ingest.record import Field, Format, Json, Refused, moment_ms, number, status

ASKING: Final = frozenset({"chat", "text_completion", "generate_content", "completion", "responses", "messages"})
KINDS: Final = ("gen_ai.operation.name", "llm.request.type", "openinference.span.kind")
MOST_DEPTH: Final = 64  # of lists and objects within an attribute
SPAN_ERROR: Final = (2, "STATUS_CODE_ERROR")
ERROR_WORDS: Final = (
    ("rate", "rate_limited"), ("429", "rate_limited"), ("overload", "overloaded"), ("503", "overloaded"),
    ("cancel", "cancelled"), ("content_filter", "refused_by_policy"), ("invalid", "invalid"), ("badrequest", "invalid"),
)  # fmt: skip
REFUSING: Final = ("content_filter", "refusal", "safety")
DETAILS: Final = ("gen_ai.client.inference.operation.details", "gen_ai.content.prompt", "gen_ai.content.completion")


def _records(body: Any) -> Iterator[Any]:
    """Each span as one flat object of attributes, the resource's below the span's; `span` has the rest of it."""
    if not isinstance(body, dict) or not isinstance(body.get("resourceSpans"), list):
        yield from body if isinstance(body, list) else [body]
        return
    for resource in objects(body["resourceSpans"]):
        shared = attributes(mapping(resource.get("resource")).get("attributes"))
        for scope in objects(resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans")):
            for span in objects(scope.get("spans")):
                yield _flat(shared, span)


def _flat(shared: Json, span: Json) -> Json:
    flat = shared | attributes(span.get("attributes"))
    for event in objects(span.get("events")):
        if event.get("name") in DETAILS:
            flat = attributes(event.get("attributes")) | flat
    said = mapping(span.get("status"))
    flat["span"] = {
        "trace": text(span.get("traceId")).lower(),
        "id": text(span.get("spanId")).lower(),
        "start": span.get("startTimeUnixNano"),
        "end": span.get("endTimeUnixNano"),
        "error": said.get("code") in SPAN_ERROR,
    }
    return flat


def attributes(pairs: Any, depth: int = 0) -> Json:
    """OTLP's list of keys and values as an object; what is nested too deep in it reads as null."""
    return {one["key"]: _value(one.get("value"), depth) for one in objects(pairs) if isinstance(one.get("key"), str)}


def _value(wrapped: Any, depth: int) -> Any:
    for kind, value in mapping(wrapped).items() if depth < MOST_DEPTH else ():
        if kind == "intValue":
            return _int(value)
        if kind == "doubleValue":
            return float(value) if isinstance(value, int) else value
        if kind == "arrayValue":
            return [_value(one, depth + 1) for one in objects(mapping(value).get("values"))]
        if kind == "kvlistValue":
            return attributes(mapping(value).get("values"), depth + 1)
        return value
    return None


def _int(value: Any) -> Any:
    """JSON has 64-bit numbers as text."""
    written = isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20  # noqa: PLR2004
    return int(value) if written else value


def _finish(record: Json, told: Json) -> None:
    kinds = [text(record.get(kind)).lower() for kind in KINDS]
    named = next(filter(None, kinds), "")
    if named not in ASKING and named != "llm" and (named or "model" not in told):
        raise Refused("not_a_request")
    span = mapping(record.get("span"))
    began, ended = moment_ms(span.get("start")), moment_ms(span.get("end"))
    if began is not None and ended is not None and ended >= began:
        told["duration_ms"] = ended - began
    first_s = number(record.get("gen_ai.response.time_to_first_chunk"))
    if first_s is not None:
        told["ttft_ms"] = round(first_s * 1000, 1)
    _ended(record, told, failed=span.get("error") is True)
    reasons = record.get("gen_ai.response.finish_reasons")
    if isinstance(reasons, list) and reasons:
        told["refused"] = any(text(one).lower() in REFUSING for one in reasons)


def _ended(record: Json, told: Json, *, failed: bool) -> None:
    kind = text(record.get("error.type"))
    failed = failed or bool(kind)
    if "status" not in told:
        code = status(kind)
        if code is not None or not failed:
            told["status"] = 200 if code is None else code
    if failed and told.get("status", 0) < 400:  # noqa: PLR2004 - else the status tells
        told["error"] = next((error for word, error in ERROR_WORDS if word in kind.lower()), "other")


OTLP: Final = Format(
    name="otlp",
    fields=(
        Field("ts_ms", ("span/start",)),
        Field("org", ("litellm.team.id", "metadata.user_api_key_team_id")),
        Field("key", ("litellm.api_key.hash", "metadata.user_api_key_hash")),
        Field("session", ("gen_ai.conversation.id", "session.id", "litellm.end_user.id")),
        Field("ip", ("client.address", "http.client_ip")),
        Field("ua", ("user_agent.original", "http.user_agent")),
        Field("model", ("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "llm.request.model")),
        Field("stream", ("gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming")),
        Field("status", ("http.response.status_code", "http.status_code")),
        Field(
            "tok_in",
            ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens",
             "llm.token_count.prompt"),
        ),
        Field(
            "tok_out",
            ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens",
             "llm.token_count.completion"),
        ),
        Field(
            "tok_cached",
            ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
             "gen_ai.usage.input_tokens.cached", "llm.token_count.prompt_details.cache_read"),
        ),
        Field(
            "tok_reasoning",
            ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
             "llm.token_count.completion_details.reasoning"),
        ),
    ),
    records=_records,
    finish=_finish,
    content=content,
    derived=("status", "error", "duration_ms", "ttft_ms", "temperature", "max_tokens", "params_fp", "refused"),
    with_content=tuple(
        name for name in (*CHAT_WORDS, "n_tools", "tools_fp") if name != "refused"
    ),
    constants={"pathway": "api"},
)  # fmt: skip
