"""Envoy's two gRPC interfaces: ext_authz asks before a request passes, the access log tells how it was answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from streamproc.gateway.authz import envoy_pb2 as pb
from streamproc.gateway.authz.callers import Presented
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from streamproc.gateway.authz.core import Authoriser, Checked

__all__ = ["EnvoyServer"]

NAMESPACE: Final = "envoy.filters.http.ext_authz"  # where Envoy keeps the metadata that a check's response gives it
PARTIAL: Final = "x-envoy-auth-partial-body"
PERMISSION_DENIED: Final = 7  # of google.rpc.Code
OVERWRITE: Final = 2  # of HeaderValueOption.HeaderAppendAction: in the place of what the client sent
PASSES: Final = ("pass", "verify")
STEP_UP: Final = "x-streamproc-step-up"
MOST_WHOLE: Final = 2**53
MINUTES_A_DAY: Final = 24 * 60
MOST_MESSAGE_BYTES: Final = 64 * 2**20

# Where the filters that read answers put their token counts, under `usage.prompt_tokens` and the like; of a stream's
# events a whole `usage` as JSON, and what Anthropic's first event has of it as `started`.
READ: Final = ("envoy.filters.http.json_to_metadata", "envoy.content_parsers.json")
STARTED: Final = "started"
USAGE: Final = ("usage", "usageMetadata")
AI_GATEWAY: Final = "io.envoy.ai_gateway"
COUNTS: Final = (
    ("llm_input_token", "tok_in"),
    ("llm_cached_input_token", "tok_cached"),
    ("llm_output_token", "tok_out"),
    ("llm_reasoning_token", "tok_reasoning"),
)


class EnvoyServer:
    """Serves `envoy.service.auth.v3.Authorization` and `envoy.service.accesslog.v3.AccessLogService`."""

    def __init__(self, address: str, authoriser: Authoriser) -> None:
        self._address = address
        self._authoriser = authoriser
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address cannot be had.
        """
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", MOST_MESSAGE_BYTES)])
        check = grpc.unary_unary_rpc_method_handler(
            self._check, pb.CheckRequest.FromString, pb.CheckResponse.SerializeToString
        )
        logs = grpc.stream_unary_rpc_method_handler(
            self._logs, pb.StreamAccessLogsMessage.FromString, pb.StreamAccessLogsResponse.SerializeToString
        )
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {
            "envoy.service.auth.v3.Authorization": {"Check": check},
            "envoy.service.accesslog.v3.AccessLogService": {"StreamAccessLogs": logs},
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
        )
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as reason:
            raise SettingsError(f"AUTHZ_GRPC: cannot listen on {self._address}, set another") from reason
        await self._server.start()

    async def stop(self) -> None:
        """Answer what was asked, and close."""
        if self._server is not None:
            await self._server.stop(grace=1.0)

    async def _check(self, request: pb.CheckRequest, _context: Any) -> pb.CheckResponse:
        return response(await self._authoriser.check(presented(request), waits=True))

    async def _logs(
        self, messages: AsyncIterator[pb.StreamAccessLogsMessage], _context: Any
    ) -> pb.StreamAccessLogsResponse:
        async for message in messages:
            for entry in message.http_logs.log_entry:
                self._authoriser.later.put(partial(self._enter, entry))
        return pb.StreamAccessLogsResponse()

    def _enter(self, entry: pb.HTTPAccessLogEntry) -> None:
        common = entry.common_properties
        metadata = common.metadata.filter_metadata
        if common.intermediate_log_entry:
            return
        if NAMESPACE not in metadata:
            if common.HasField("upstream_remote_address"):  # it was let through to the model
                self._authoriser.unasked()
            return
        ours = metadata[NAMESPACE].fields
        if "id" in ours and ours["answer"].string_value in PASSES:
            status = entry.response.response_code.value or None
            self._authoriser.answered(ours["id"].string_value, status, answers_side(common), usage(metadata))


def presented(request: pb.CheckRequest) -> Presented:
    """Return the request that a check asks about."""
    attributes = request.attributes
    http = attributes.request.http
    ordered = bool(http.header_map.headers)
    headers = _decoded(http.header_map.headers) if ordered else list(http.headers.items())
    return Presented(
        method=http.method,
        path=http.path,
        headers=headers,
        ordered=ordered,
        body=http.raw_body or http.body.encode(),
        partial=any(name == PARTIAL and value == "true" for name, value in headers),
        peer=attributes.source.address.socket_address.address,
        metadata=attributes.metadata_context.filter_metadata,
    )


