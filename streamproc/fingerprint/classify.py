"""What a request asks for, and whether it elicits training data: rules over its neutral form.

A rule is a word that must occur (cheap to look for) and a pattern that then decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from streamproc.fingerprint.neutral import Chat
from streamproc.fingerprint.patterns import AGENT, ELICITS, TASKS

SYSTEM_CHARS, HEAD_CHARS, TAIL_CHARS = 800, 1000, 600  # what is looked at
LEAST_SCORE = 2


# By the word that must occur: what the pattern says, with its weight, and the pattern.
Rules: TypeAlias = dict[str, list[tuple[str, int, re.Pattern[str]]]]


def _by_mark(rows: Iterable[tuple[str, int, str, str]]) -> Rules:
    rules: Rules = {}
    for says, weight, mark, pattern in rows:
        rules.setdefault(mark, []).append((says, weight, re.compile(pattern)))
    return rules


_ELICITS = _by_mark((says, 1, mark, pattern) for says, mark, pattern in ELICITS)
_ORDER = list(dict.fromkeys(says for says, _, _ in ELICITS))
_TASKS = _by_mark(TASKS)
_AGENT = re.compile(AGENT)


def looked_at(chat: Chat, user: str) -> tuple[str, str]:
    """System prompt and the user's turn as the rules see them: both ends, folded, in lower case."""
    if len(user) > HEAD_CHARS + TAIL_CHARS:
        user = f"{user[:HEAD_CHARS]} {user[-TAIL_CHARS:]}"
    return chat.system[:SYSTEM_CHARS].lower(), " ".join(user.lower().split())


def elicits(system: str, user: str) -> list[str]:
    """The patterns of eliciting that are there, in the contract's order; takes what `looked_at` returns."""
    seen = _scores(_ELICITS, f"{system} {user}")
    return [says for says in _ORDER if says in seen]


def task_class(chat: Chat, system: str, user: str, patterns: list[str]) -> str:
    """One of the contract's classes; `other` where nothing tells."""
    if any(turn.images for turn in chat.turns):
        return "vision"
    if "grading" in patterns or "reward" in patterns or "preference_pair" in patterns:
        return "grading"
    if chat.tools:
        calls = sum(bool(turn.calls) for turn in chat.turns)
        return "agentic" if calls > 1 or _AGENT.search(system) else "tool_use"
    scores = _scores(_TASKS, user)
    best = max(scores, key=scores.__getitem__, default="")
    if best and scores[best] >= LEAST_SCORE:
        return best
    return "chat" if user else "other"


def _scores(rules: Rules, text: str) -> dict[str, int]:
    """The sum of the weights of the patterns that are found, for each thing said."""
    scores: dict[str, int] = {}
    for mark in rules:
        if mark in text:
            for says, weight, pattern in rules[mark]:
                if pattern.search(text):
                    scores[says] = scores.get(says, 0) + weight
    return scores
