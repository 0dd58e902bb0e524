"""Content that an operator's logs hold: fingerprinted as in a request's path, and not a word of it passed on."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import orjson
import pytest

from streamproc.fingerprint import Fingerprinter
from streamproc.ingest.record import Json
from tests.ingest.world import FIXTURES, PEPPERS, RECORDS, SAMPLES, VALID, attributes, events, maker, span, talk

LOGGED = ("litellm", "otlp", "kong", "apisix", "bedrock", "apim")
each_logged = pytest.mark.parametrize("name", LOGGED)

SYSTEM = "You are a careful reviewer of contracts for Ramesh Whitlock and Daughters, est. 1907."
PROMPT = "Please grade the following answer on a scale from one to ten and explain your reasoning step by step."
ANSWER = "The answer deserves a seven because it misses the second clause entirely."
NEXT = "Now do the same for the other answer that I have pasted below, would you kindly?"
FIRST = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
SECOND = [*FIRST, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": NEXT}]
TOOLS = [
    {"type": "function", "function": {"name": "look_up_clause", "parameters": {"type": "object", "properties": {}}}}
]
SAME = ("template_fp", "system_fp", "task_class", "elicits", "lang", "n_messages", "n_assistant", "response_fp")


def direct(messages: list[Json], answer: str) -> Json:
    """The event that the library makes in a gateway's path."""
    fingerprinter = Fingerprinter(PEPPERS)
    request = fingerprinter.request("/v1/chat/completions", (), {"model": "m", "messages": messages})
    reply = orjson.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]})
    return fingerprinter.finish(request, reply, id="x", ts_ms=0, account="a")


@each_logged
def test_logged_content_has_the_fingerprints_of_the_path_itself(name: str) -> None:
    [event] = events(maker(name), *talk(name, FIRST, ANSWER))
    VALID.validate(event)
    expected = direct(FIRST, ANSWER)
    if name == "bedrock":  # where system prompts are no messages
        expected |= {"n_messages": 1}
    assert {field: event.get(field) for field in SAME} == {field: expected.get(field) for field in SAME}
    assert event["elicits"]


@each_logged
def test_an_honest_next_turn_chains(name: str) -> None:
    made = maker(name)
    [first] = events(made, *talk(name, FIRST, ANSWER))
    [second] = events(made, *talk(name, SECOND, "Six."))
    assert second["prefix_fp"] == first["response_fp"]
    assert second["n_assistant"] == 1


@pytest.mark.parametrize("name", ["litellm", "otlp", "kong", "bedrock"])
def test_tools_that_are_logged_are_one_fingerprint_in_any_form(name: str) -> None:
    [event] = events(maker(name), *talk(name, FIRST, ANSWER, TOOLS))
    fingerprinter = Fingerprinter(PEPPERS)
    body = {"messages": FIRST, "tools": TOOLS, "temperature": 0.5}
    expected = fingerprinter.request("/v1/chat/completions", (), body).event
    assert (event["tools_fp"], event["n_tools"]) == (expected["tools_fp"], 1)
    assert event["params_fp"] == expected["params_fp"]


@pytest.mark.parametrize("name", ["apisix", "apim"])
def test_what_a_source_does_not_tell_is_not_claimed(name: str) -> None:
    [event] = events(maker(name), *talk(name, FIRST, ANSWER))
    assert "params_fp" not in event
    assert event.get("n_tools") == (3 if name == "apisix" else None)


def windows(text: str) -> set[str]:
    return {text[at : at + 12] for at in range(len(text) - 11)}


@pytest.mark.parametrize("name", [*LOGGED, "envoy"])
def test_no_identity_and_no_twelve_characters_of_a_prompt_leave(name: str) -> None:
    records = talk(name, SECOND, ANSWER, TOOLS) if name in LOGGED else RECORDS[name]
    secrets = {
        "u-9": "employee-4711",
        "t-2": "team-orange-blossom",
        "k-3f": "sk-live-abcdef",
        "a@example.org": "ann.lee@whit.example",
        "203.0.113.7": "198.51.100.77",
        "acme": "Whitlock-and-Daughters",
        "c-9": "consumer-whitlock",
        "eu7": "end-user-zeta",
        "sub-1": "subscription-omega",
        "s-1": "session-lambda",
        "c-1": "conversation-kappa",
        "cred-1": "credential-phi",
        "000000000000": "314159265358",
        "66aa": "request-theta",
        "77bb": "correlation-iota",
        "55ff": "request-rho",
    }
    raw = orjson.dumps(records).decode()
    present = {old: new for old, new in secrets.items() if f'"{old}' in raw or f":{old}:" in raw}
    for old, new in present.items():
        raw = raw.replace(old, new)
    [event] = events(maker(name), *orjson.loads(raw))
    written = orjson.dumps(event).decode()
    assert len(present) >= (1 if name == "otlp" else 3)
    assert not [new for new in present.values() if new in written or new.lower() in written.lower()]
    for text in (SYSTEM, PROMPT, ANSWER, NEXT, "look_up_clause"):
        assert not [part for part in windows(text) if part in written]


