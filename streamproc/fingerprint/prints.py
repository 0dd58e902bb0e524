"""The gateway's one object: a request and its response in, a request event out, without a word of either."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from hmac import HMAC
from typing import Any, TypeAlias

import orjson

from streamproc.fingerprint.classify import classes
from streamproc.fingerprint.client import client
from streamproc.fingerprint.dialects import Route, route
from streamproc.fingerprint.keyed import Keyed, Peppers, canonical, canonical_schema, done, framed, network, squeezed
from streamproc.fingerprint.language import language
from streamproc.fingerprint.neutral import Chat, Json, Reply, Turn
from streamproc.fingerprint.simhash import Words
from streamproc.fingerprint.skeleton import (
    LEAST_SKELETON_WORDS,
    bare,
    lasting,
    read_whole,
    skeleton,
    split,
    without_client_notes,
)
from streamproc.fingerprint.stream import Response

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
CAPABILITIES = ("reasoning_trace", "tools", "batch")
IDENTITIES = ("account", "org", "key", "payer", "device", "session", "ip", "email_domain")
SESSION_HEADERS = ("x-claude-code-session-id", "session_id", "x-session-id")
_MODEL = re.compile(r"[\w./:@-]{1,64}")  # anything else is no model's name, and may be text
_BATCH = re.compile(r"/batches(?:$|[/?])|:batchGenerateContent\b|/batchPredictionJobs\b|/model-invocation-job")
_ROLES = {role: framed(role.encode()) for role in ("user", "assistant", "tool")}
MOST_TASKS = 16  # payloads of which the longest, white space left out, is the task
MOST_WHOLE = 2**53 - 1
REMEMBERED = 65_536  # pseudonyms: the same accounts, keys and networks come again and again
MOST_REMEMBERED_CHARS = 256  # of the raw value; longer ones, which a client may send at will, would be its memory


@dataclass(frozen=True, slots=True)
class Request:
    """What a request alone told: the fields of its event, and what its response is read and chained with."""

    event: Json
    route: Route | None = None
    conversation: HMAC | None = None
    stored: bool = False
    state: str = ""
    asks: tuple[str, ...] = ()  # of `CAPABILITIES`


class Fingerprinter:
    """Makes request events under two peppers. Not safe for several threads at once: give each its own."""

    def __init__(self, peppers: Peppers) -> None:
        self._epoch = peppers.epoch
        self._identity = Keyed(peppers.identity)
        self._content = Keyed(peppers.content)
        self._words = Words(self._content.key("template"))
        self._remembered = lru_cache(REMEMBERED)(self._pseudonym)

    def identity(self, kind: str, value: str) -> str:
        """The pseudonym of an identity (`IDENTITIES`), 32 hexadecimal digits; of an `ip`, that of its network.

        Empty for an empty value and for an `ip` that is none. E-mail domains are compared without case.

        Raises:
            ValueError: there is no such kind.
        """
        make = self._remembered if len(value) <= MOST_REMEMBERED_CHARS else self._pseudonym
        return make(kind, value)

    def request(self, path: str, headers: Headers = (), body: bytes | str | Json = b"") -> Request:
        """The fields of a request to `path`; of a body that cannot be read, those of the headers alone."""
        event: Json = {"pepper_epoch": self._epoch, **self._of_headers(headers)}
        parsed = _parsed(body)
        found = route(path, parsed) if parsed is not None else None
        batch = ("batch",) if _BATCH.search(path) else ()
        if parsed is None or found is None:
            return Request(event, asks=batch)
        chat = found.dialect.read(parsed)
        chat.model = chat.model or found.model
        chat.stream = chat.stream if found.stream is None else found.stream
        if chat.session and "session" not in event:
            event["session"] = self.identity("session", chat.session)
        if found.pathway:
            event["pathway"] = found.pathway
        conversation = self._of_chat(event, chat)
        traces = chat.traces or "reasoning_trace" in event["elicits"]
        asks = ("reasoning_trace",) * traces + ("tools",) * bool(chat.tools) + batch
        return Request(event, found, conversation, chat.stored, chat.state, asks)

    def response(self, request: Request) -> Response | None:
        """Where to feed the response's bytes; None for a request that could not be read."""
        return Response(request.route.dialect) if request.route else None

    def finish(
        self,
        request: Request,
        response: Response | bytes | None = None,
        *,
        id: str,  # noqa: A002 - the contract's name
        ts_ms: int,
        account: str,
        known: Mapping[str, Any] | None = None,
        **identities: str,
    ) -> Json:
        """The event: what the request and the response told, and what the gateway knows besides.

        `id` is the gateway's own for this request, `ts_ms` its arrival (ms since the epoch, UTC); `account` and
        `identities` are raw and leave as pseudonyms; `known` (status, error, plan, ttft_ms, asn_class, ...) is taken
        over as it is and counts before what was read. `response` is the object that was fed, a whole body, or None.

        Raises:
            ValueError: `identities` names one that there is not, or `account` is empty.
        """
        if not account.strip():
            raise ValueError("an event needs its account")
        event: Json = {"v": 1, "id": id, "ts_ms": ts_ms, "account": self.identity("account", account)}
        event |= request.event
        event |= {kind: name for kind, raw in identities.items() if (name := self.identity(kind, raw))}
        collected = response
        if isinstance(response, bytes):
            collected = self.response(request)
            if collected:
                collected.feed(response)
        reply = collected.close() if isinstance(collected, Response) else None
        if reply is not None:
            self._of_reply(event, request, reply)
        return event | dict(known or {})

    def _pseudonym(self, kind: str, value: str) -> str:
        if kind not in IDENTITIES:
            raise ValueError(f"no identity {kind!r}: one of {', '.join(IDENTITIES)}")
        value = network(value) if kind == "ip" else value.strip()
        if kind == "email_domain":
            value = value.rpartition("@")[2].casefold()
        return self._identity.of(kind, value.encode("utf-8", "surrogatepass")) if value else ""

    def _of_headers(self, headers: Headers) -> Json:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        event: Json = {}
        if not pairs:
            return event
        names = [name.lower() for name, _ in pairs]
        values = dict(zip(names, (value for _, value in pairs), strict=True))
        event["headers_fp"] = self._content.of("headers_fp", "\n".join(names).encode())
        family, version = client(values.get("user-agent", ""))
        if family:
            event["ua"] = family
        if version:
            event["ua_version"] = version
        session = next((values[name] for name in SESSION_HEADERS if values.get(name)), "")
        if session:
            event["session"] = self.identity("session", session)
        return event

    def _of_chat(self, event: Json, chat: Chat) -> HMAC | None:
        event["n_messages"] = chat.n_messages
        event["n_assistant"] = [turn.role for turn in chat.turns].count("assistant")
        event["n_tools"] = len(chat.tools)
        for name, value in (
            ("model", chat.model if _MODEL.fullmatch(chat.model) else ""),
            ("stream", chat.stream),
            ("temperature", chat.temperature),
            ("max_tokens", chat.max_tokens),
        ):
            if value is not None and value != "":
                event[name] = value
        last = _last_of_user(chat)
        left = without_client_notes(chat.system)
        chat.system = read_whole(chat.system, left)
        for turn in chat.turns:
            turn.text = without_client_notes(turn.text)
        self._of_declared(event, chat)
        self._of_text(event, chat, read_whole(last, _last_of_user(chat)))
        return self._of_conversation(event, chat)

    def _of_declared(self, event: Json, chat: Chat) -> None:
        """Fingerprints of what is declared beside the conversation."""
        if chat.params:
            event["params_fp"] = self._content.of("params_fp", canonical(chat.params))
        if chat.schema is not None:
            event["schema_fp"] = self._content.of("schema_fp", canonical_schema(chat.schema))
        if chat.tools:
            tools = sorted(
                framed(name.encode("utf-8", "surrogatepass")) + (canonical_schema(schema) if schema else b"")
                for name, schema in chat.tools
            )
            event["tools_fp"] = self._content.of("tools_fp", b"".join(map(framed, tools)))
        signature = next((turn.signature for turn in reversed(chat.turns) if turn.signature), "")
        if signature:
            event["signature_fp"] = self._content.of("signature", squeezed(signature))

    def _of_text(self, event: Json, chat: Chat, user: str) -> None:
        """Template, task, language and class, from the system prompt and the last words of the user."""
        instruction, payloads = split(user)
        template = self._words.simhash(skeleton(chat.system, instruction), LEAST_SKELETON_WORDS)
        template = template or self._words.simhash(bare(chat.system, user))
        if template:
            event["template_fp"] = template
        longest = nlargest(MOST_TASKS, payloads, key=len)
        task = max((squeezed(one.casefold()) for one in longest), key=len)
        if task:
            event["task_fp"] = self._content.of("task_fp", task)
        spoken = language(user)
        if spoken:
            event["lang"] = spoken
        event["task_class"], event["elicits"] = classes(chat, user)

    def _of_conversation(self, event: Json, chat: Chat) -> HMAC | None:
        """System prompt and turns in one running hash, of which prefix and response are two readings."""
        system = squeezed(lasting(chat.system))
        if system:
            event["system_fp"] = self._content.of("system_fp", system)
        running = self._content.begin("conversation")
        running.update(framed(system))
        running.update(framed(chat.previous.encode("utf-8", "surrogatepass")))
        last = max((at for at, turn in enumerate(chat.turns) if turn.role == "assistant"), default=-1)
        written = [*map(_written, chat.turns)]
        if last >= 0:
            running.update(b"".join(written[: last + 1]))
            event["prefix_fp"] = done(running)
        running.update(b"".join(written[last + 1 :]))
        if chat.previous:
            event["prefix_fp"] = self._state(chat.previous)
        whole = running.copy()
        for name in ("tools_fp", "params_fp", "schema_fp"):
            whole.update(event.get(name, "").encode())
        if chat.turns or chat.system:
            event["request_fp"] = self._content.of("request_fp", whole.digest())
        return running if chat.turns else None

    def _of_reply(self, event: Json, request: Request, reply: Reply) -> None:
        for name in ("tok_in", "tok_out", "tok_cached", "tok_reasoning"):
            value = getattr(reply, name)
            if value is not None:
                event[name] = min(value, MOST_WHOLE)
        if reply.finish or reply.refused:
            event["refused"] = reply.refused
        if reply.signature:
            event["signature_out_fp"] = self._content.of("signature", squeezed(reply.signature))
        turn = reply.turn()
        if request.stored and reply.id:
            event["response_fp"] = self._state(request.state or reply.id)
        elif request.conversation and reply.complete and (turn.text or turn.calls):
            conversation = request.conversation.copy()
            conversation.update(_written(turn))
            event["response_fp"] = done(conversation)

    def _state(self, kept_id: str) -> str:
        """What stands for a conversation that the server keeps: its id, or that of its last response."""
        return self._content.of("state", kept_id.encode("utf-8", "surrogatepass"))


def _last_of_user(chat: Chat) -> str:
    return next((turn.text for turn in reversed(chat.turns) if turn.role == "user" and turn.text), "")


def _parsed(body: bytes | str | Json) -> Json | None:
    if isinstance(body, dict):
        return body
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _written(turn: Turn) -> bytes:
    """A turn's bytes for hashing: role, text without white space, calls with canonical arguments."""
    written = _ROLES[turn.role] + framed(squeezed(turn.text))
    for call in turn.calls:
        written += framed(call.name.encode("utf-8", "surrogatepass")) + framed(canonical(call.arguments))
    return written
