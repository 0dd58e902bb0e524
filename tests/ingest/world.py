"""Records of every gateway and what reads them, for tests. Every value is invented."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import jsonschema
import orjson

from streamproc.contract import schemas
from streamproc.fingerprint import Peppers
from streamproc.ingest.accounts import Accounts
from streamproc.ingest.formats import FORMATS
from streamproc.ingest.mail import Mail
from streamproc.ingest.maker import Maker
from streamproc.ingest.mapping import Mapping
from streamproc.ingest.networks import Networks
from streamproc.ingest.record import Field, Json, Refused

ENVIRONMENT: Final = {"IDENTITY_PEPPER": "identity-pepper-of-tests", "CONTENT_PEPPER": "content-pepper-of-tests"}
PEPPERS: Final = Peppers(ENVIRONMENT["IDENTITY_PEPPER"].encode(), ENVIRONMENT["CONTENT_PEPPER"].encode())
SAMPLES: Final[dict[str, Json]] = orjson.loads((Path(__file__).parent / "samples.json").read_bytes())
VALID: Final = jsonschema.Draft202012Validator(schemas.load("request-event"))
HEADER: Final = Mapping((Field("account", ("x-account", "litellm.api_key.hash")),))
SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
FIXTURES: Final = Path(os.environ.get("STREAMPROC_FIXTURES", SHARED)) / "infra"

# The samples of each format, in the order in which they come.
RECORDS: Final[dict[str, list[Json]]] = {
    "litellm": [SAMPLES["litellm_standard_logging_payload"]],
    "otlp": [SAMPLES["otlp_json_span"]],
    "envoy": [SAMPLES["envoy_ai_gateway_access_log"] | {"x-account": "acme"}],
    "kong": [SAMPLES["kong_kafka_log"]],
    "apisix": [SAMPLES["apisix_kafka_logger"]],
    "bedrock": [SAMPLES["bedrock_invocation_log"]],
    "apim": [SAMPLES["apim_llm_log"], SAMPLES["apim_gateway_log"]],
}


def maker(
    format_: str, mapping: Mapping | None = None, table: Accounts | None = None, lists: Path | None = None
) -> Maker:
    """What makes the events of a format; `HEADER` is the mapping where a format names no account."""
    mapping = mapping or (HEADER if format_ in ("otlp", "envoy") else Mapping())
    networks = Networks(lists) if lists else None
    made = Maker(FORMATS[format_], PEPPERS, mapping, lambda: accounts, lambda: networks)
    accounts = table or Accounts(made.identity, Mail(lists).class_of)
    return made


def events(made: Maker, *bodies: Any) -> list[Json]:
    """The events of parsed messages; refused records have none."""
    found = []
    for body in bodies:
        for record in made.records(body):
            try:
                found.append(made.take(record))
            except Refused:
                continue
    return found


def refusal(made: Maker, body: Any) -> str:
    """Why a message's first record has no event, "" if it has one."""
    try:
        made.take(next(iter(made.records(body))))
    except Refused as refused:
        return refused.reason
    return ""


def attributes(pairs: Json) -> list[Json]:
    """An object as OTLP's list of attributes; lists and objects in it as JSON in text."""
    found = []
    for key, value in pairs.items():
        kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}.get(type(value))
        told = str(value) if kind == "intValue" else value if kind else orjson.dumps(value).decode()
        found.append({"key": key, "value": {kind or "stringValue": told}})
    return found


def span(pairs: Json, **more: Any) -> Json:
    """An export request of one span."""
    one = {
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
        "startTimeUnixNano": "1795565427100000000", "endTimeUnixNano": "1795565429400000000",
        "attributes": attributes(pairs), **more,
    }  # fmt: skip
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [one]}]}]}


def talk(format_: str, messages: list[Json], answer: str, tools: list[Json] | None = None) -> list[Json]:
    """The records that a gateway with content capture writes of a chat request and its answer."""
    body = {"model": "m", "messages": messages, "temperature": 0.5} | ({"tools": tools} if tools else {})
    reply = {"id": "r1", "choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]}
    first, *rest = RECORDS[format_]
    if format_ == "litellm":
        params = {name: value for name, value in body.items() if name not in ("messages", "model")}
        return [first | {"messages": messages, "response": reply, "model_parameters": params}]
    if format_ == "kong":
        proxy = first["ai"]["proxy"] | {"payload": {"request": _text(body), "response": _text(reply)}}
        return [first | {"ai": {"proxy": proxy}}]
    if format_ == "apisix":
        return [
            first | {"llm_request": {"messages": messages, "stream": False}, "llm_response_text": {"content": answer}}
        ]
    if format_ == "bedrock":
        return [first | _converse(messages, answer, tools)]
    if format_ == "apim":
        said = [{"role": "assistant", "content": answer}]
        return [first | {"RequestMessages": _text(messages), "ResponseMessages": _text(said)}, *rest]
    return [_span_with_content(messages, answer, tools)]


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _converse(messages: list[Json], answer: str, tools: list[Json] | None) -> Json:
    turns = [
        {"role": one["role"], "content": [{"text": one["content"]}]} for one in messages if one["role"] != "system"
    ]
    system = [{"text": one["content"]} for one in messages if one["role"] == "system"]
    specs = [
        {"toolSpec": {"name": one["function"]["name"], "inputSchema": {"json": one["function"]["parameters"]}}}
        for one in tools or []
    ]
    request = {"messages": turns, "system": system, "inferenceConfig": {"temperature": 0.5}}
    said = {"output": {"message": {"role": "assistant", "content": [{"text": answer}]}}, "stopReason": "end_turn"}
    return {
        "operation": "Converse",
        "input": {"inputTokenCount": 9, "inputBodyJson": request | ({"toolConfig": {"tools": specs}} if specs else {})},
        "output": {"outputTokenCount": 3, "outputBodyJson": said | {"metrics": {"latencyMs": 420}}},
    }


def _span_with_content(messages: list[Json], answer: str, tools: list[Json] | None) -> Json:
    def parts(one: Json) -> Json:
        return {"role": one["role"], "parts": [{"type": "text", "content": one["content"]}]}

    pairs = {
        "x-account": "acme", "gen_ai.operation.name": "chat", "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5, "gen_ai.input.messages": [parts(one) for one in messages],
        "gen_ai.output.messages": [parts({"role": "assistant", "content": answer})],
    }  # fmt: skip
    return span(pairs | ({"gen_ai.tool.definitions": [one["function"] for one in tools]} if tools else {}))
