"""Requests of a given size: plain text laid out in several ways, and what a hostile client could send instead."""

from __future__ import annotations

import random
from typing import Any

import orjson

Json = dict[str, Any]

SYSTEM = "You are a helpful assistant who answers briefly. Today is 2026-11-25 and you work in /srv/app/data."
ASK = "Summarise the following text in three sentences and explain your choice.\n\n"
# Frequent words, made-up ones by Zipf's law, and in their midst what the classifier must look at more closely.
FREQUENT = (
    "the of and to in is that for it as with on be at by this have from or one had not but what all were when we an"
    " your which their said if do will each about how up out them then she many some so these would other into has more"
    " her two like him see time could no make than first been its who now people my made over did down only find use"
    " may water long little very after words called just where most know"
)
MARKS = (
    "write answer question code function total better number test response step explain reason final correct model"
    " think many each much judge grade chosen prefer system program table class import"
)
RANK_OF_MARKS = 400
_SYLLABLES = (
    "ka",
    "ro",
    "mi",
    "ten",
    "sal",
    "ver",
    "do",
    "lin",
    "pa",
    "stu",
    "re",
    "ge",
    "mon",
    "ta",
    "fi",
    "lo",
    "ber",
)
VOCABULARY = 20_000


def text(size: int, seed: int = 1) -> str:
    """So many characters of sentences in paragraphs of up to 500."""
    rng = random.Random(seed)  # noqa: S311 - made-up text
    words = FREQUENT.split() + ["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4))) for _ in range(VOCABULARY)]
    words[RANK_OF_MARKS:RANK_OF_MARKS] = MARKS.split()
    weights = [1 / (rank + 3) for rank in range(len(words))]
    said: list[str] = []
    length = paragraph = 0
    while length < size:
        sentence = rng.choices(words, weights, k=rng.randint(6, 20))
        if rng.random() < 0.3:
            sentence.insert(3, str(rng.randrange(5000)))
        said.append(f"{' '.join(sentence).capitalize()}. ")
        paragraph += len(said[-1])
        if paragraph > 400:
            said[-1], paragraph = f"{said[-1]}\n\n", 0
        length += len(said[-1])
    return "".join(said)[:size]


def chat(*said: str, system: str = SYSTEM, **more: Any) -> bytes:
    """A chat completion's body: user and assistant in turn."""
    turns = [{"role": ("user", "assistant")[at % 2], "content": one} for at, one in enumerate(said)]
    return orjson.dumps({"model": "m", "messages": [{"role": "system", "content": system}, *turns], **more})


def plain(size: int) -> dict[str, bytes]:
    """Bodies of about `size` bytes, by how they are laid out."""
    words = text(size)
    turns = [words[at : at + 500] for at in range(0, size, 500)]
    return {
        "one paragraph": chat(ASK + words.replace("\n\n", "")),
        "paragraphs": chat(ASK + words),
        "turns": chat(*turns[: len(turns) - 1 + len(turns) % 2]),
        "system prompt": chat("Now go on with the list, please.", system=words),
    }


def hostile(size: int) -> dict[str, bytes]:
    """Bodies of about `size` bytes that are made to cost much."""
    return _hostile_texts(size) | _hostile_shapes(size)


def _hostile_texts(size: int) -> dict[str, bytes]:
    """A piece repeated, as the user's turn and as the system prompt."""
    pieces = {
        "open tags": "<a>",
        "closed tags": "<a>b</a>",
        "double quotes": '"',
        "single quotes": " 'a",
        "curly quotes": "“a ",
        "backticks": "`",
        "fences": "```a\n",
        "an open fence": "~~~" + "a b " * size,
        "labels": "Question: a\n",
        "empty labels": "Question:\n",
        "half labels": "\n# question a ",
        "a label and spaces": "Question:" + " " * size,
        "one word": "a" * size,
        "digits": "1" * size,
        "numbers": "1 ",
        "dates": "2026-11-25T10:30:00Z ",
        "hexadecimal": "deadbeef" * 2 + "g ",
        "one path": "/a",
        "path and digits": "/a1.",
        "spaces": " ",
        "empty lines": "\n",
        "blank lines": " \n",
        "short paragraphs": "a\n\n",
        "open reminders": "<system-reminder>",
        "closed reminders": "<system-reminder></system-reminder>",
        "billing lines": "x-anthropic-billing-header: a\n",
        "marks": "rubric score grade answer better response chosen prefer ",
        "verbs": "write a b c d complete a b c d rewrite the ",
        "kana": "これはペンです",
    }
    bodies = {}
    for name, piece in pieces.items():
        said = (piece * (size // len(piece) + 1))[:size]
        bodies[f"{name}, user"] = chat(said)
        bodies[f"{name}, system"] = chat("Go on.", system=said)
    new = " ".join(f"w{chr(97 + at % 26)}{at:x}".translate(_LETTERS) for at in range(size // 7))
    return bodies | {"new words, user": chat(new), "new words, system": chat("Go on.", system=new)}


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def _hostile_shapes(size: int) -> dict[str, bytes]:
    """Bodies of which the JSON is the burden."""
    depth = 900  # orjson reads 1,024
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    tool = orjson.dumps({"function": {"name": "f", "parameters": 7}}).replace(b"7", deep)
    lists = b"[" * depth + b"]" * depth
    head = b'{"messages":[{"role":"user","content":"a"}],"tools":['
    calls = b'{"messages":[{"role":"assistant","tool_calls":['
    call = orjson.dumps({"function": {"name": "f", "arguments": deep.decode()}})
    return {
        "deep schemas": head + b",".join([tool] * (size // len(tool) + 1)) + b"]}",
        "deep arguments": calls + b",".join([call] * (size // len(call) + 1)) + b"]}]}",
        "deep content": b'{"messages":[{"role":"user","content":' + lists + b"}]}",
        "many turns": chat(*["a"] * (size // 30)),
        "many answers in a row": orjson.dumps(
            {"messages": [{"role": "assistant", "content": "a" * 60}] * (size // 92)}
        ),
        "many parts": orjson.dumps({"messages": [{"role": "user", "content": [{"text": "a"}] * (size // 13)}]}),
        "many tools": head + b",".join([b'{"function":{"name":"f"}}'] * (size // 26)) + b"]}",
        "many members": orjson.dumps({"messages": [{str(at): at for at in range(size // 12)}]}),
    }
