"""What everyone in a stream shares: length, deck, public tasks, calendar; and requests in columns."""

from dataclasses import dataclass, fields

import numpy as np

from streamproc.sim.clients import Accounts
from streamproc.sim.draws import HOUR_S, Bools, Floats, Ids, Ints, chance, generator, new_ids, one, pick
from streamproc.sim.templates import Deck, Recipe, draw_cards, work_codes

EVERYDAY: Recipe = (
    ("chat", 0.42), ("writing", 0.13), ("code", 0.18), ("reasoning", 0.08), ("data", 0.07),
    ("tool_use", 0.03), ("vision", 0.05), ("probe", 0.04),
)  # fmt: skip


@dataclass(frozen=True)
class Requests:
    """Requests in columns: account row, second, card of the deck, task, conversation, turn, bits a nonce flips."""

    who: Ints
    at_s: Floats
    card: Ints
    task: Ids
    conversation: Ids
    turn: Ints
    turns: Ints
    mask: Ids
    status: Ints

    def rows(self, chosen: Ints | Bools) -> "Requests":
        """Return the chosen rows."""
        return Requests(**{f.name: getattr(self, f.name)[chosen] for f in fields(Requests)})


def join_requests(parts: list[Requests]) -> Requests:
    """Put several columns of requests one after the other."""
    return Requests(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Requests)})


@dataclass(frozen=True)
class Part:
    """Accounts and their requests; `who` counts from this part's first account."""

    accounts: Accounts
    requests: Requests


@dataclass(frozen=True)
class Calendar:
    """Days on which something happens, in seconds of the stream; None where it does not."""

    viral_s: float | None
    outage_s: float | None
    release_s: float | None
    mistake_s: float | None


@dataclass
class World:
    """The common ground of one stream."""

    days: float
    calendar: Calendar
    deck: Deck
    popular: Ints
    popular_weight: Floats
    public_tasks: Ids


def draw_calendar(rng: np.random.Generator, days: float, *, release: bool) -> Calendar:
    """Choose which event days a stream has, and when; `release` forces a release in time to be moved to."""
    span_s = days * 24 * HOUR_S
    chosen = chance(rng, 0.6, 4)
    moments = [one(rng, (0.15 * span_s, 0.8 * span_s)) for _ in range(4)]
    if release:
        chosen[2], moments[2] = True, one(rng, (0.3 * span_s, 0.55 * span_s))
    return Calendar(*(moment if yes else None for yes, moment in zip(chosen, moments, strict=True)))


def draw_world(seed: int, scenario: str, days: float, accounts: int, *, release: bool) -> World:
    """Draw the common ground of a stream: popular templates, public tasks, calendar."""
    rng = generator(seed, scenario, "world")
    deck = Deck()
    n_popular = max(120, accounts // 10)
    popular = deck.add(draw_cards(rng, work_codes(rng, EVERYDAY, n_popular)))
    weight = np.asarray((2.0 + np.arange(n_popular)) ** -1.1, dtype=np.float64)
    return World(days, draw_calendar(rng, days, release=release), deck, popular, weight, new_ids(rng, 4000))


def public_tasks(rng: np.random.Generator, world: World, n: int) -> Ids:
    """Draw tasks that everybody knows: items of public benchmarks, of text books."""
    place = np.floor(len(world.public_tasks) * rng.random(n) ** 1.5).astype(np.int64)
    return world.public_tasks[place]


def popular_cards(rng: np.random.Generator, world: World, n: int) -> Ints:
    """Draw from the templates that many people use."""
    return world.popular[pick(rng, world.popular_weight, n)]
