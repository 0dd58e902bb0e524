"""OTLP export requests in protobuf, as the JSON form of the same; needs the extra `otlp`."""

from __future__ import annotations

import importlib.util
from typing import Any

from streamproc.ingest.record import Json, Refused

__all__ = ["INSTALL", "available", "decode", "partial"]

INSTALL = "pip install 'streamproc[otlp]'"


def available() -> bool:
    """Whether the messages' definitions are installed."""
    try:
        return importlib.util.find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False


def decode(message: bytes) -> Json:
    """The request in OTLP's JSON form, ids in hexadecimal.

    Raises:
        Refused: it is none.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - an extra
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - an extra
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(message)
    except (DecodeError, RecursionError):
        raise Refused("not_protobuf") from None
    return {"resourceSpans": [_resource(one) for one in request.resource_spans]}


def partial(rejected: int, why: str) -> bytes:
    """The answer to a request of which some spans were refused; to one of which none were, no bytes."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - an extra
        ExportTraceServiceResponse,
    )

    if not rejected:
        return b""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = why
    return bytes(answer.SerializeToString())


def _resource(one: Any) -> Json:
    scopes = [{"spans": [_span(span) for span in scope.spans]} for scope in one.scope_spans]
    return {"resource": {"attributes": _pairs(one.resource.attributes)}, "scopeSpans": scopes}


def _span(span: Any) -> Json:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        "attributes": _pairs(span.attributes),
        "events": [{"name": event.name, "attributes": _pairs(event.attributes)} for event in span.events],
        "status": {"code": span.status.code},
    }


def _pairs(pairs: Any) -> list[Json]:
    return [{"key": one.key, "value": _value(one.value)} for one in pairs]


def _value(value: Any) -> Json:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return {"arrayValue": {"values": [_value(one) for one in value.array_value.values]}}
    if kind == "kvlist_value":
        return {"kvlistValue": {"values": _pairs(value.kvlist_value.values)}}
    if kind in ("string_value", "bool_value", "int_value", "double_value"):
        return {f"{kind.partition('_')[0]}Value": getattr(value, kind)}
    return {}
