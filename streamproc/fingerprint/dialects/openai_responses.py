"""OpenAI's responses API: items instead of messages, and state that the server may keep."""

from __future__ import annotations

from streamproc.fingerprint.dialects.openai_chat import SYSTEM, content
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

PARAMS = ("temperature", "top_p", "top_logprobs", "truncation")
DONE = ("response.completed", "response.incomplete", "response.failed")


def read(body: Json) -> Chat:
    """A request's neutral form."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given)
    chat = Chat(n_messages=len(items), params=chosen(body, PARAMS), model=text(body.get("model")))
    effort = mapping(body.get("reasoning")).get("effort")
    if effort is not None:
        chat.params["reasoning_effort"] = effort
    told = [content(item.get("content"))[0] for item in items if item.get("role") in SYSTEM]
    chat.system = "\n".join(filter(None, [text(body.get("instructions")), *told]))
    chat.turns = merged(_turn(item) for item in items if item.get("role") not in SYSTEM)
    chat.tools = [
        (text(tool.get("name")) or text(tool.get("type")), tool.get("parameters"))
        for tool in objects(body.get("tools"))
    ]
    wanted = mapping(mapping(body.get("text")).get("format"))
    chat.schema = wanted.get("schema") or (wanted.get("type") if wanted.get("type") != "text" else None)
    chat.temperature = number(body.get("temperature"))
    chat.max_tokens = whole(body.get("max_output_tokens"))
    chat.stream = bool(body.get("stream"))
    included = body.get("include")
    shown = mapping(body.get("reasoning")).get("summary") not in (None, "none")
    chat.traces = shown or (isinstance(included, list) and "reasoning.encrypted_content" in included)
    chat.session = text(body.get("user")) or text(body.get("safety_identifier"))
    kept = body.get("conversation")
    chat.state = text(kept) or text(mapping(kept).get("id"))
    chat.previous = text(body.get("previous_response_id")) or chat.state
    carries_history = any(turn.role == "assistant" for turn in chat.turns)
    chat.stored = bool(chat.previous) or (body.get("store") is not False and not carries_history)
    return chat


def answer(reply: Reply, body: Json) -> None:
    """Take in a whole response or one event of a stream; a stream's last event holds the whole response."""
    kind = text(body.get("type"))
    if kind.startswith("response."):
        if kind in DONE:
            _whole(reply, mapping(body.get("response")))
        elif kind == "response.created":
            reply.id = text(mapping(body.get("response")).get("id"))
        return
    _whole(reply, body)


def _whole(reply: Reply, body: Json) -> None:
    reply.id = text(body.get("id")) or reply.id
    reply.finish = text(body.get("status"))
    for at, item in enumerate(objects(body.get("output"))):
        kind = item.get("type")
        if kind == "message":
            reply.say(content(item.get("content"))[0])
            reply.refused |= any(part.get("type") == "refusal" for part in objects(item.get("content")))
        elif kind == "function_call":
            reply.call(at, item.get("name"), item.get("arguments"))
        elif kind == "reasoning":
            reply.signature = text(item.get("encrypted_content")) or reply.signature
    usage = mapping(body.get("usage"))
    reply.tok_in = whole(usage.get("input_tokens"))
    reply.tok_out = whole(usage.get("output_tokens"))
    reply.tok_cached = whole(mapping(usage.get("input_tokens_details")).get("cached_tokens"))
    reply.tok_reasoning = whole(mapping(usage.get("output_tokens_details")).get("reasoning_tokens"))


def _turn(item: Json) -> Turn:
    kind = item.get("type")
    if kind == "function_call":
        return Turn("assistant", calls=[Call(text(item.get("name")), item.get("arguments"))])
    if kind == "function_call_output":
        return Turn("tool", content(item.get("output"))[0])
    if kind == "reasoning":
        return Turn("assistant", signature=text(item.get("encrypted_content")))
    said, images = content(item.get("content"))
    return Turn("assistant" if item.get("role") == "assistant" else "user", said, images=images)
