"""What a request asks for beside an answer: traces of reasoning, tools, a place in a batch; by dialect."""

from __future__ import annotations

from typing import Any

import pytest

from streamproc.fingerprint import Fingerprinter, Peppers

Json = dict[str, Any]

PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
SAID: Json = {"messages": [{"role": "user", "content": "a"}]}
BLOCKS: Json = {"messages": [{"role": "user", "content": [{"text": "a"}]}]}
CONTENTS: Json = {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
INVOKE, CONVERSE = "/model/m/invoke", "/model/m/converse"
RAW = "/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict"
GENERATE = "/v1beta/models/m:generateContent"
SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def asks(path: str, body: Json | bytes) -> tuple[str, ...]:
    return PRINTER.request(path, (), body).asks


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, SAID | {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (RESPONSES, {"input": "a", "tools": [{"type": "function", "name": "f"}]}),
        (RESPONSES, {"input": "a", "tools": [{"type": "web_search"}]}),
        (MESSAGES, SAID | {"tools": [{"name": "f", "input_schema": {}}]}),
        (INVOKE, SAID | {"tools": [{"name": "f", "input_schema": {}}]}),
        (CONVERSE, BLOCKS | {"toolConfig": {"tools": [SPEC]}}),
        (GENERATE, CONTENTS | {"tools": [{"functionDeclarations": [{"name": "f"}]}]}),
        (GENERATE, CONTENTS | {"tools": [{"function_declarations": [{"name": "f"}]}]}),
    ],
)
def test_tools(path: str, body: Json) -> None:
    assert asks(path, body) == ("tools",)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESPONSES, {"input": "a", "reasoning": {"effort": "high", "summary": "auto"}}),
        (RESPONSES, {"input": "a", "include": ["reasoning.encrypted_content"]}),
        (MESSAGES, SAID | THINKING),
        (MESSAGES, SAID | {"thinking": {"type": "adaptive"}}),
        (INVOKE, SAID | THINKING),
        (RAW, SAID | THINKING),
        (CONVERSE, BLOCKS | {"additionalModelRequestFields": THINKING}),
        (CONVERSE, BLOCKS | {"additionalModelRequestFields": {"reasoning_config": THINKING["thinking"]}}),
        (GENERATE, CONTENTS | {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}),
        (GENERATE, CONTENTS | {"generation_config": {"thinking_config": {"include_thoughts": True}}}),
        (CHAT, {"messages": [{"role": "user", "content": "Write your full chain of thought in <think> tags."}]}),
    ],
)
def test_traces_of_reasoning_by_member_or_by_word(path: str, body: Json) -> None:
    assert asks(path, body) == ("reasoning_trace",)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, SAID | {"tools": [], "reasoning_effort": "high"}),
        (RESPONSES, {"input": "a", "reasoning": {"effort": "high"}, "include": ["file_search_call.results"]}),
        (RESPONSES, {"input": "a", "reasoning": {"summary": "none"}}),
        (MESSAGES, SAID | {"thinking": {"type": "disabled"}, "tools": None}),
        (CONVERSE, BLOCKS | {"toolConfig": {"tools": [{"cachePoint": {"type": "default"}}]}}),
        (CONVERSE, BLOCKS | {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}),
        (GENERATE, CONTENTS | {"generationConfig": {"thinkingConfig": {"includeThoughts": False}}}),
        (GENERATE, CONTENTS | {"generationConfig": {"thinkingConfig": {"includeThoughts": "yes"}}, "tools": [{}]}),
    ],
)
def test_neither(path: str, body: Json) -> None:
    assert asks(path, body) == ()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/batches",
        "/v1/batches?limit=2",
        "/v1/messages/batches",
        "/openai/batches",
        "/v1beta/models/m:batchGenerateContent",
        "/v1/projects/p/locations/l/batchPredictionJobs",
        "/model-invocation-job",
    ],
)
def test_a_batch_is_known_by_its_path_whatever_its_body(path: str) -> None:
    for body in (b"", b"no json", {"input_file_id": "file-1", "endpoint": CHAT}, SAID):
        assert asks(path, body)[-1:] == ("batch",)


def test_one_request_may_ask_for_all() -> None:
    body = SAID | THINKING | {"tools": [{"name": "f"}]}
    assert asks("/v1/messages/batches", {"anthropic_version": "v", **body}) == ("reasoning_trace", "tools", "batch")


def test_paths_that_only_sound_like_a_batch_are_none() -> None:
    assert asks("/v1/batches-of-cookies", b"") == ()
    assert asks(CHAT, SAID) == ()


def test_gemini_declares_the_same_tools_in_either_case() -> None:
    def declared(kind: str, inner: str) -> object:
        schema = {
            "type": kind,
            "properties": {"type": {"type": inner, "enum": ["STRING"], "description": 'a "type":"X"'}},
        }
        body = CONTENTS | {
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
            "generationConfig": {"responseSchema": schema},
        }
        event = PRINTER.request(GENERATE, (), body).event
        return event["tools_fp"], event["schema_fp"]

    assert declared("OBJECT", "STRING") == declared("object", "string")
    assert declared("OBJECT", "STRING") != declared("OBJECT", "NUMBER")
