"""Envoy's access log as JSON, with the names of Envoy AI Gateway; content is never in it."""

from __future__ import annotations

from typing import Final

from streamproc.fingerprint.dialects import route
from streamproc.ingest.record import Field, Format, Json, Refused

# %RESPONSE_FLAGS% -> the contract's error. UAEX is an authorisation server's word: ours, when it forbids.
FLAGS: Final = {"DC": "cancelled", "RL": "rate_limited", "UO": "overloaded", "OM": "overloaded", "DPE": "invalid"}
FORBIDDEN: Final = (403, 429)


def _finish(record: Json, told: Json) -> None:
    path = record.get("x-envoy-origin-path") or record.get("path")
    if "model" not in told and not (isinstance(path, str) and route(path, {})):
        raise Refused("not_a_request")
    flags = record.get("response_flags")
    for one in flags.split(",") if isinstance(flags, str) else ():
        if one in FLAGS:
            told["error"] = FLAGS[one]
        elif one == "UAEX" and told.get("status") in FORBIDDEN:
            told["error"] = "blocked"


ENVOY: Final = Format(
    name="envoy",
    fields=(
        Field("ts_ms", ("start_time", "timestamp")),
        Field("session", ("session.id",)),
        # Not x-forwarded-for: its first entries are the client's own to write.
        Field("ip", ("downstream_remote_address",)),
        Field("ua", ("user-agent", "user_agent")),
        Field("tls_fp", ("ja4",)),
        Field("model", ("gen_ai.request.model", "gen_ai.response.model")),
        Field("status", ("response_code",)),
        Field("duration_ms", ("duration",)),
        Field("tok_in", ("gen_ai.usage.input_tokens",)),
        Field("tok_out", ("gen_ai.usage.output_tokens",)),
        Field("tok_cached", ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cached_input_tokens")),
        Field("tok_reasoning", ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")),
    ),
    finish=_finish,
    derived=("error",),
    constants={"pathway": "api"},
)
