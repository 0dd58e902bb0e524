"""What a span tells of the request itself: parameters always, words where their capture is on, as a chat request.

Words lie in `gen_ai.input.messages` and its kin (messages with parts), in `gen_ai.prompt` (a list as JSON), or one
attribute a member (`gen_ai.prompt.0.content`, `llm.input_messages.0.message.content`).
"""

from __future__ import annotations

from typing import Any, Final

from streamproc.fingerprint.keyed import canonical
from streamproc.fingerprint.neutral import Json, mapping, objects, text
from streamproc.ingest.formats.shared import loaded
from streamproc.ingest.record import Content

__all__ = ["content"]

PATH: Final = "/v1/chat/completions"
PARAMS: Final = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.choice.count": "n",
    "gen_ai.request.max_tokens": "max_tokens",
    "llm.request.max_tokens": "max_tokens",
}
# Where messages lie: a list of them, or the beginning of one attribute a member.
IN: Final = (
    ("gen_ai.input.messages", ""),
    ("gen_ai.prompt", ""),
    ("gen_ai.prompt.", ""),
    ("llm.input_messages.", "message."),
)
OUT: Final = (
    ("gen_ai.output.messages", ""), ("gen_ai.completion", ""), ("gen_ai.completion.", ""),
    ("llm.output_messages.", "message."),
)  # fmt: skip
TOOLS: Final = ("gen_ai.tool.definitions", "gen_ai.request.available_tools")


def content(record: Json) -> Content | None:
    """The request as far as the span tells it; None if it tells nothing of it."""
    body: Json = {ours: record[theirs] for theirs, ours in PARAMS.items() if record.get(theirs) is not None}
    invoked = mapping(loaded(record.get("llm.invocation_parameters")))
    body = {name: value for name, value in invoked.items() if name not in ("messages", "tools", "user", "model")} | body
    tools = next((found for name in TOOLS if (found := objects(loaded(record.get(name))))), [])
    unknown = {"stream", "schema_fp"} | (set() if tools else {"n_tools", "tools_fp"})
    if tools:
        body["tools"] = tools
    said = _messages(record, IN)
    if not said:
        return Content(PATH, body, unknown=frozenset(unknown), hidden=True) if body else None
    system = _text(loaded(record.get("gen_ai.system_instructions")))
    body["messages"] = [{"role": "system", "content": system}] * bool(system) + said
    answers = _messages(record, OUT)
    response = {"choices": [{"message": one} for one in answers]} if answers else None
    return Content(PATH, body, response, frozenset(unknown))


def _messages(record: Json, places: tuple[tuple[str, str], ...]) -> list[Json]:
    for place, inner in places:
        if not place.endswith("."):
            value = record.get(place)
            found = loaded(value) if value is not None else None
            if isinstance(found, str) or (found is None and isinstance(value, str) and value):
                return [{"role": "user", "content": value}]
            listed = found if isinstance(found, list) else mapping(found).get("messages", [found] if found else [])
        elif any(f"{place}0.{inner}{member}" in record for member in ("role", "content", "contents")):
            listed = _indexed(record, place, inner)
        else:
            continue
        messages = [made for one in objects(listed) for made in _chat(one)]
        if messages:
            return messages
    return []


def _chat(message: Json) -> list[Json]:
    """A message with parts as those of a chat request: results of tools are messages of their own."""
    parts = message.get("parts")
    if not isinstance(parts, list):
        return [message]
    results: list[Json] = []
    words: list[str] = []
    calls: list[Json] = []
    for part in objects(parts):
        kind = part.get("type")
        if kind == "tool_call":
            arguments = canonical(part.get("arguments")).decode("utf-8", "replace")
            calls.append({"function": {"name": part.get("name"), "arguments": arguments}})
        elif kind == "tool_call_response":
            said = part.get("response", part.get("result"))
            results.append({"role": "tool", "content": said if isinstance(said, str) else _text(said)})
        elif kind != "reasoning":
            words.append(text(part.get("content")))
    role = {"model": "assistant"}.get(text(message.get("role")), message.get("role"))
    own: Json = {"role": role, "content": "".join(words), "tool_calls": calls}
    return [*results, own] if own["content"] or calls or not results else results


def _text(parts: Any) -> str:
    """The text of instructions, which are text, a list of parts, or an object."""
    if isinstance(parts, str):
        return parts
    return "\n".join(filter(None, (text(one.get("content")) or text(one.get("text")) for one in objects(parts))))


def _indexed(record: Json, place: str, inner: str) -> list[Json]:
    """Messages that are written as one attribute a member, in the order of their numbers."""
    found: dict[int, Json] = {}
    for name, value in record.items():
        if not name.startswith(place):
            continue
        number, _, member = name[len(place) :].partition(".")
        member = member.removeprefix(inner)
        if number.isdecimal() and len(number) < 10:  # noqa: PLR2004 - far above any real conversation
            message = found.setdefault(int(number), {"calls": {}, "parts": []})
            if member.startswith("tool_calls."):
                _call(message["calls"], member.removeprefix("tool_calls."), value)
            elif member in ("role", "content"):
                message[member] = value
            elif member.endswith("message_content.text"):
                message["parts"].append(text(value))
    messages = []
    for at in sorted(found):
        message = found[at]
        calls, parts = message.pop("calls"), message.pop("parts")
        said = {"content": "".join(parts)} if parts else {}
        messages.append(message | said | {"tool_calls": [{"function": calls[one]} for one in sorted(calls)]})
    return messages


def _call(calls: dict[int, Json], member: str, value: Any) -> None:
    number, _, name = member.partition(".")
    name = name.removeprefix("tool_call.function.")
    if number.isdecimal() and len(number) < 10 and name in ("name", "arguments"):  # noqa: PLR2004 - as above
        calls.setdefault(int(number), {})[name] = value
