"""Bedrock's Converse: one body for all models, whole or in frames (`frames.py`)."""

from __future__ import annotations

import orjson

from streamproc.fingerprint.keyed import canonical
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

PARAMS = ("temperature", "topP", "stopSequences")
REFUSING = frozenset({"guardrail_intervened", "content_filtered", "refusal"})
THINKING = ("enabled", "adaptive")


def read(body: Json) -> Chat:
    """A request's neutral form; model and stream are in the path."""
    messages = objects(body.get("messages"))
    config = mapping(body.get("inferenceConfig"))
    more = mapping(body.get("additionalModelRequestFields"))
    chat = Chat(n_messages=len(messages), params=chosen(config, PARAMS))
    if more:
        chat.params["additionalModelRequestFields"] = more
    chat.system = "\n".join(_said(one) for one in objects(body.get("system")))
    chat.turns = merged(turn for message in messages for turn in _turns(message))
    tools = objects(mapping(body.get("toolConfig")).get("tools"))  # among them marks for the cache
    for tool in filter(None, (mapping(one.get("toolSpec") or one.get("systemTool")) for one in tools)):
        chat.tools.append((text(tool.get("name")), mapping(tool.get("inputSchema")).get("json")))
    structure = mapping(mapping(mapping(body.get("outputConfig")).get("textFormat")).get("structure"))
    chat.schema = mapping(structure.get("jsonSchema")).get("schema")
    chat.temperature = number(config.get("temperature"))
    chat.max_tokens = whole(config.get("maxTokens"))
    chat.traces = mapping(more.get("thinking") or more.get("reasoning_config")).get("type") in THINKING
    return chat


def answer(reply: Reply, body: Json) -> None:
    """Take in a whole response or one event of a stream; what an event is shows in its members."""
    at = body.get("contentBlockIndex")
    start = mapping(mapping(body.get("start")).get("toolUse"))
    if start:
        reply.call(at, start.get("name"))
    delta = mapping(body.get("delta"))
    reply.say(delta.get("text"))
    if "toolUse" in delta:
        reply.call(at, arguments=mapping(delta.get("toolUse")).get("input"))
    reply.signature = _signature(mapping(delta.get("reasoningContent"))) or reply.signature
    message = mapping(mapping(body.get("output")).get("message"))
    for position, block in enumerate(objects(message.get("content"))):
        reply.say(block.get("text"))
        if "toolUse" in block:
            call = mapping(block.get("toolUse"))
            reply.call(position, call.get("name"), orjson.dumps(call.get("input")).decode())
        reply.signature = _signature(mapping(block.get("reasoningContent"))) or reply.signature
    reply.finish = text(body.get("stopReason")) or reply.finish
    reply.refused |= reply.finish in REFUSING
    _count(reply, mapping(body.get("usage")))


def _count(reply: Reply, usage: Json) -> None:
    fresh = whole(usage.get("inputTokens"))
    if fresh is not None:
        reply.tok_cached = whole(usage.get("cacheReadInputTokens")) or 0
        reply.tok_in = fresh + reply.tok_cached + (whole(usage.get("cacheWriteInputTokens")) or 0)
        reply.tok_out = whole(usage.get("outputTokens"))


def _turns(message: Json) -> list[Turn]:
    """A message's turns: results of tools come in a user's message and are turns of their own."""
    role, content = "assistant" if message.get("role") == "assistant" else "user", message.get("content")
    turns: list[Turn] = []
    words: list[str] = []
    turn = Turn(role)
    for block in objects(content):
        if "toolResult" in block:
            results = objects(mapping(block["toolResult"]).get("content"))
            turns.append(Turn("tool", "".join(map(_said, results))))
        elif "toolUse" in block:
            call = mapping(block["toolUse"])
            turn.calls.append(Call(text(call.get("name")), call.get("input")))
        else:
            words.append(_said(block))
        turn.images += "image" in block
        turn.signature = _signature(mapping(block.get("reasoningContent"))) or turn.signature
    turn.text = "".join(words)
    return [*turns, turn] if turn.text or turn.calls or turn.images or turn.signature or not turns else turns


def _said(block: Json) -> str:
    """A block's text, that of guarded content, or a tool's result as JSON."""
    guarded = mapping(mapping(block.get("guardContent")).get("text"))
    said = text(block.get("text")) or text(guarded.get("text"))
    return said or (canonical(block["json"]).decode(errors="replace") if "json" in block else "")


def _signature(reasoning: Json) -> str:
    """A reasoning block's signature: whole in `reasoningText`, alone in a stream's delta, or what was redacted."""
    signed = mapping(reasoning.get("reasoningText")) or reasoning
    return text(signed.get("signature")) or text(reasoning.get("redactedContent"))
