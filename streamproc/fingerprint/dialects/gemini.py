"""Google's generateContent, on its own host and on Vertex; members in camel case or in snake case."""

from __future__ import annotations

import re
from typing import Any

import orjson

from streamproc.fingerprint.neutral import (
    Call,
    Chat,
    Json,
    Reply,
    Turn,
    add_turn,
    chosen,
    mapping,
    number,
    objects,
    text,
    whole,
)

PARAMS = (
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "stopSequences",
    "presencePenalty",
    "frequencyPenalty",
    "thinkingConfig",
)
REFUSING = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY"})
MOST_DEPTH = 64  # of a schema
_HUMP = re.compile(r"_([a-z])")


def read(body: Json) -> Chat:
    """A request's neutral form; model and stream are in the path."""
    body = _camel(body)
    contents = objects(body.get("contents"))
    config = _camel(mapping(body.get("generationConfig")))
    chat = Chat(n_messages=len(contents), params=chosen(config, PARAMS), model=text(body.get("model")))
    chat.system = "\n".join(text(part.get("text")) for part in _parts(body.get("systemInstruction")))
    for one in contents:
        for turn in _turns(one):
            add_turn(chat.turns, turn)
    for group in map(_camel, objects(body.get("tools"))):
        for tool in map(_camel, objects(group.get("functionDeclarations"))):
            parameters = tool.get("parameters") or tool.get("parametersJsonSchema")
            chat.tools.append((text(tool.get("name")), _typed(parameters)))
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    chat.schema = _typed(schema) or config.get("responseMimeType")
    chat.temperature = number(config.get("temperature"))
    chat.max_tokens = whole(config.get("maxOutputTokens"))
    chat.traces = _camel(mapping(config.get("thinkingConfig"))).get("includeThoughts") is True
    return chat


def answer(reply: Reply, body: Json) -> None:
    """Take in a whole response or one chunk of a stream: both have the same members."""
    reply.id = text(body.get("responseId")) or reply.id
    for candidate in objects(body.get("candidates"))[:1]:
        for part in map(_camel, _parts(candidate.get("content"))):
            call = mapping(part.get("functionCall"))
            if call:
                reply.call(len(reply.calls), call.get("name"), _written(call.get("args")))
            elif not part.get("thought"):
                reply.say(part.get("text"))
            reply.signature = text(part.get("thoughtSignature")) or reply.signature
        reply.finish = text(candidate.get("finishReason")) or reply.finish
        reply.refused |= reply.finish in REFUSING
    reply.refused |= bool(mapping(body.get("promptFeedback")).get("blockReason"))
    usage = mapping(body.get("usageMetadata"))
    if usage:
        thoughts = whole(usage.get("thoughtsTokenCount"))
        said = whole(usage.get("candidatesTokenCount"))
        reply.tok_in = whole(usage.get("promptTokenCount"))
        reply.tok_cached = whole(usage.get("cachedContentTokenCount"))
        reply.tok_reasoning = thoughts
        reply.tok_out = None if said is None and thoughts is None else (said or 0) + (thoughts or 0)


def _turns(one: Json) -> list[Turn]:
    turn = Turn("assistant" if one.get("role") == "model" else "user")
    results: list[Turn] = []
    for part in map(_camel, _parts(one)):
        call, result = mapping(part.get("functionCall")), mapping(part.get("functionResponse"))
        if call:
            turn.calls.append(Call(text(call.get("name")), call.get("args")))
        elif result:
            results.append(Turn("tool", _written(result.get("response"))))
        elif not part.get("thought"):
            turn.text += text(part.get("text"))
        turn.images += "inlineData" in part or "fileData" in part
        turn.signature = text(part.get("thoughtSignature")) or turn.signature
    return [*results, turn] if turn.text or turn.calls or turn.images or not results else results


def _parts(value: Any) -> list[Json]:
    return [{"text": value}] if isinstance(value, str) else objects(mapping(value).get("parts"))


def _written(value: Any) -> str:
    return orjson.dumps(value).decode()


def _typed(schema: Any, depth: int = 0) -> Any:
    """A schema with its types in lower case: `STRING` and `string` mean the same. Deeper than `MOST_DEPTH` as it is."""
    if isinstance(schema, list) and depth < MOST_DEPTH:
        return [_typed(one, depth + 1) for one in schema]
    if not isinstance(schema, dict) or depth >= MOST_DEPTH:
        return schema
    typed = {name: _typed(value, depth + 1) for name, value in schema.items()}
    if isinstance(schema.get("type"), str):
        typed["type"] = schema["type"].lower()
    return typed


def _camel(members: Json) -> Json:
    """The members under their names in camel case."""
    return {_HUMP.sub(lambda hump: hump[1].upper(), name) if "_" in name else name: members[name] for name in members}
