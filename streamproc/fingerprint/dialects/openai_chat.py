"""OpenAI's chat completions, which many other servers speak too; Azure's deployments have the same body."""

from __future__ import annotations

from typing import Any

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
    "top_p",
    "top_k",
    "min_p",
    "n",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
)
ROLES = {"assistant": "assistant", "tool": "tool", "function": "tool"}
SYSTEM = ("system", "developer")


def read(body: Json) -> Chat:
    """A request's neutral form."""
    messages = objects(body.get("messages"))
    chat = Chat(n_messages=len(messages), params=chosen(body, PARAMS), model=text(body.get("model")))
    chat.system = "\n".join(content(one.get("content"))[0] for one in messages if one.get("role") in SYSTEM)
    chat.turns = merged(_turn(one) for one in messages if one.get("role") not in SYSTEM)
    chat.tools = [
        (text(tool.get("name")), tool.get("parameters"))
        for tool in (mapping(one.get("function")) or one for one in objects(body.get("tools")))
    ]
    wanted = mapping(body.get("response_format"))
    chat.schema = wanted.get("json_schema") or wanted.get("schema") or wanted.get("type")
    chat.temperature = number(body.get("temperature"))
    chat.max_tokens = whole(body.get("max_completion_tokens", body.get("max_tokens")))
    chat.stream = bool(body.get("stream"))
    chat.session = text(body.get("user"))
    return chat


def answer(reply: Reply, body: Json) -> None:
    """Take in a whole response or one chunk of a stream: they differ in `message` and `delta` alone."""
    reply.id = text(body.get("id")) or reply.id
    for choice in objects(body.get("choices"))[:1]:
        said = mapping(choice.get("message") or choice.get("delta"))
        reply.say(content(said.get("content"))[0])
        if text(said.get("refusal")):
            reply.refused = True
            reply.say(said["refusal"])
        for at, call in enumerate(objects(said.get("tool_calls"))):
            function = mapping(call.get("function"))
            reply.call(call.get("index", at), function.get("name"), function.get("arguments"))
        reply.finish = text(choice.get("finish_reason")) or reply.finish
        reply.refused |= reply.finish == "content_filter"
    usage = mapping(body.get("usage"))
    if usage:
        reply.tok_in = whole(usage.get("prompt_tokens"))
        reply.tok_out = whole(usage.get("completion_tokens"))
        reply.tok_cached = whole(mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
        reply.tok_reasoning = whole(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"))


def content(value: Any) -> tuple[str, int]:
    """The text of a string or of content parts, and how many parts are pictures."""
    if isinstance(value, str):
        return value, 0
    parts = objects(value)
    words = [text(part.get("text")) or text(part.get("refusal")) for part in parts]
    return "".join(words), sum(part.get("type") in ("image_url", "input_image", "image") for part in parts)


def _turn(message: Json) -> Turn:
    value = message.get("content")
    said, images = (value, 0) if isinstance(value, str) else content(value)
    if "refusal" in message:
        said += text(message["refusal"])
    calls = []
    if "tool_calls" in message:
        functions = (mapping(call.get("function")) for call in objects(message["tool_calls"]))
        calls = [Call(text(function.get("name")), function.get("arguments")) for function in functions]
    return Turn(ROLES.get(text(message.get("role")), "user"), said, calls, images)
