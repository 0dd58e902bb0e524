"""Google's generateContent, on its own host and on Vertex; members in camel case or in snake case."""

from __future__ import annotations

import re
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
_HUMP = re.compile(r"_([a-z])")


def read(body: Json) -> Chat:
    """A request's neutral form; model and stream are in the path."""
    body = _camel(body)
    contents = objects(body.get("contents"))
    config = _camel(mapping(body.get("generationConfig")))
    chat = Chat(n_messages=len(contents), params=chosen(config, PARAMS), model=text(body.get("model")))
    chat.system = "\n".join(text(part.get("text")) for part in _parts(body.get("systemInstruction")))
    chat.turns = merged(turn for one in contents for turn in _turns(one))
    for group in map(_camel, objects(body.get("tools"))):
        for tool in map(_camel, objects(group.get("functionDeclarations"))):
            chat.tools.append((text(tool.get("name")), tool.get("parameters") or tool.get("parametersJsonSchema")))
    chat.schema = config.get("responseSchema") or config.get("responseJsonSchema") or config.get("responseMimeType")
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
                reply.call(len(reply.calls), call.get("name"), canonical_text(call.get("args")))
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
    words: list[str] = []
    for part in map(_camel, _parts(one)):
        call, result = mapping(part.get("functionCall")), mapping(part.get("functionResponse"))
        if call:
            turn.calls.append(Call(text(call.get("name")), call.get("args")))
        elif result:
            results.append(Turn("tool", canonical_text(result.get("response"))))
        elif not part.get("thought"):
            words.append(text(part.get("text")))
        turn.images += "inlineData" in part or "fileData" in part
        turn.signature = text(part.get("thoughtSignature")) or turn.signature
    turn.text = "".join(words)
    return [*results, turn] if turn.text or turn.calls or turn.images or not results else results


def _parts(value: Any) -> list[Json]:
    return [{"text": value}] if isinstance(value, str) else objects(mapping(value).get("parts"))


def _camel(members: Json) -> Json:
    """The members under their names in camel case."""
    return {_HUMP.sub(lambda hump: hump[1].upper(), name) if "_" in name else name: members[name] for name in members}
