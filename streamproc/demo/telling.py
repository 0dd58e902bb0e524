"""How the demo speaks while it runs: lines on standard error."""

from __future__ import annotations

import sys

__all__ = ["DemoError", "number", "say"]


class DemoError(RuntimeError):
    """The demo cannot go on: one line that says why."""


def say(text: str) -> None:
    """Say a line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def number(count: int, thing: str) -> str:
    """Return so many of a thing, in words for one and for many."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
