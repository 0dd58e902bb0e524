"""How the demo speaks while it runs: lines on standard error."""

from __future__ import annotations

import sys
import textwrap
from typing import Final

__all__ = ["WIDTH", "DemoError", "number", "say"]

WIDTH: Final = 79


class DemoError(RuntimeError):
    """The demo cannot go on: one line that says why."""


def say(text: str) -> None:
    """Say something about the progress, in lines of a terminal's width."""
    for line in text.split("\n"):
        sys.stderr.write(textwrap.fill(line, WIDTH, subsequent_indent="    ") + "\n")
    sys.stderr.flush()


def number(count: int, thing: str) -> str:
    """Return so many of a thing, in words for one and for many."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
