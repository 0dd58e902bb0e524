"""LiteLLM's StandardLoggingPayload: generic_api, S3, GCS, SQS, Pub/Sub. Content unless it was redacted.

A client can switch this log off (`no-log`) or redact it, unless the proxy forbids it: the hooks in the proxy see all.
"""

from __future__ import annotations

import re
from typing import Any, Final

from streamproc.fingerprint.neutral import mapping, objects, text
from streamproc.ingest.formats.shared import DECLARED, WORDS, loaded
from streamproc.ingest.record import Content, Field, Format, Json, moment_ms, number, status

REDACTED: Final = "redacted-by-litellm"
PATHS: Final = {  # where no route is logged: LiteLLM's call type -> the path that it serves
    "completion": "/v1/chat/completions",
    "acompletion": "/v1/chat/completions",
    "responses": "/v1/responses",
    "aresponses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "generate_content": "/models/m:generateContent",
    "agenerate_content": "/models/m:generateContent",
    "generate_content_stream": "/models/m:streamGenerateContent",
    "agenerate_content_stream": "/models/m:streamGenerateContent",
}
MEMBERS: Final = (("/responses", "input"), ("enerateContent", "contents"), ("", "messages"))
CLASSES: Final = {
    "RateLimitError": "rate_limited",
    "BudgetExceededError": "rate_limited",
    "AuthenticationError": "invalid",
    "ContentPolicyViolationError": "refused_by_policy",
    "ServiceUnavailableError": "overloaded",
}
# A pre-call hook of ours refuses with one of these words in its body (see gateway/answers.py).
OURS: Final = (("account_suspended", "suspended"), ("capability_restricted", "blocked"), ("rate_restricted", "blocked"))
_WORD: Final = re.compile("|".join(word for word, _ in OURS))


def _finish(record: Json, told: Json) -> None:
    began, ended = number(record.get("startTime")), number(record.get("endTime"))
    if began is None:
        began, ended = moment_ms(record.get("startTime")), moment_ms(record.get("endTime"))
        scale = 1.0
    else:
        scale = 1000.0
    first = number(record.get("completionStartTime")) if scale > 1 else moment_ms(record.get("completionStartTime"))
    if began is not None and ended is not None and ended >= began:
        told["duration_ms"] = round((ended - began) * scale, 1)
        if told.get("stream") and first is not None and began <= first <= ended:
            told["ttft_ms"] = round((first - began) * scale, 1)
    failed = record.get("status") == "failure"
    if record.get("status") == "success":
        told["status"] = 200
    elif failed:
        _failed(mapping(record.get("error_information")), told)


def _failed(said: Json, told: Json) -> None:
    code = status(said.get("error_code"))
    if code is not None:
        told["status"] = code
    kind = text(said.get("error_class"))
    ours = _WORD.search(text(said.get("error_message"))[:4096]) if kind == "HTTPException" else None
    error = dict(OURS)[ours[0]] if ours else CLASSES.get(kind)
    if error:
        told["error"] = error
    elif code is None:
        told["error"] = "other"


def _content(record: Json) -> Content | None:
    declared = mapping(record.get("model_parameters"))
    path = text(mapping(record.get("metadata")).get("user_api_key_request_route"))
    path = path if path and path != "/" else PATHS.get(text(record.get("call_type")), "")
    if not path:
        return None
    said = record.get("messages")
    if _hidden(said):
        return Content(path, declared, hidden=True)
    member = next(name for part, name in MEMBERS if part in path)
    if isinstance(said, str) and member == "messages":
        said = [{"role": "user", "content": said}]
    body = {**declared, **said} if isinstance(said, dict) else {**declared, member: said}
    answer = record.get("response")
    if not isinstance(answer, dict) or _hidden_answer(answer):
        answer = None
    elif member == "messages" and path.endswith("/messages") and "choices" in answer:
        answer = _as_message(answer)
    return Content(path, body, answer)


def _hidden(said: Any) -> bool:
    """Whether the words are not there: none were logged, or LiteLLM wrote its word in place of each."""
    if isinstance(said, list):
        return all(_is_mark(mapping(one).get("content")) for one in said)
    return not said or _is_mark(said)


def _is_mark(said: Any) -> bool:
    if isinstance(said, list):
        return bool(said) and all(text(one.get("text")) == REDACTED for one in objects(said))
    return bool(said == REDACTED)


def _hidden_answer(answer: Json) -> bool:
    said = [mapping(one.get("message")).get("content") for one in objects(answer.get("choices"))]
    said += [one.get("text") for one in (answer, *objects(answer.get("content")))]
    for item in objects(answer.get("output")):
        said += [one.get("text") for one in objects(item.get("content"))]
    return any(_is_mark(one) for one in said)


def _as_message(answer: Json) -> Json:
    """An answer in the form that LiteLLM turns all into, as the Anthropic message that the client got."""
    said = mapping(mapping(next(iter(objects(answer.get("choices"))), None)).get("message"))
    blocks: list[Json] = [{"type": "text", "text": said["content"]}] if text(said.get("content")) else []
    for call in objects(said.get("tool_calls")):
        function = mapping(call.get("function"))
        blocks.append({"type": "tool_use", "name": function.get("name"), "input": loaded(function.get("arguments"))})
    return {"id": answer.get("id"), "content": blocks}


LITELLM: Final = Format(
    name="litellm",
    fields=(
        Field("ts_ms", ("startTime",)),
        Field("account", ("metadata/user_api_key_user_id", "metadata/user_api_key_hash")),
        Field("org", ("metadata/user_api_key_team_id", "metadata/user_api_key_org_id")),
        Field("key", ("metadata/user_api_key_hash",)),
        Field("email", ("metadata/user_api_key_user_email",)),
        Field("session", ("metadata/user_api_key_end_user_id", "end_user")),
        Field("ip", ("requester_ip_address", "metadata/requester_ip_address")),
        Field("ua", ("user_agent", "metadata/user_agent")),
        Field("model", ("model_group", "model")),
        Field("stream", ("stream", "model_parameters/stream")),
        Field("tok_in", ("prompt_tokens",)),
        Field("tok_out", ("completion_tokens",)),
        Field("tok_cached", ("metadata/usage_object/prompt_tokens_details/cached_tokens",)),
        Field("tok_reasoning", ("metadata/usage_object/completion_tokens_details/reasoning_tokens",)),
    ),
    finish=_finish,
    content=_content,
    derived=("status", "error", "duration_ms", "ttft_ms", *DECLARED),  # what is declared is logged without words too
    with_content=WORDS,
    constants={"pathway": "api"},
)
