"""What a request asks for, and whether it elicits training data: rules over its neutral form.

A rule is a pattern, and a mark that one of the text's words must hold. What marks a word holds is kept by word, so
that only the few patterns are searched for whose mark is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from streamproc.fingerprint.kept import Kept
from streamproc.fingerprint.neutral import Chat
from streamproc.fingerprint.patterns import AGENT, ELICITS, TASKS

SYSTEM_CHARS, HEAD_CHARS, TAIL_CHARS = 800, 1000, 600  # what is looked at
LEAST_SCORE = 2
GRADING = {"grading", "reward", "preference_pair"}


# What a pattern says, with its weight; first the patterns of eliciting, then those of tasks.
_RULES = [
    *((says, 1, re.compile(pattern)) for says, _, pattern in ELICITS),
    *((says, weight, re.compile(pattern)) for says, weight, _, pattern in TASKS),
]
_ELICITING, _OF_TASKS = range(len(ELICITS)), range(len(ELICITS), len(_RULES))
_ORDER = list(dict.fromkeys(says for says, _, _ in ELICITS))
_MARKS = [re.compile(mark) for mark in (*(mark for _, mark, _ in ELICITS), *(mark for _, _, mark, _ in TASKS))]
_ANY_MARK = re.compile("|".join(mark.pattern for mark in _MARKS))
_AGENT = re.compile(AGENT)


def _rules_of(word: str) -> tuple[int, ...]:
    return tuple(at for at, mark in enumerate(_MARKS) if mark.search(word)) if _ANY_MARK.search(word) else ()


_RULES_OF = Kept(_rules_of)


def classes(chat: Chat, user: str) -> tuple[str, list[str]]:
    """One of the contract's task classes (`other` where nothing tells), and what is elicited, in the contract's order.

    Rules see the beginning of the system prompt and both ends of the user's turn, folded, in lower case.
    """
    if len(user) > HEAD_CHARS + TAIL_CHARS:
        user = f"{user[:HEAD_CHARS]} {user[-TAIL_CHARS:]}"
    said, told = user.lower().split(), chat.system[:SYSTEM_CHARS].lower().split()
    asked, system = f" {' '.join(said)}", f" {' '.join(told)}"
    marked = _marked(said)
    eliciting = _scores(_ELICITING, marked | _marked(told), system + asked)
    elicits = [says for says in _ORDER if says in eliciting]
    if any(turn.images for turn in chat.turns):
        return "vision", elicits
    if not GRADING.isdisjoint(elicits):
        return "grading", elicits
    if chat.tools:
        calls = sum(bool(turn.calls) for turn in chat.turns)
        return "agentic" if calls > 1 or _AGENT.search(system) else "tool_use", elicits
    scores = _scores(_OF_TASKS, marked, asked)
    best = max(scores, key=scores.__getitem__, default="")
    if best and scores[best] >= LEAST_SCORE:
        return best, elicits
    return "chat" if said else "other", elicits


def _marked(words: Iterable[str]) -> set[int]:
    """The rules of which a mark is in one of the words."""
    found: set[int] = set()
    return found.union(*filter(None, map(_RULES_OF.__getitem__, words)))


def _scores(rules: range, marked: set[int], text: str) -> dict[str, int]:
    """The sum of the weights of the patterns that are found, for each thing said."""
    scores: dict[str, int] = {}
    for at in sorted(marked):
        says, weight, pattern = _RULES[at]
        if at in rules and pattern.search(text):
            scores[says] = scores.get(says, 0) + weight
    return scores
