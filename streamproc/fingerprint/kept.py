"""What is made of single words, kept: a language's words come again and again, so that most cost one look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

MOST_KEPT = 32_768  # values; beyond, all are dropped and made anew
MOST_WORD_CHARS = 48  # longer words hardly come again: they would be memory for nothing

Value = TypeVar("Value")


class Kept(dict[str, Value]):
    """The values of `of`, by word; look-ups make what is missing. It holds no more than `MOST_KEPT` short words."""

    def __init__(self, of: Callable[[str], Value]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, word: str) -> Value:
        value = self._of(word)
        if len(word) <= MOST_WORD_CHARS:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[word] = value
        return value