def whole_rate(per_min: float) -> tuple[int, str]:
    """Return a rate as so many whole requests in the shortest of Envoy's units that has one; at least one a day."""
    for unit, minutes in (("MINUTE", 1), ("HOUR", 60)):
        if per_min * minutes >= 1:
            return int(per_min * minutes), unit
    return max(1, int(per_min * MINUTES_A_DAY)), "DAY"


def response(checked: Checked) -> pb.CheckResponse:
    """Return what Envoy is told; its metadata has the exchange's id, and a throttle's limit for limiters that read it.

    The metadata never leaves Envoy but with its access log, so that no client can tell it from elsewhere.
    """
    answer, verdict = checked.answer, checked.verdict
    told = Struct()
    told.fields["answer"].string_value = answer.word
    if checked.makes_event:
        told.fields["id"].string_value = checked.id
    if verdict is not None and verdict.action == "throttle" and verdict.limit and verdict.limit.requests_per_min:
        number, unit = whole_rate(verdict.limit.requests_per_min)
        limit = told.fields["total_limit"].struct_value.fields
        limit["requests_per_unit"].number_value = number
        limit["unit"].string_value = unit
    if answer.passes:
        passed = pb.OkHttpResponse(headers=_options(answer.headers))
        if STEP_UP not in answer.headers:
            passed.headers_to_remove.append(STEP_UP)  # which a client may have sent
        return pb.CheckResponse(status=pb.Status(code=0), ok_response=passed, dynamic_metadata=told)
    denied = pb.DeniedHttpResponse(
        status=pb.HttpStatus(code=answer.status),
        headers=_options(answer.headers),
        body=orjson.dumps(answer.body).decode(),
    )
    return pb.CheckResponse(status=pb.Status(code=PERMISSION_DENIED), denied_response=denied, dynamic_metadata=told)


def answers_side(common: pb.AccessLogCommon) -> dict[str, Any]:
    """Return what the access log knows of an answer, as fields of the event."""
    last = "time_to_last_downstream_tx_byte" if common.HasField("time_to_last_downstream_tx_byte") else "duration"
    known: dict[str, Any] = {}
    for field, name in (("time_to_first_downstream_tx_byte", "ttft_ms"), (last, "duration_ms")):
        if common.HasField(field):
            known[name] = _ms(getattr(common, field))
    flags = common.response_flags
    if flags.downstream_connection_termination or flags.downstream_remote_reset:
        known["error"] = "cancelled"
    counts = common.metadata.filter_metadata[AI_GATEWAY].fields if AI_GATEWAY in common.metadata.filter_metadata else {}
    for key, name in COUNTS:
        if key in counts and 0 <= (count := counts[key].number_value) < MOST_WHOLE:  # false for NaN
            known[name] = int(count)
    return known


def usage(metadata: Mapping[str, Struct]) -> bytes:
    """Return what Envoy's filters kept of an answer's body, as a body of that alone; empty for nothing."""
    kept = [(key, value) for name in READ if name in metadata for key, value in metadata[name].fields.items()]
    body: dict[str, Any] = {}
    for key, value in sorted(kept, key=lambda one: one[0] != STARTED):
        *parents, last = ("usage" if key == STARTED else key).split(".")
        if (parents or [last])[0] not in USAGE:
            continue
        inside = body
        for name in parents:
            inside = inside.setdefault(name, {})
        if value.HasField("string_value"):
            inside[last] = inside.get(last, {}) | _object(value.string_value)
        elif value.HasField("number_value") and value.number_value.is_integer():
            inside[last] = int(value.number_value)
    return orjson.dumps(body) if body else b""


def _object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _decoded(headers: Iterable[pb.HeaderValue]) -> list[tuple[str, str]]:
    return [(one.key, one.raw_value.decode("latin-1") if one.raw_value else one.value) for one in headers]


def _options(headers: Mapping[str, str]) -> list[pb.HeaderValueOption]:
    return [
        pb.HeaderValueOption(header=pb.HeaderValue(key=name, value=value), append_action=OVERWRITE)
        for name, value in headers.items()
    ]


def _ms(duration: Duration) -> float:
    return round(duration.seconds * 1000 + duration.nanos / 1e6, 1)
