"""Bedrock's Converse bodies as Anthropic messages, which they mean the same as and the fingerprints can read."""

from __future__ import annotations

from streamproc.fingerprint.neutral import Json, mapping, objects, text

__all__ = ["request", "response"]


def request(body: Json) -> Json:
    """A request's body."""
    config = mapping(body.get("inferenceConfig"))
    tools = [mapping(one.get("toolSpec")) for one in objects(mapping(body.get("toolConfig")).get("tools"))]
    made: Json = {
        "system": [{"text": text(one.get("text"))} for one in objects(body.get("system"))],
        "messages": [
            {"role": one.get("role"), "content": list(map(_block, objects(one.get("content"))))}
            for one in objects(body.get("messages"))
        ],
        "tools": [
            {"name": tool.get("name"), "input_schema": mapping(tool.get("inputSchema")).get("json")}
            for tool in tools
            if tool
        ],
    }
    for theirs, ours in (("maxTokens", "max_tokens"), ("temperature", "temperature"), ("topP", "top_p"),
                         ("stopSequences", "stop_sequences")):  # fmt: skip
        if theirs in config:
            made[ours] = config[theirs]
    extra = mapping(body.get("additionalModelRequestFields"))
    return made | {name: extra[name] for name in ("top_k", "thinking") if name in extra}


def response(body: Json) -> Json:
    """A response's body."""
    said = mapping(mapping(body.get("output")).get("message"))
    usage = mapping(body.get("usage"))
    return {
        "content": list(map(_block, objects(said.get("content")))),
        "stop_reason": body.get("stopReason"),
        "usage": {
            "input_tokens": usage.get("inputTokens"),
            "output_tokens": usage.get("outputTokens"),
            "cache_read_input_tokens": usage.get("cacheReadInputTokens"),
            "cache_creation_input_tokens": usage.get("cacheWriteInputTokens"),
        },
    }


def _block(block: Json) -> Json:
    if "toolUse" in block:
        call = mapping(block["toolUse"])
        return {"type": "tool_use", "name": call.get("name"), "input": call.get("input")}
    if "toolResult" in block:
        parts = objects(mapping(block["toolResult"]).get("content"))
        return {"type": "tool_result", "content": [{"text": text(one.get("text"))} for one in parts]}
    if "reasoningContent" in block:
        told = mapping(mapping(block["reasoningContent"]).get("reasoningText"))
        return {"type": "thinking", "signature": told.get("signature")}
    if "image" in block:
        return {"type": "image"}
    return {"type": "text", "text": text(block.get("text"))}