@pytest.mark.parametrize("name", LOGGED)
def test_no_twelve_characters_of_a_real_prompt_leave(name: str) -> None:
    path = FIXTURES.parent / "public_prompts.jsonl.gz"
    if not path.exists():
        pytest.skip("no ../shared/fixtures beside the project, and STREAMPROC_FIXTURES does not name them")
    with gzip.open(path) as lines:
        prompts = [orjson.loads(line)["text"] for line in lines][LOGGED.index(name) :: 40]
    made = maker(name)
    for at, prompt in enumerate(prompts):
        records = orjson.dumps(talk(name, [{"role": "user", "content": prompt}], prompt[::-1]))
        [event] = events(made, *orjson.loads(records.replace(b'"77bb"', b'"77bb%d"' % at)))
        assert "request_fp" in event
        written = orjson.dumps(event).decode()
        assert not [part for part in windows(prompt) | windows(prompt[::-1]) if part in written]


# -- content that the gateway took out -----------------------------------------------------------------

MARK = "redacted-by-litellm"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": MARK}],
        [{"role": "user", "content": [{"type": "text", "text": MARK}]}],
        MARK,
        None,
        [],
    ],
)
def test_redacted_words_are_no_fingerprints_but_what_was_declared_is(messages: Any) -> None:
    made = maker("litellm")
    [event] = events(made, SAMPLES["litellm_standard_logging_payload"] | {"messages": messages})
    assert made.hidden == 1
    assert {"template_fp", "request_fp", "n_messages", "task_class", "elicits", "refused"} & event.keys() == set()
    assert event["n_tools"] == 1
    assert "tools_fp" in event


@pytest.mark.parametrize(
    "answer",
    [
        MARK,
        {"text": MARK},
        {"choices": [{"message": {"role": "assistant", "content": MARK}}]},
        {"content": [{"text": MARK}]},
    ],
)
def test_a_redacted_answer_chains_nothing(answer: Any) -> None:
    [record] = talk("litellm", FIRST, ANSWER)
    [event] = events(maker("litellm"), record | {"response": answer})
    assert "template_fp" in event
    assert "response_fp" not in event


def test_a_prompt_that_quotes_the_mark_is_fingerprinted() -> None:
    made = maker("litellm")
    [event] = events(
        made, *talk("litellm", [{"role": "user", "content": f"What does {MARK} mean in my logs?"}], ANSWER)
    )
    assert "template_fp" in event
    assert made.hidden == 0


@pytest.mark.parametrize(
    ("route", "messages"),
    [
        ("/v1/responses", PROMPT),
        ("/v1/responses", [{"role": "user", "content": PROMPT}]),
        ("/v1/messages", [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]),
        ("/v1beta/models/g:generateContent", [{"role": "user", "parts": [{"text": PROMPT}]}]),
        (None, [{"role": "user", "content": PROMPT}]),
    ],
)
def test_litellms_routes_are_read_in_their_own_dialects(route: str | None, messages: Any) -> None:
    record = SAMPLES["litellm_standard_logging_payload"]
    record = record | {"messages": messages, "metadata": record["metadata"] | {"user_api_key_request_route": route}}
    [event] = events(maker("litellm"), record)
    assert event["template_fp"] == direct([{"role": "user", "content": PROMPT}], ANSWER)["template_fp"]


def test_an_anthropic_message_that_litellm_logs_in_its_own_form_chains() -> None:
    [record] = talk("litellm", [FIRST[1]], ANSWER)
    route = {"metadata": record["metadata"] | {"user_api_key_request_route": "/v1/messages"}}
    [first] = events(maker("litellm"), record | route)
    [after] = talk("litellm", SECOND[1:], "Six.")
    [second] = events(maker("litellm"), after | route)
    assert first["response_fp"] == second["prefix_fp"]


def test_bedrocks_own_bodies_and_streams_are_read_too() -> None:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    stream = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ]
    record = RECORDS["bedrock"][0] | {
        "operation": "InvokeModelWithResponseStream",
        "input": {"inputTokenCount": 3, "inputBodyJson": body},
        "output": {"outputBodyJson": stream},
    }
    [event] = events(maker("bedrock"), record)
    expected = direct(FIRST, ANSWER)
    assert (event["template_fp"], event["response_fp"]) == (expected["template_fp"], expected["response_fp"])
    assert (event["stream"], event["max_tokens"]) == (True, 9)


# -- the many names that spans have --------------------------------------------------------------------

