"""The one form that every dialect is turned into, and careful reading of JSON that a client wrote.

A reader here never raises on what a client sent: what has another type than expected reads as absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
MOST_REPLY_CHARS = 4_000_000  # beyond, a reply is no longer collected and has no `response_fp`


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: the tool's name and its arguments, as JSON text or as the parsed value."""

    name: str
    arguments: Any


@dataclass(slots=True)
class Turn:
    """One turn: `user`, `assistant` or `tool`; its text parts joined, without reasoning text."""

    role: str
    text: str = ""
    calls: list[Call] = field(default_factory=list)
    images: int = 0
    signature: str = ""


@dataclass(slots=True)
class Chat:
    """A chat request. `previous` names the state that the server keeps and the request goes on from, if there is one.

    `stored` says whether the answer will be known by an id: by `state`, or where that is empty by the response's own.
    """

    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    tools: list[tuple[str, Any]] = field(default_factory=list)
    n_messages: int = 0
    params: Json = field(default_factory=dict)
    schema: Any = None
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    model: str = ""
    session: str = ""
    previous: str = ""
    stored: bool = False
    state: str = ""
    traces: bool = False  # whether the answer is to show how it was reasoned


@dataclass(slots=True)
class Reply:
    """What a response said, whole or collected from a stream. Token counts are None where it does not say."""

    parts: list[str] = field(default_factory=list)
    calls: dict[Any, list[str]] = field(default_factory=dict)  # by its index or id: name, then pieces of the arguments
    signature: str = ""
    refused: bool = False
    finish: str = ""
    id: str = ""
    tok_in: int | None = None
    tok_out: int | None = None
    tok_cached: int | None = None
    tok_reasoning: int | None = None
    chars: int = 0

    def say(self, text: Any) -> None:
        """Add a piece of the answer's text."""
        if isinstance(text, str) and self._room(text):
            self.parts.append(text)

    def call(self, key: Any, name: Any = "", arguments: Any = "") -> None:
        """Add a tool call, or a further piece of the arguments of one begun before."""
        pieces = self.calls.setdefault(key, [""])
        pieces[0] = text(name) or pieces[0]
        if isinstance(arguments, str) and self._room(arguments):
            pieces.append(arguments)

    @property
    def complete(self) -> bool:
        """Whether all of the answer was collected."""
        return self.chars <= MOST_REPLY_CHARS

    def turn(self) -> Turn:
        """The assistant's turn as a next request would carry it."""
        calls = [Call(pieces[0], "".join(pieces[1:])) for pieces in self.calls.values()]
        return Turn("assistant", "".join(self.parts), calls)

    def _room(self, more: str) -> bool:
        self.chars += len(more)
        return self.complete


def mapping(value: Any) -> Json:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Json]:
    """The objects of a list; nothing of anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value if it is text, else the empty text."""
    return value if isinstance(value, str) else ""


def whole(value: Any) -> int | None:
    """The value if it is a whole number >= 0 that JSON keeps exactly."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def number(value: Any) -> float | None:
    """The value if it is a number."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def chosen(body: Json, names: tuple[str, ...]) -> Json:
    """The named members that are there and not null; whole numbers as floats, since 1 and 1.0 mean the same."""
    found = {name: body[name] for name in names if body.get(name) is not None}
    return {name: float(value) if type(value) is int else value for name, value in found.items()}


def merged(turns: Iterable[Turn]) -> list[Turn]:
    """The turns, but what an assistant said in a row of items is one turn, however many items carried it."""
    found: list[Turn] = []
    row: list[Turn] = []
    for turn in turns:
        if turn.role == "assistant":
            row.append(turn)
        else:
            found += _as_one(row) if row else ()
            row = []
            found.append(turn)
    return found + _as_one(row)


def _as_one(turns: list[Turn]) -> list[Turn]:
    if len(turns) < 2:  # noqa: PLR2004 - one is one
        return turns
    calls = [call for turn in turns for call in turn.calls]
    signatures = [turn.signature for turn in turns if turn.signature]
    images = sum(turn.images for turn in turns)
    said = "".join(turn.text for turn in turns)
    return [Turn("assistant", said, calls, images, signatures[-1] if signatures else "")]
