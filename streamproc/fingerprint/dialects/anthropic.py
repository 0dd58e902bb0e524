"""Anthropic's messages; Bedrock's `anthropic_version` bodies and Vertex's rawPredict are the same without a model."""

from __future__ import annotations

from typing import Any

from streamproc.fingerprint.keyed import canonical_text
from streamproc.fingerprint.neutral import (
    Call,
    Chat,
    Json,
    Reply,
    Turn,
    chosen,
    mapping,
    merged,
    number,
    objects,
    text,
    whole,
)

PARAMS = ("temperature", "top_p", "top_k", "stop_sequences", "thinking")


def read(body: Json) -> Chat:
    """A request's neutral form."""
    messages = objects(body.get("messages"))
    chat = Chat(n_messages=len(messages), params=chosen(body, PARAMS), model=text(body.get("model")))
    system = body.get("system")
    chat.system = system if isinstance(system, str) else "\n".join(text(one.get("text")) for one in objects(system))
    chat.turns = merged(turn for message in messages for turn in _turns(message))
    chat.tools = [(text(tool.get("name")), tool.get("input_schema")) for tool in objects(body.get("tools"))]
    config = mapping(body.get("output_config"))
    wanted = mapping(body.get("output_format") or config.get("format"))
    chat.schema = wanted.get("schema")
    chat.temperature = number(body.get("temperature"))
    chat.max_tokens = whole(body.get("max_tokens"))
    chat.stream = bool(body.get("stream"))
    chat.traces = mapping(body.get("thinking")).get("type") in ("enabled", "adaptive")
    chat.session = text(mapping(body.get("metadata")).get("user_id"))
    return chat


def answer(reply: Reply, body: Json) -> None:
    """Take in a whole response or one event of a stream."""
    kind = body.get("type")
    if kind == "content_block_start":
        _block(reply, body.get("index"), mapping(body.get("content_block")), begun=True)
    elif kind == "content_block_delta":
        delta = mapping(body.get("delta"))
        reply.say(delta.get("text"))
        if "partial_json" in delta:
            reply.call(body.get("index"), arguments=delta["partial_json"])
        reply.signature = text(delta.get("signature")) or reply.signature
    else:
        message = mapping(body.get("message")) or body
        reply.id = text(message.get("id")) or reply.id
        for at, block in enumerate(objects(message.get("content"))):
            _block(reply, at, block, begun=False)
        _end(reply, mapping(body.get("delta")) or message, mapping(body.get("usage") or message.get("usage")))


def _block(reply: Reply, at: Any, block: Json, *, begun: bool) -> None:
    kind = block.get("type")
    if kind == "text":
        reply.say(block.get("text"))
    elif kind == "tool_use":
        reply.call(at, block.get("name"), "" if begun else canonical_text(block.get("input")))
    elif kind == "thinking":
        reply.signature = text(block.get("signature")) or reply.signature
    elif kind == "redacted_thinking":
        reply.signature = text(block.get("data")) or reply.signature


def _end(reply: Reply, said: Json, usage: Json) -> None:
    reply.finish = text(said.get("stop_reason")) or reply.finish
    reply.refused |= reply.finish == "refusal"
    fresh = whole(usage.get("input_tokens"))
    if fresh is not None:
        cached = whole(usage.get("cache_read_input_tokens")) or 0
        reply.tok_in = fresh + cached + (whole(usage.get("cache_creation_input_tokens")) or 0)
        reply.tok_cached = cached
    out = whole(usage.get("output_tokens"))
    reply.tok_out = reply.tok_out if out is None else out
    details = whole(mapping(usage.get("output_tokens_details")).get("thinking_tokens"))
    reply.tok_reasoning = reply.tok_reasoning if details is None else details


def _turns(message: Json) -> list[Turn]:
    """A message's turns: results of tools come in a user's message and are turns of their own."""
    role, content = "assistant" if message.get("role") == "assistant" else "user", message.get("content")
    if isinstance(content, str):
        return [Turn(role, content)]
    turns: list[Turn] = []
    words: list[str] = []
    turn = Turn(role)
    for part in objects(content):
        kind = part.get("type")
        if kind == "tool_result":
            inner = part.get("content")
            said = inner if isinstance(inner, str) else "".join(text(one.get("text")) for one in objects(inner))
            turns.append(Turn("tool", said))
        elif kind == "tool_use":
            turn.calls.append(Call(text(part.get("name")), part.get("input")))
        elif kind in ("thinking", "redacted_thinking"):
            turn.signature = text(part.get("signature")) or text(part.get("data")) or turn.signature
        elif kind == "image":
            turn.images += 1
        else:
            words.append(text(part.get("text")))
    turn.text = "".join(words)
    return [*turns, turn] if turn.text or turn.calls or turn.images or turn.signature or not turns else turns
