"""Token counts: quantile tables of real traffic, and correlated draws that keep them exactly.

A count is the table's value at the normal rank z; z adds the account's habit, the template, the conversation, how
far the conversation has gone, and chance, weighted so that z stays standard normal.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from streamproc.sim.draws import Floats, Ids, Ints, Quantiles, mix, normal_of, quantile
from streamproc.sim.templates import WORKS

# Azure LLM inference trace 2023 (conversation, code; CC-BY-4.0), quantiles per request.
CHAT_IN: Quantiles = (
    (0, 4),
    (0.1, 207),
    (0.25, 396),
    (0.5, 1020),
    (0.75, 1189),
    (0.9, 2734),
    (0.95, 4083),
    (1, 8000),
)
CHAT_OUT: Quantiles = (
    (0, 8),
    (0.1, 54),
    (0.25, 85),
    (0.5, 129),
    (0.75, 395),
    (0.9, 424),
    (0.95, 451),
    (1, 1100),
)
FILL_IN: Quantiles = (
    (0, 8),
    (0.1, 147),
    (0.25, 578),
    (0.5, 1469),
    (0.75, 2744),
    (0.9, 5188),
    (0.95, 7303),
    (1, 7800),
)
FILL_OUT: Quantiles = ((0, 3), (0.1, 7), (0.25, 9), (0.5, 13), (0.75, 24), (0.9, 55), (0.95, 90), (1, 600))
# Coding-agent sessions (kv-cache-tester, Apache-2.0), quantiles per request, whole context.
AGENT_IN: Quantiles = (
    (0, 14_000), (0.1, 43_070), (0.25, 68_100), (0.5, 106_200), (0.75, 139_100), (0.9, 236_200),
    (0.95, 328_800), (1, 700_000),
)  # fmt: skip
AGENT_OUT: Quantiles = (
    (0, 20),
    (0.1, 107),
    (0.25, 142),
    (0.5, 231),
    (0.75, 459),
    (0.9, 946),
    (0.95, 1610),
    (1, 9000),
)
# Assumed: no public trace tells these kinds of work apart.
ANSWER_IN: Quantiles = ((0, 30), (0.1, 110), (0.5, 420), (0.9, 1900), (1, 9000))
ANSWER_OUT: Quantiles = ((0, 40), (0.1, 190), (0.5, 640), (0.9, 2100), (1, 8000))
TASK_IN: Quantiles = ((0, 200), (0.1, 700), (0.5, 2300), (0.9, 9000), (1, 40_000))
TASK_OUT: Quantiles = ((0, 20), (0.1, 80), (0.5, 310), (0.9, 1300), (1, 6000))
EXTRACT_IN: Quantiles = ((0, 100), (0.1, 480), (0.5, 1700), (0.9, 6500), (1, 30_000))
EXTRACT_OUT: Quantiles = ((0, 2), (0.1, 9), (0.5, 70), (0.9, 420), (1, 2500))


@dataclass(frozen=True)
class Profile:
    """Two tables and the weights of template, conversation, progress within it, and chance."""

    tok_in: Quantiles
    tok_out: Quantiles
    card: float
    conversation: float
    progress: float
    chance: float


PROFILES: dict[str, Profile] = {
    "chat": Profile(CHAT_IN, CHAT_OUT, 0.4, 0.3, 0.0, 0.85),
    "completion": Profile(FILL_IN, FILL_OUT, 0.2, 0.2, 0.0, 0.95),
    "agent": Profile(AGENT_IN, AGENT_OUT, 0.0, 0.6, 0.6, 0.5),
    "answer": Profile(ANSWER_IN, ANSWER_OUT, 0.5, 0.1, 0.0, 0.85),
    "task": Profile(TASK_IN, TASK_OUT, 0.5, 0.1, 0.0, 0.85),
    "extract": Profile(EXTRACT_IN, EXTRACT_OUT, 0.5, 0.1, 0.0, 0.85),
}


@dataclass(frozen=True)
class Asked:
    """What token counts depend on, one row a request; `progress` is standard normal within a conversation."""

    account_z: Floats
    habit: Floats
    card: Ids
    conversation: Ids
    progress: Floats
    work: Ints


def draw(rng: np.random.Generator, asked: Asked) -> tuple[Ints, Ints]:
    """Return input and output tokens of each request."""
    n = len(asked.work)
    counts = [np.ones(n, dtype=np.int64), np.ones(n, dtype=np.int64)]
    chance = rng.standard_normal((2, n))
    rows_of = {name: np.flatnonzero(_uses(name)[asked.work]) for name in PROFILES}
    for name, profile in PROFILES.items():
        rows = rows_of[name]
        for side, table in enumerate((profile.tok_in, profile.tok_out)):
            share = ndtr(_ranks(asked, profile, rows, side, chance[side][rows]))
            counts[side][rows] = np.maximum(np.rint(quantile(table, share)), 1).astype(np.int64)
    return counts[0], counts[1]


def _uses(profile: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([work.profile == profile for work in WORKS.values()])


def _ranks(asked: Asked, profile: Profile, rows: Ints, side: int, chance: Floats) -> Floats:
    progress = profile.progress if side == 0 else 0.0
    weights = np.array([profile.card, profile.conversation, progress, profile.chance])
    weights = weights / np.sqrt((weights**2).sum())
    rest = (
        weights[0] * normal_of(mix(asked.card[rows], np.uint64(side)))
        + weights[1] * normal_of(mix(asked.conversation[rows], np.uint64(side + 2)))
        + weights[2] * asked.progress[rows]
        + weights[3] * chance
    )
    habit = asked.habit[rows]
    return np.asarray(habit * asked.account_z[rows] + np.sqrt(1.0 - habit**2) * rest, dtype=np.float64)
