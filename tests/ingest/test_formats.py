"""Every gateway's records: the fields that they give, what a client cannot do, what a hostile one leads to."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.ingest.formats import FORMATS
from streamproc.ingest.parsing import parse
from streamproc.ingest.record import RULES, Json, Refused, moment_ms
from tests.ingest.world import RECORDS, SAMPLES, VALID, attributes, events, maker, refusal, span

each_format = pytest.mark.parametrize("name", sorted(FORMATS))

# What the samples must come to, beside the pseudonyms.
EXPECTED: dict[str, Json] = {
    "litellm": {
        "ts_ms": 1795565427100,
        "pathway": "api",
        "model": "m",
        "stream": False,
        "status": 200,
        "duration_ms": 2300.0,
        "tok_in": 812,
        "tok_out": 301,
        "tok_cached": 512,
        "tok_reasoning": 0,
        "ua": "openai-python",
        "ua_version": "3.57.0",
        "email_class": "unknown",
        "n_tools": 1,
        "temperature": 0.3,
    },
    "otlp": {
        "ts_ms": 1795565427100,
        "pathway": "api",
        "model": "m",
        "status": 200,
        "duration_ms": 2300,
        "tok_in": 812,
        "tok_out": 301,
    },
    "envoy": {
        "ts_ms": 1795565427000,
        "pathway": "api",
        "model": "m",
        "status": 200,
        "duration_ms": 2300.0,
        "tok_in": 812,
        "tok_out": 301,
        "ua": "curl",
        "ua_version": "8",
        "tls_fp": "t13d1516h2_8daaf6152771_02713d6af862",
    },
    "kong": {
        "ts_ms": 1795565427100,
        "pathway": "api",
        "model": "m",
        "stream": True,
        "status": 200,
        "ttft_ms": 410.0,
        "duration_ms": 2300.0,
        "tok_in": 812,
        "tok_out": 301,
        "tok_cached": 512,
        "ua": "curl",
        "ua_version": "8",
    },
    "apisix": {
        "ts_ms": 1795565427100,
        "pathway": "api",
        "model": "m",
        "stream": True,
        "status": 200,
        "duration_ms": 2300.0,
        "tok_in": 812,
        "tok_out": 301,
        "tok_cached": 512,
        "tok_reasoning": 0,
        "n_tools": 3,
        "ua": "curl",
        "ua_version": "8",
    },
    "bedrock": {
        "ts_ms": 1795565427000,
        "pathway": "bedrock",
        "model": "vendor.m-1",
        "stream": True,
        "status": 200,
        "region": "us-east-1",
        "tok_in": 1324,
        "tok_out": 301,
        "tok_cached": 512,
    },
    "apim": {
        "ts_ms": 1795565427000,
        "pathway": "azure",
        "model": "m-1",
        "stream": True,
        "status": 200,
        "region": "east-us",
        "plan": "pro",
        "duration_ms": 2300.0,
        "tok_in": 812,
        "tok_out": 301,
    },
}
IDENTITIES: dict[str, dict[str, str]] = {
    "litellm": {"account": "u-9", "org": "t-2", "key": "k-3f", "session": "eu7", "ip": "203.0.113.7"},
    "otlp": {"account": "k-3f", "key": "k-3f", "session": "c-1"},
    "envoy": {"account": "acme", "session": "s-1", "ip": "203.0.113.250"},
    "kong": {"account": "c-9", "key": "cred-1", "ip": "203.0.113.7"},
    "apisix": {"account": "acme", "session": "eu7", "ip": "203.0.113.7"},
    "bedrock": {
        "account": "arn:aws:sts::000000000000:assumed-role/r",
        "org": "000000000000",
        "session": "s-1",
        "key": "arn:aws:sts::000000000000:assumed-role/r/s",
    },
    "apim": {"account": "sub-1", "key": "sub-1", "ip": "203.0.113.7"},
}


@each_format
def test_a_sample_comes_to_its_event(name: str) -> None:
    made = maker(name)
    [event] = events(made, *RECORDS[name])
    VALID.validate(event)
    expected = EXPECTED[name] | {kind: made.identity(kind, raw) for kind, raw in IDENTITIES[name].items()}
    if name == "litellm":
        expected["email_domain"] = made.identity("email_domain", "example.org")
    hashes = {field: event[field] for field in event if field in ("id", "tools_fp", "params_fp")}
    assert all(len(value) == 32 for value in hashes.values())
    assert event == expected | hashes | {"v": 1, "pepper_epoch": 0}


@each_format
def test_the_same_records_get_the_same_ids_and_others_others(name: str) -> None:
    first, again = (events(maker(name), *RECORDS[name]) for _ in range(2))
    assert first == again
    other = orjson.loads(orjson.dumps(RECORDS[name]).replace(b"812", b"813"))
    changed = {"kong": ("55ff", "55fe"), "bedrock": ("66aa", "66ab"), "apim": ("77bb", "77bc")}
    if name in changed:  # their own ids, which no client can choose, are what counts
        assert events(maker(name), *other)[0]["id"] == first[0]["id"]
        old, new = changed[name]
        other = orjson.loads(orjson.dumps(other).replace(old.encode(), new.encode()))
    assert events(maker(name), *other)[0]["id"] != first[0]["id"]


def test_no_id_that_a_client_can_choose_makes_two_requests_one() -> None:
    one = SAMPLES["litellm_standard_logging_payload"]
    two = one | {"startTime": one["startTime"] + 60}
    assert one["litellm_call_id"] == two["litellm_call_id"]
    assert len({event["id"] for event in events(maker("litellm"), one, two)}) == 2
    log = RECORDS["envoy"][0]
    later = log | {"start_time": "2026-11-25T00:11:27.000Z"}
    assert len({event["id"] for event in events(maker("envoy"), log, later)}) == 2


def test_a_failure_has_its_status_and_why() -> None:
    failed = SAMPLES["litellm_standard_logging_payload"] | SAMPLES["litellm_failure"]
    [event] = events(maker("litellm"), failed)
    assert (event["status"], event["error"]) == (429, "rate_limited")
    assert refusal(maker("litellm"), SAMPLES["litellm_failure"]) == "no_account"
    said = {"error_code": "403", "error_class": "HTTPException", "error_message": '{"code": "account_suspended"}'}
    [ours] = events(maker("litellm"), failed | {"error_information": said})
    assert (ours["status"], ours["error"]) == (403, "suspended")
    [upstream] = events(maker("litellm"), failed | {"error_information": said | {"error_class": "BadRequestError"}})
    assert upstream["error"] == "invalid", "what a model's answer quotes is no enforcement of ours"


@pytest.mark.parametrize(
    ("flags", "code", "error"),
    [
        ("DC", 0, "cancelled"),
        ("UAEX", 403, "blocked"),
        ("UAEX", 401, "invalid"),
        ("-", 503, "overloaded"),
        ("-", 200, None),
    ],
)
def test_envoys_flags_say_why(flags: str, code: int, error: str | None) -> None:
    [event] = events(maker("envoy"), RECORDS["envoy"][0] | {"response_flags": flags, "response_code": code})
    assert event.get("error") == error


def test_envoys_forwarded_header_is_not_believed() -> None:
    one, two = (RECORDS["envoy"][0] | {"x-forwarded-for": address} for address in ("1.2.3.4", "5.6.7.8, 9.9.9.9"))
    made = maker("envoy")
    assert events(made, one)[0]["ip"] == events(made, two)[0]["ip"] == made.identity("ip", "203.0.113.7")


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("envoy", {"start_time": "2026-11-25T00:10:27Z", "path": "/healthz", "x-account": "a"}),
        ("kong", {"started_at": 1795565427100, "request": {"uri": "/docs"}, "consumer": {"id": "c"}}),
        ("apisix", {"start_time": 1795565427100, "request": {"uri": "/docs"}, "consumer": {"username": "c"}}),
    ],
)
def test_what_is_no_request_to_a_model_is_passed_over(name: str, record: Json) -> None:
    assert refusal(maker(name), record) == "not_a_request"


def test_a_bedrock_error_has_its_status() -> None:
    for code, expected in (("ThrottlingException", (429, "rate_limited")), ("Novel", (500, "other"))):
        [event] = events(maker("bedrock"), RECORDS["bedrock"][0] | {"errorCode": code})
        assert (event["status"], event["error"]) == expected


# -- API Management's two halves -----------------------------------------------------------------------


def test_the_halves_find_each_other_in_either_order_and_as_diagnostic_settings_send_them() -> None:
    models, gateway = RECORDS["apim"]
    [one] = events(maker("apim"), models, gateway)
    [two] = events(maker("apim"), gateway, models)
    assert one == two
    envelope = {
        "records": [
            {
                "time": models["TimeGenerated"],
                "category": "GatewayLlmLogs",
                "correlationId": "77bb",
                "location": "East US",
                "properties": {
                    "modelName": "m-1",
                    "promptTokens": 812,
                    "completionTokens": 301,
                    "isStreamCompletion": True,
                    "sequenceNumber": 0,
                },
            },
            {
                "time": gateway["TimeGenerated"],
                "category": "GatewayLogs",
                "correlationId": "77bb",
                "location": "East US",
                "durationMs": 2300,
                "callerIpAddress": "203.0.113.7",
                "properties": {"responseCode": 200, "apimSubscriptionId": "sub-1", "productId": "pro"},
            },
        ]
    }
    assert events(maker("apim"), envelope) == [one]


def test_a_half_alone_counts_where_the_request_failed() -> None:
    made = maker("apim")
    failed = RECORDS["apim"][1] | {
        "ResponseCode": 429,
        "Url": "https://x.example/openai/deployments/d/chat/completions?v=1",
    }
    other = failed | {"CorrelationId": "other", "Url": "https://x.example/orders"}
    served = RECORDS["apim"][1] | {"CorrelationId": "served"}
    assert events(made, failed, failed, other, served) == []
    assert len(made.halves) == 3, "a repeated delivery waits once"
    alone = list(made.halves.overdue(all_of_them=True))
    event = made.take(alone[0], alone=True)
    assert (event["status"], event["error"]) == (429, "rate_limited")
    VALID.validate(event)
    for record in alone[1:]:
        with pytest.raises(Refused, match="no request"):
            made.take(record, alone=True)


def test_further_pieces_of_a_long_exchange_are_passed_over() -> None:
    assert refusal(maker("apim"), RECORDS["apim"][0] | {"SequenceNumber": 1}) == "not_a_request"


# -- what hostile records lead to ----------------------------------------------------------------------

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    " ",
    "x" * 5000,
    "\u0000",
    [],
    {},
    [[]],
    {"a": {"b": []}},
    "1e999",
    "-5",
    "NaN",
]


def mutants(record: Any) -> Any:
    """The record with each value, at any depth, put in another's place."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield from ({**record, key: odd} for odd in ODD)
            yield from ({**record, key: inner} for inner in mutants(value))
    if isinstance(record, list):
        for at, value in enumerate(record):
            yield from ([*record[:at], inner, *record[at + 1 :]] for inner in mutants(value))


