"""What a request asks for, and whether it elicits training data: rules over its neutral form.

A rule is a word that must occur (cheap to look for) and a pattern that then decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamproc.fingerprint.neutral import Chat
from streamproc.fingerprint.patterns import AGENT, ELICITS, TASKS

SYSTEM_CHARS, HEAD_CHARS, TAIL_CHARS = 1000, 1600, 800  # what is looked at
LEAST_SCORE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, tried where `mark` occurs; what it says, and with which weight."""

    mark: str
    pattern: re.Pattern[str]
    says: str
    weight: int = 1


_ELICITS = [Rule(mark, re.compile(pattern), says) for says, mark, pattern in ELICITS]
_TASKS = [Rule(mark, re.compile(pattern), says, weight) for says, weight, mark, pattern in TASKS]
_AGENT = re.compile(AGENT)


def looked_at(chat: Chat, user: str) -> tuple[str, str]:
    """System prompt and the user's turn as the rules see them: both ends, folded, in lower case."""
    if len(user) > HEAD_CHARS + TAIL_CHARS:
        user = f"{user[:HEAD_CHARS]} {user[-TAIL_CHARS:]}"
    return chat.system[:SYSTEM_CHARS].lower(), " ".join(user.lower().split())


def elicits(system: str, user: str) -> list[str]:
    """The patterns of eliciting that are there, in the contract's order; takes what `looked_at` returns."""
    text = f"{system} {user}"
    seen = {rule.says for rule in _ELICITS if rule.mark in text and rule.pattern.search(text)}
    return [says for says in dict.fromkeys(rule.says for rule in _ELICITS) if says in seen]


def task_class(chat: Chat, system: str, user: str, patterns: list[str]) -> str:
    """One of the contract's classes; `other` where nothing tells."""
    if any(turn.images for turn in chat.turns):
        return "vision"
    if "grading" in patterns or "reward" in patterns or "preference_pair" in patterns:
        return "grading"
    if chat.tools:
        calls = sum(bool(turn.calls) for turn in chat.turns)
        return "agentic" if calls > 1 or _AGENT.search(system) else "tool_use"
    scores: dict[str, int] = {}
    for rule in _TASKS:
        if rule.mark in user and rule.pattern.search(user):
            scores[rule.says] = scores.get(rule.says, 0) + rule.weight
    best = max(scores, key=scores.__getitem__, default="")
    if best and scores[best] >= LEAST_SCORE:
        return best
    return "chat" if user else "other"