NAMES: list[Json] = [
    {
        "gen_ai.provider.name": "openai",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": PROMPT}]}],
        "gen_ai.system_instructions": [{"type": "text", "content": SYSTEM}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}]}],
    },
    {
        "gen_ai.system": "openai",
        "gen_ai.usage.prompt_tokens": 7,
        "gen_ai.usage.completion_tokens": 5,
        "gen_ai.usage.cache_read_input_tokens": 2,
        "gen_ai.usage.reasoning_tokens": 1,
        "gen_ai.prompt": FIRST,
        "gen_ai.completion": [{"role": "assistant", "content": ANSWER}],
    },
    {
        "llm.request.type": "chat",
        "gen_ai.usage.prompt_tokens": 7,
        "gen_ai.usage.completion_tokens": 5,
        "gen_ai.usage.cache_read_input_tokens": 2,
        "gen_ai.usage.reasoning_tokens": 1,
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": SYSTEM,
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": PROMPT,
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": ANSWER,
    },
    {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "llm.token_count.prompt": 7,
        "llm.token_count.completion": 5,
        "llm.token_count.prompt_details.cache_read": 2,
        "llm.token_count.completion_details.reasoning": 1,
        "llm.input_messages.1.message.contents.0.message_content.text": PROMPT[:40],
        "llm.input_messages.1.message.contents.1.message_content.text": PROMPT[40:],
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": SYSTEM,
        "llm.input_messages.1.message.role": "user",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": ANSWER,
        "llm.invocation_parameters": {"temperature": 0.5},
    },
]


@pytest.mark.parametrize("names", NAMES, ids=["now", "before", "openllmetry", "openinference"])
def test_a_span_means_the_same_under_every_name(names: Json) -> None:
    model = {} if "llm.model_name" in names else {"gen_ai.request.model": "m", "gen_ai.request.temperature": 0.5}
    [event] = events(maker("otlp"), span({"x-account": "acme"} | model | names))
    VALID.validate(event)
    expected = direct(FIRST, ANSWER)
    for field in ("template_fp", "system_fp", "response_fp"):
        assert event[field] == expected[field]
    assert [event[f"tok_{kind}"] for kind in ("in", "out", "cached", "reasoning")] == [7, 5, 2, 1]
    assert (event["model"], event["temperature"]) == ("m", 0.5)


def test_words_in_a_spans_event_count_as_its_own() -> None:
    said = {"gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": PROMPT}]}]}
    details = {"name": "gen_ai.client.inference.operation.details", "attributes": attributes(said)}
    plain = span({"x-account": "a", "gen_ai.request.model": "m"}, events=[details])
    [event] = events(maker("otlp"), plain)
    assert event["template_fp"] == direct([FIRST[1]], ANSWER)["template_fp"]


def test_calls_of_tools_chain_in_spans() -> None:
    call = {"type": "tool_call", "id": "1", "name": "look_up_clause", "arguments": {"n": 2}}
    back = {"type": "tool_call_response", "id": "1", "response": "It was struck out."}
    user = {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    base = {"x-account": "a", "gen_ai.request.model": "m"}
    asked = {"gen_ai.input.messages": [user], "gen_ai.output.messages": [{"role": "assistant", "parts": [call]}]}
    went_on = {
        "gen_ai.input.messages": [user, {"role": "assistant", "parts": [call]}, {"role": "tool", "parts": [back]}]
    }
    [first], [second] = (events(maker("otlp"), span(base | more)) for more in (asked, went_on))
    assert first["response_fp"] == second["prefix_fp"]
    assert (second["n_messages"], second["n_assistant"]) == (3, 1)


@pytest.mark.parametrize(
    "pairs",
    [
        {"gen_ai.operation.name": "execute_tool"},
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m"},
        {"http.request.method": "GET"},
    ],
)
def test_spans_around_a_request_are_passed_over(pairs: Json) -> None:
    assert events(maker("otlp"), span({"x-account": "a"} | pairs)) == []


def test_a_failed_span_says_why() -> None:
    base = {"x-account": "a", "gen_ai.request.model": "m"}
    for kind, status, error in (
        ("429", 429, "rate_limited"),
        ("RateLimitError", None, "rate_limited"),
        ("Odd", None, "other"),
    ):
        [event] = events(maker("otlp"), span(base | {"error.type": kind}, status={"code": 2}))
        assert (event.get("status"), event["error"]) == (status, error)
    [event] = events(maker("otlp"), span(base | {"http.response.status_code": 503}))
    assert (event["status"], event["error"]) == (503, "overloaded")


def test_a_span_in_protobuf_is_the_same_as_in_json() -> None:
    service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="pip install 'streamproc[otlp]'"
    )
    from google.protobuf import json_format  # noqa: PLC0415 - comes with the former

    from streamproc.ingest import otlp_protobuf  # noqa: PLC0415 - needs the former

    body = span(
        NAMES[0] | {"x-account": "acme", "gen_ai.request.model": "m", "gen_ai.request.temperature": 0.5, "odd": True},
        status={"code": 2},
    )
    sent = orjson.loads(orjson.dumps(body))
    for one in sent["resourceSpans"][0]["scopeSpans"][0]["spans"]:  # protobuf's own JSON has bytes in base64
        one |= {name: base64.b64encode(bytes.fromhex(one[name])).decode() for name in ("traceId", "spanId")}
    packed = json_format.ParseDict(sent, service.ExportTraceServiceRequest()).SerializeToString()
    assert events(maker("otlp"), otlp_protobuf.decode(packed)) == events(maker("otlp"), body)
