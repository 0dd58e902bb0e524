"""Which dialect a request speaks: one table of paths, then what the body itself shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from streamproc.fingerprint.dialects import anthropic, converse, gemini, openai_chat, openai_responses
from streamproc.fingerprint.neutral import Chat, Json, Reply


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read a request's body, and how to take in a response's body or one event of its stream."""

    name: str
    read: Callable[[Json], Chat]
    answer: Callable[[Reply, Json], None]


CHAT = Dialect("openai_chat", openai_chat.read, openai_chat.answer)
RESPONSES = Dialect("openai_responses", openai_responses.read, openai_responses.answer)
MESSAGES = Dialect("anthropic", anthropic.read, anthropic.answer)
CONVERSE = Dialect("converse", converse.read, converse.answer)
GENERATE = Dialect("gemini", gemini.read, gemini.answer)

# The path (without a query), the dialect, the pathway it shows ("" for the maker's own API). `model` is the path's
# own name for the model; `stream` is there when the path asks for a stream.
PATHS: tuple[tuple[str, Dialect, str], ...] = (
    (r"/model/(?P<model>[^/]+)/invoke(?P<stream>-with-response-stream)?$", MESSAGES, "bedrock"),
    (r"/model/(?P<model>[^/]+)/converse(?P<stream>-stream)?$", CONVERSE, "bedrock"),
    (
        r"/publishers/anthropic/models/(?P<model>[^/:]+):(?:(?P<stream>streamRawPredict)|rawPredict)$",
        MESSAGES,
        "vertex",
    ),
    (
        r"/publishers/google/models/(?P<model>[^/:]+):(?:(?P<stream>streamGenerateContent)|generateContent)$",
        GENERATE,
        "vertex",
    ),
    (r"/models/(?P<model>[^/:]+):(?:(?P<stream>streamGenerateContent)|generateContent)$", GENERATE, ""),
    (r"/openai/deployments/(?P<model>[^/]+)/chat/completions$", CHAT, "azure"),
    (r"/openai/(?:v1/)?responses$", RESPONSES, "azure"),
    (r"/chat/completions$", CHAT, ""),
    (r"/responses$", RESPONSES, ""),
    (r"/messages$", MESSAGES, ""),
)
_PATHS = [(re.compile(pattern), dialect, pathway) for pattern, dialect, pathway in PATHS]

# A path that the table does not know: the first member that is there tells.
_MEMBERS = (
    ("anthropic_version", MESSAGES),
    ("inferenceConfig", CONVERSE),
    ("toolConfig", CONVERSE),
    ("contents", GENERATE),
    ("input", RESPONSES),
    ("messages", CHAT),
)


@dataclass(frozen=True, slots=True)
class Route:
    """What a path says: the dialect, the third-party cloud's name, the model, whether a stream is asked for."""

    dialect: Dialect
    pathway: str = ""
    model: str = ""
    stream: bool | None = None


def route(path: str, body: Json) -> Route | None:
    """The route of a request, or None if neither path nor body is known."""
    path = path.partition("?")[0]
    for pattern, dialect, pathway in _PATHS:
        found = pattern.search(path)
        if found:
            members = found.groupdict()
            stream = members["stream"] is not None if "stream" in members else None
            return Route(dialect, pathway, unquote(members.get("model") or ""), stream)
    for member, dialect in _MEMBERS:
        if member in body:
            return Route(dialect)
    return None