@each_format
def test_wrong_types_anywhere_lead_to_a_valid_event_or_a_refusal(name: str) -> None:
    made = maker(name)
    first, *rest = RECORDS[name]
    some = 0
    for mutant in mutants(first):
        for event in events(made, mutant, *rest):
            some += 1
            if name != "otlp" or some % 10 == 0:
                VALID.validate(event)
    assert some > 100


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@each_format
@given(
    odd=st.dictionaries(
        st.sampled_from(sorted({part for one in RULES for part in (one, "metadata", "span", "ai")})), json
    )
)
def test_any_object_is_an_event_or_refused(name: str, odd: Json) -> None:
    for event in events(maker(name), odd, [odd], {"resourceSpans": [odd]}, {"records": [odd]}):
        VALID.validate(event)


def nested(depth: int) -> Any:
    deep: Any = "x"
    for at in range(depth):
        deep = {"a": deep, "text": "t"} if at % 2 else [deep]
    return deep


@each_format
@pytest.mark.parametrize("depth", [300, 1000])
def test_nobody_hides_by_nesting(name: str, depth: int) -> None:
    """Wherever in a record a client's nesting may lie, the request has its event, and the same one each time."""
    first, *rest = RECORDS[name]
    if name == "otlp":
        value: Json = {"stringValue": "x"}
        for _ in range(depth // 3):
            value = {"arrayValue": {"values": [value]}}
        pairs = {"x-account": "a", "gen_ai.request.model": "m"}
        sent = span(pairs, attributes=[*attributes(pairs), {"key": "gen_ai.input.messages", "value": value}])
    else:
        deep = nested(depth)
        sent = first | {
            "extra": deep, "messages": [{"role": "user", "content": deep}], "llm_request": {"messages": [deep]},
            "RequestMessages": [deep], "model_parameters": {"tools": [{"function": {"name": "f", "parameters": deep}}]},
            "response": {"choices": [{"message": {"content": deep}}]},
        }  # fmt: skip
        if name == "bedrock":
            sent |= {
                "operation": "Converse",
                "input": {"inputBodyJson": {"messages": [{"content": [{"toolUse": {"input": deep}}]}]}},
            }
    found = [events(maker(name), sent, *rest) for _ in range(2)]
    assert found[0] == found[1]
    [event] = found[0]
    VALID.validate(event)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": "\\ud800x"}', {"a": "\ufffdx"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": NaN, "b": -Infinity, "c": 1e999}', {"a": None, "b": None, "c": None}),
        (b'{"a": 1%s}' % (b"0" * 5000), {"a": None}),
        (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
    ],
)
def test_what_a_client_writes_does_not_throw_its_record_away(raw: bytes, value: Any) -> None:
    assert parse(raw) == value


@pytest.mark.parametrize("raw", [b"{", b"", b"[" * 100_000, b'{"a": 1} {"b": 2}', b"\xff\xfe", b"1" * 5000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    try:
        reason = refusal(maker("kong"), parse(raw))
    except Refused as refused:
        reason = refused.reason
    assert reason == ("not_object" if raw[:1] == b"1" else "not_json")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1795565427, 1795565427000),
        (1795565427.1, 1795565427100),
        (1795565427100, 1795565427100),
        ("1795565427100000000", 1795565427100),
        ("2026-11-25T00:10:27.1234567Z", 1795565427123),
        ("2026-11-25T01:10:27+01:00", 1795565427000),
        ("1795565427.1", 1795565427100),
        (1e300, None),
        ("soon", None),
        (-1, None),
        (True, None),
        ("9" * 5000, None),
        (None, None),
    ],
)
def test_a_moment_in_any_unit(value: Any, expected: int | None) -> None:
    assert moment_ms(value) == expected
