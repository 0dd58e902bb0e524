"""Azure API Management: the gateway's log knows who and how, the language models' log what; one event of the two.

Rows of the tables ApiManagementGatewayLogs and ApiManagementGatewayLlmLog, or the same as diagnostic settings send
them to an event hub or a storage account (`{"records": [...]}`), which is one Kafka topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from streamproc.fingerprint.dialects import route
from streamproc.fingerprint.neutral import mapping, text
from streamproc.ingest.formats.shared import CHAT_WORDS, DECLARED, loaded
from streamproc.ingest.record import Content, Field, Format, Json, Refused, whole

RENAMED: Final = {"Time": "TimeGenerated", "Location": "Region", "DurationMs": "TotalTime"}
OF_MODELS: Final = ("ModelName", "PromptTokens", "SequenceNumber", "IsStreamCompletion")
UNKNOWN: Final = frozenset(DECLARED)
FAILED: Final = 400


def _records(body: Any) -> Iterator[Any]:
    if isinstance(body, dict) and isinstance(body.get("records"), list):
        body = body["records"]
    for one in body if isinstance(body, list) else [body]:
        yield _row(one) if isinstance(one, dict) and "category" in one else one


def _row(sent: Json) -> Json:
    """A record of the diagnostic settings under the names that the tables have."""
    members = {**sent, **mapping(loaded(sent.get("properties")))}
    named = {name[:1].upper() + name[1:]: value for name, value in members.items()}
    return {RENAMED.get(name, name): value for name, value in named.items()}


def _half(record: Json) -> tuple[str, str]:
    """(correlation id, side); further pieces of a long exchange hold only more of its words, and are passed over."""
    side = "models" if any(name in record for name in OF_MODELS) else "gateway"
    if side == "models" and whole(record.get("SequenceNumber")):
        raise Refused("not_a_request")
    return text(record.get("CorrelationId")), side


def _finish(record: Json, told: Json) -> None:
    if any(name in record for name in OF_MODELS):
        return
    path = "/" + text(record.get("Url")).partition("://")[2].partition("/")[2]
    if told.get("status", 0) < FAILED or not route(path, {}):  # served, and no model's log: no model was asked
        raise Refused("not_a_request")


def _content(record: Json) -> Content | None:
    said = loaded(record.get("RequestMessages"))
    if not isinstance(said, list):
        return None
    answer = loaded(record.get("ResponseMessages"))
    choices = [{"message": one} for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []
    return Content("/chat/completions", {"messages": said}, {"choices": choices} if choices else None, UNKNOWN)


APIM: Final = Format(
    name="apim",
    fields=(
        Field("ts_ms", ("TimeGenerated",)),
        Field("account", ("ApimSubscriptionId",)),
        Field("key", ("ApimSubscriptionId",)),
        Field("plan", ("ProductId",)),
        Field("ip", ("CallerIpAddress",)),
        Field("region", ("Region",)),
        Field("model", ("ModelName", "DeploymentName")),
        Field("stream", ("IsStreamCompletion",)),
        Field("status", ("ResponseCode",)),
        Field("duration_ms", ("TotalTime",)),
        Field("tok_in", ("PromptTokens",)),
        Field("tok_out", ("CompletionTokens",)),
    ),
    records=_records,
    finish=_finish,
    content=_content,
    own_id="CorrelationId",
    half=_half,
    derived=("error",),
    with_content=CHAT_WORDS,
    constants={"pathway": "azure"},
)
