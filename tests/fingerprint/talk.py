# ruff: noqa: FBT001 - one signature for all dialects
"""Made-up conversations in every dialect: how a client writes them, and how the server answers."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

Said = list[tuple[str, str]]  # role and text, first the user
Json = dict[str, Any]


@dataclass(frozen=True)
class Spoken:
    """A dialect as a client and a server speak it; `parts` asks for text in content parts."""

    path: str
    ask: Callable[[str, Said, bool], Json]
    whole: Callable[[str], Json]
    events: Callable[[list[str]], list[Json]]
    wire: Callable[[list[Json]], bytes]  # the events as they are sent


def _chat(system: str, said: Said, parts: bool) -> Json:
    def content(text: str) -> Any:
        return [{"type": "text", "text": text}] if parts else text

    turns = [{"role": role, "content": content(text)} for role, text in said]
    return {"model": "m", "messages": [{"role": "system", "content": system}, *turns]}


def _responses(system: str, said: Said, parts: bool) -> Json:
    def content(role: str, text: str) -> Any:
        kind = "output_text" if role == "assistant" else "input_text"
        return [{"type": kind, "text": text}] if parts else text

    turns = [{"type": "message", "role": role, "content": content(role, text)} for role, text in said]
    return {"model": "m", "store": False, "instructions": system, "input": turns}


def _messages(system: str, said: Said, parts: bool) -> Json:
    def content(text: str) -> Any:
        half = len(text) // 2
        return [{"type": "text", "text": text[:half]}, {"type": "text", "text": text[half:]}] if parts else text

    return {"system": system, "messages": [{"role": role, "content": content(text)} for role, text in said]}


def _contents(system: str, said: Said, parts: bool) -> Json:
    def content(text: str) -> list[Json]:
        half = len(text) // 2 if parts else 0
        return [{"text": text[:half]}, {"text": text[half:]}]

    turns = [{"role": "model" if role == "assistant" else role, "parts": content(text)} for role, text in said]
    return {"systemInstruction": {"parts": [{"text": system}]}, "contents": turns}


def _converse(system: str, said: Said, parts: bool) -> Json:
    def content(text: str) -> list[Json]:
        half = len(text) // 2 if parts else 0
        return [{"text": text[:half]}, {"text": text[half:]}]

    return {"system": [{"text": system}], "messages": [{"role": role, "content": content(t)} for role, t in said]}


def _chat_whole(text: str) -> Json:
    return {"id": "r", "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def _chat_events(pieces: list[str]) -> list[Json]:
    return [{"id": "r", "choices": [{"delta": {"content": piece}}]} for piece in pieces] + [
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    ]


def _responses_whole(text: str) -> Json:
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
    return {"id": "r", "status": "completed", "output": output, "usage": {"input_tokens": 9, "output_tokens": 5}}


def _responses_events(pieces: list[str]) -> list[Json]:
    deltas = [{"type": "response.output_text.delta", "delta": piece} for piece in pieces]
    return [*deltas, {"type": "response.completed", "response": _responses_whole("".join(pieces))}]


def _messages_whole(text: str) -> Json:
    return {"id": "r", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}


def _messages_events(pieces: list[str]) -> list[Json]:
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}} for p in pieces]
    start = {"type": "message_start", "message": {"id": "r", "content": [], "usage": {"input_tokens": 9}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
    return [start, block, *deltas, end]


def _contents_whole(text: str) -> Json:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}


def _converse_whole(text: str) -> Json:
    message = {"role": "assistant", "content": [{"text": text}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 9, "outputTokens": 5}}


def _converse_events(pieces: list[str]) -> list[Json]:
    deltas: list[Json] = [{"contentBlockIndex": 0, "delta": {"text": piece}, "p": "abc"} for piece in pieces]
    end: list[Json] = [
        {"stopReason": "end_turn"},
        {"usage": {"inputTokens": 9, "outputTokens": 5}, "metrics": {"latencyMs": 7}},
    ]
    return [{"role": "assistant"}, *deltas, {"contentBlockIndex": 0}, *end]


def sse(events: list[Json]) -> bytes:
    """The events as server-sent ones, with what else a server writes between them."""
    return (
        b": ping\n\n"
        + b"".join(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events)
        + b"data: [DONE]\n\n"
    )


def frame(payload: bytes, **headers: str) -> bytes:
    """A frame of Amazon's event stream; `message_type` is the header `:message-type`."""
    packed = b"".join(
        bytes([len(name) + 1])
        + b":"
        + name.replace("_", "-").encode()
        + struct.pack(">BH", 7, len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    written = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return written + struct.pack(">I", zlib.crc32(written))


def framed(events: list[Json]) -> bytes:
    """The events as `converse-stream` sends them."""
    return b"".join(frame(orjson.dumps(one), message_type="event", event_type="e") for one in events)


def chunked(events: list[Json]) -> bytes:
    """The events as `invoke-with-response-stream` sends them."""
    return framed([{"bytes": base64.b64encode(orjson.dumps(one)).decode(), "p": "abcdef"} for one in events])


_VERTEX = "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict"
DIALECTS = {
    "openai_chat": Spoken("/v1/chat/completions", _chat, _chat_whole, _chat_events, sse),
    "azure": Spoken("/openai/deployments/d/chat/completions?api-version=1", _chat, _chat_whole, _chat_events, sse),
    "openai_responses": Spoken("/v1/responses", _responses, _responses_whole, _responses_events, sse),
    "anthropic": Spoken("/v1/messages", _messages, _messages_whole, _messages_events, sse),
    "bedrock": Spoken("/model/m/invoke", _messages, _messages_whole, _messages_events, chunked),
    "converse": Spoken("/model/m/converse", _converse, _converse_whole, _converse_events, framed),
    "vertex": Spoken(_VERTEX, _messages, _messages_whole, _messages_events, sse),
    "gemini": Spoken(
        "/v1beta/models/m:generateContent",
        _contents,
        _contents_whole,
        lambda pieces: [_contents_whole(piece) for piece in pieces],
        sse,
    ),
}
