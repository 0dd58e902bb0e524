"""Made-up conversations: a small campaign that deals a list of tasks out to hired accounts, among honest people."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

HOUR_MS = 3_600_000
WORDS = (
    "explain", "derive", "summarise", "translate", "compare", "classify", "improve", "design", "review", "plan",
    "debug", "prove", "estimate", "describe", "invent", "criticise", "order", "measure", "extract", "rewrite",
    "matrix", "river", "contract", "engine", "melody", "recipe", "garden", "protein", "galaxy", "budget", "harbour",
    "lesson", "theorem", "network", "battery", "festival", "village", "glacier", "compiler", "poem", "lawyer",
    "sensor", "orchard", "tunnel", "archive", "planet", "bridge", "market", "texture", "rhythm", "forest", "carbon",
    "ledger", "island", "mirror", "canyon", "fabric", "signal", "winter", "copper", "temple", "valley", "pepper",
    "saddle", "anchor", "thunder", "velvet", "walnut", "zebra", "candle", "marble", "pocket", "carefully",
    "briefly", "thoroughly", "politely", "strictly", "formally", "gently", "slowly", "openly", "boldly", "rarely",
    "mostly", "partly",
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One request: who sends it, when, and the conversation so far."""

    user: str
    at_ms: int
    messages: list[dict[str, str]]


def _task(draw: Random) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(24))


def _payload(draw: Random) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(12))


def made_up(
    start_ms: int, hours: int, *, hired: int = 32, each: int = 10, honest: int = 60, seed: int = 5
) -> list[Turn]:
    """Return the requests in order of time; a user is `user.team`, and every hired one has a team of his own."""
    draw = Random(seed)  # noqa: S311
    tasks = [_task(draw) for _ in range(40)]
    system = {"role": "system", "content": "Show how you reason, step by step, before the answer."}
    turns = []
    for n in range(hired):
        for _ in range(each):
            at_ms = start_ms + draw.randrange(hours * HOUR_MS)
            text = f'{draw.choice(tasks)}: "{_payload(draw)}"'
            turns.append(Turn(f"hired-{n}.pool-{n}", at_ms, [system, {"role": "user", "content": text}]))
    for n in range(honest):
        own = [_task(draw) for _ in range(3)]
        for _ in range(4):
            at_ms = start_ms + draw.randrange(hours * HOUR_MS)
            messages: list[dict[str, str]] = []
            for _ in range(draw.randint(1, 3)):
                messages = [*messages, {"role": "user", "content": f"{draw.choice(own)} {_payload(draw)}"}]
                turns.append(Turn(f"person-{n}.firm-{n // 4}", at_ms, messages))
                messages = [*messages, {"role": "assistant", "content": "A queue is a line."}]
                at_ms += 60_000
    return sorted(turns, key=lambda turn: (turn.at_ms, turn.user, len(turn.messages)))
