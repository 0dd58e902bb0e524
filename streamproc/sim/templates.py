"""What is asked: kinds of work, and the deck of prompt templates that a whole stream draws from."""

from dataclasses import dataclass, field

import numpy as np

from streamproc.sim.draws import Floats, Ids, Ints, chance, new_ids, pick

ELICITS: tuple[tuple[str, ...], ...] = (
    (),
    ("reasoning_trace",),
    ("answer_rationale",),
    ("reasoning_trace", "answer_rationale"),
    ("grading",),
    ("preference_pair", "grading"),
    ("reward",),
    ("rewrite",),
    ("self_description",),
    ("refusal_probe",),
)


@dataclass(frozen=True)
class Work:
    """One kind of work: task class, token profile, tools, what it elicits how often, schemas, reasoning."""

    task_class: str
    profile: str
    tools: tuple[int, int] = (0, 0)
    elicits: tuple[tuple[int, float], ...] = ()
    schema: float = 0.0
    reasons: float = 0.1


WORKS: dict[str, Work] = {
    "chat": Work("chat", "chat"),
    "writing": Work("writing", "chat", elicits=((7, 0.15),)),
    "completion": Work("code", "completion", reasons=0.0),
    "code": Work("code", "answer", elicits=((2, 0.15), (1, 0.05)), reasons=0.4),
    "agent": Work("agentic", "agent", tools=(12, 28), reasons=0.4),
    "agentic": Work("agentic", "task", tools=(3, 14), elicits=((1, 0.2),), schema=0.2, reasons=0.5),
    "tool_use": Work("tool_use", "task", tools=(2, 9), elicits=((2, 0.1),), schema=0.3, reasons=0.3),
    "reasoning": Work("reasoning", "answer", elicits=((1, 0.35), (2, 0.15), (3, 0.1)), schema=0.1, reasons=0.9),
    "data": Work("data", "extract", schema=0.6, reasons=0.05),
    "grading": Work("grading", "extract", elicits=((4, 0.6), (5, 0.2), (6, 0.1)), schema=0.7, reasons=0.3),
    "probe": Work("other", "chat", elicits=((8, 0.1), (9, 0.2))),
    "vision": Work("vision", "extract", schema=0.2),
}
WORK_NAMES = tuple(WORKS)
Recipe = tuple[tuple[str, float], ...]


def work_codes(rng: np.random.Generator, recipe: Recipe, n: int) -> Ints:
    """Draw `n` kinds of work (places in WORK_NAMES) from a recipe of (name, weight)."""
    places = np.array([WORK_NAMES.index(name) for name, _ in recipe])
    return np.asarray(places[pick(rng, [weight for _, weight in recipe], n)], dtype=np.int64)


@dataclass(frozen=True)
class Cards:
    """Columns of prompt templates: SimHash, kind of work, what it elicits, tools, and hashes (0: has none).

    `form` stands for how much such a prompt says: templates of one form have token counts in common.
    """

    value: Ids
    form: Ids
    work: Ints
    elicits: Ints
    n_tools: Ints
    system: Ids
    tools: Ids
    schema: Ids


def draw_cards(rng: np.random.Generator, work: Ints, *, system: bool = False) -> Cards:
    """Draw a template for each kind of work; with `system` they all stand under one system prompt."""
    n = len(work)
    tool_low = np.array([row.tools[0] for row in WORKS.values()])[work]
    tool_high = np.array([row.tools[1] for row in WORKS.values()])[work]
    n_tools = tool_low + np.floor(rng.random(n) * (tool_high - tool_low + 1)).astype(np.int64)
    schema_share = np.array([row.schema for row in WORKS.values()])[work]
    schema = np.where(chance(rng, schema_share, n), new_ids(rng, n), np.uint64(0))
    tools = np.where(n_tools > 0, new_ids(rng, n), np.uint64(0))
    prompt = new_ids(rng, 1)[0] if system else np.uint64(0)
    return Cards(
        new_ids(rng, n),
        new_ids(rng, n),
        work,
        _draw_elicits(rng, work),
        n_tools,
        np.full(n, prompt, np.uint64),
        tools,
        schema,
    )


def _draw_elicits(rng: np.random.Generator, work: Ints) -> Ints:
    table = np.zeros((len(WORKS), len(ELICITS)))
    for place, row in enumerate(WORKS.values()):
        for code, share in row.elicits:
            table[place, code] = share
    table[:, 0] = 1.0 - table[:, 1:].sum(axis=1)
    edges = np.cumsum(table, axis=1)[work]
    draws = rng.random(len(work))
    return np.asarray(np.minimum((edges < draws[:, None]).sum(axis=1), len(ELICITS) - 1), dtype=np.int64)


def reprint(rng: np.random.Generator, cards: Cards, copies: int) -> Cards:
    """Return `copies` sets of one composition (form, work, elicits, tools) under fresh hashes, set after set."""
    n = len(cards.value) * copies
    systems = np.repeat(new_ids(rng, copies), len(cards.value))
    tile = {name: np.tile(getattr(cards, name), copies) for name in ("form", "work", "elicits", "n_tools")}
    fresh = {
        name: np.where(np.tile(getattr(cards, name), copies) > 0, new_ids(rng, n), np.uint64(0))
        for name in ("tools", "schema")
    }
    system = np.where(np.tile(cards.system, copies) > 0, systems, np.uint64(0))
    return Cards(value=new_ids(rng, n), system=system, **tile, **fresh)


@dataclass
class Deck:
    """Every template of a stream; `add` returns the places of what was added."""

    parts: list[Cards] = field(default_factory=list)
    size: int = 0

    def add(self, cards: Cards) -> Ints:
        """Append cards and return their places in the deck."""
        self.parts.append(cards)
        places = np.arange(self.size, self.size + len(cards.value))
        self.size += len(cards.value)
        return places

    def all(self) -> Cards:
        """Return the whole deck as one set of columns."""
        names = Cards.__dataclass_fields__
        return Cards(**{name: np.concatenate([getattr(part, name) for part in self.parts]) for name in names})


def nonce_masks(rng: np.random.Generator, n: int, low: int, high: int) -> Ids:
    """Return `n` masks with `low`..`high` of 64 bits set: what a nonce in the prompt flips in its SimHash."""
    mask = np.zeros(n, dtype=np.uint64)
    if high == 0:
        return mask
    wanted = rng.integers(low, high + 1, size=n)
    for step in range(high):
        bit = np.left_shift(np.uint64(1), rng.integers(0, 64, size=n).astype(np.uint64))
        mask |= np.where(step < wanted, bit, np.uint64(0))
    return mask


def dealt_order(rng: np.random.Generator, skew: float, n_cards: int) -> Floats:
    """Return how often each card of a list is dealt: a gentle Zipf law in random order, summing to 1."""
    weights = (1.0 + np.arange(n_cards)) ** -skew
    shuffled = weights[rng.permutation(n_cards)]
    return np.asarray(shuffled / shuffled.sum(), dtype=np.float64)
