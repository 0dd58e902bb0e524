"""Bedrock's model invocation log (S3, CloudWatch): the customer's own. Content where the log's bodies are on."""

from __future__ import annotations

from typing import Any, Final

from streamproc.fingerprint.neutral import mapping, objects, text, whole
from streamproc.ingest.formats.shared import FROM_CONTENT
from streamproc.ingest.record import Content, Field, Format, Json, identity, number

# errorCode -> status and the contract's error.
ERRORS: Final = {
    "ThrottlingException": (429, "rate_limited"),
    "ServiceQuotaExceededException": (429, "rate_limited"),
    "ServiceUnavailableException": (503, "overloaded"),
    "ModelNotReadyException": (503, "overloaded"),
    "ModelTimeoutException": (408, "other"),
    "AccessDeniedException": (403, "invalid"),
    "ValidationException": (400, "invalid"),
    "ResourceNotFoundException": (404, "invalid"),
}
OTHER: Final = (500, "other")


def _finish(record: Json, told: Json) -> None:
    principal = identity(mapping(record.get("identity")).get("arn"))
    if principal:
        kind, slash, rest = principal.partition("/")
        # A role's sessions are one account: arn:aws:sts::<account>:assumed-role/<role>/<session>.
        own = f"{kind}{slash}{rest.partition('/')[0]}" if kind.endswith(":assumed-role") else principal
        told.setdefault("account", own)
        told.setdefault("key", principal)
    code = text(record.get("errorCode"))
    told["status"] = ERRORS.get(code, OTHER)[0] if code else 200
    if code:
        told["error"] = ERRORS.get(code, OTHER)[1]
    operation = text(record.get("operation"))
    if operation:
        told["stream"] = "Stream" in operation
    counted = mapping(record.get("input"))
    if "tok_in" in told:  # the cached ones come beside them; the contract has them within
        told["tok_in"] += sum(whole(counted.get(f"cache{kind}InputTokenCount")) or 0 for kind in ("Read", "Write"))
    latency = number(mapping(mapping(_answer(record)).get("metrics")).get("latencyMs"))
    if latency is not None:
        told["duration_ms"] = latency


def _answer(record: Json) -> Any:
    return mapping(record.get("output")).get("outputBodyJson")


def _content(record: Json) -> Content | None:
    body = mapping(mapping(record.get("input")).get("inputBodyJson"))
    if not body:
        return None
    answer = _answer(record)
    verb = "converse" if text(record.get("operation")).startswith("Converse") else "invoke"
    path = f"/model/{text(record.get('modelId')).rpartition('/')[2] or 'm'}/{verb}"
    return Content(path, body, answer if isinstance(answer, dict) else objects(answer) or None)


BEDROCK: Final = Format(
    name="bedrock",
    fields=(
        Field("ts_ms", ("timestamp",)),
        Field("org", ("accountId",)),
        Field("session", ("requestMetadata/session",)),
        Field("region", ("region",)),
        Field("model", ("modelId",)),
        Field("tok_in", ("input/inputTokenCount",)),
        Field("tok_out", ("output/outputTokenCount",)),
        Field("tok_cached", ("input/cacheReadInputTokenCount",)),
    ),
    finish=_finish,
    content=_content,
    own_id="requestId",
    derived=("account", "key", "status", "error", "stream"),
    with_content=("duration_ms", *(name for name in FROM_CONTENT if name != "stream")),
    constants={"pathway": "bedrock"},
)
