"""Kinds of lawful users, a table row each, and the one function that draws a group of any kind."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from streamproc.sim import clients
from streamproc.sim.clients import Accounts, Habitat
from streamproc.sim.draws import DAY_S, HOUR_S, Floats, Ids, Ints, chance, lognormal, mix, new_ids, one, whole
from streamproc.sim.rhythms import RHYTHMS, Span, Turns, sittings
from streamproc.sim.templates import Recipe, dealt_order, draw_cards, nonce_masks, work_codes
from streamproc.sim.world import EVERYDAY, Part, Requests, World, join_requests, popular_cards, public_tasks

CODE: Recipe = (("code", 0.6), ("reasoning", 0.2), ("tool_use", 0.2))
COURSE: Recipe = (("code", 0.3), ("reasoning", 0.3), ("writing", 0.2), ("chat", 0.2))
LISTS: Recipe = (("data", 0.35), ("writing", 0.15), ("reasoning", 0.2), ("code", 0.15), ("grading", 0.15))
BENCH: Recipe = (("reasoning", 0.5), ("code", 0.3), ("tool_use", 0.1), ("agentic", 0.1))


@dataclass(frozen=True)
class Kind:
    """One kind of lawful user.

    share: of the population; size: of a group (NO: each for itself); cards: templates of a group, recipe what they
    are for; rhythm; rate: requests per day (median, sigma); own: share of everyday traffic beside it; cover: part
    of the templates that an account uses; flips: bits a nonce may flip; client: share with the very same client;
    org: own, one, or either; birth: when it begins; tasks: own, a list's, or public ones; listed: in list order.
    """

    name: str
    share: float
    size: tuple[int, int]
    cards: tuple[int, int]
    recipe: Recipe
    rhythm: str
    rate: tuple[float, float]
    own: tuple[float, float] = (0.0, 0.2)
    cover: tuple[float, float] = (0.5, 1.0)
    flips: int = 0
    habitat: Habitat = clients.PEOPLE
    client: float = 0.0
    org: str = "own"
    birth: str = "before"
    tasks: str = "own"
    listed: bool = False


NO_FLIPS = (0, 0)
JOINED, ONE_NETWORK = 0.5, 0.7  # groups that are one organisation where either may be; that have one network
SYSTEM_SHARE = 0.6  # groups whose templates stand under one system prompt
FRESH, COMMON, COMMON_LATER = 0.6, 0.91, 0.75  # of everyday prompts: written once up to; everybody's from
NO = (1, 1)
KINDS: tuple[Kind, ...] = (
    Kind("casual", 0.40, NO, NO, EVERYDAY, "sittings", (10.5, 0.7)),
    Kind("coding_agent", 0.075, (30, 80), (10, 22), (("agent", 1.0),), "agent", (34, 0.5), (0.0, 0.1), (0.6, 1.0), 2,
         clients.CODERS, 0.2),
    Kind("framework_app", 0.13, (25, 110), (3, 10), (("chat", 0.4), ("tool_use", 0.3), ("data", 0.2), ("agentic", 0.1)),
         "sittings", (15, 0.8), (0.0, 0.4), (0.4, 1.0), 2, clients.SERVERS, 0.2),
    Kind("scheduled_app", 0.075, (20, 110), (8, 20), LISTS, "scheduled", (13, 0.4), (0.0, 0.15), (0.8, 1.0), 1,
         replace(clients.PEOPLE, habit=(0.0, 0.25), signup_days=(25.0, 1.0)), 0.25, birth="launch",
         tasks="list", listed=True),
    Kind("class_room", 0.055, (30, 60), (12, 24), COURSE, "lessons", (8, 0.3), (0.1, 0.4), (1.0, 1.0), 0,
         clients.PUPILS, 0.1, "either", tasks="list", listed=True),
    Kind("course", 0.045, (20, 70), (10, 40), COURSE, "published", (7, 0.6), (0.2, 0.6), (0.2, 0.7), 1,
         birth="publish", tasks="list"),
    Kind("prompt_pack", 0.07, (40, 150), (10, 40), EVERYDAY, "published", (9, 0.6), (0.2, 0.6), (0.2, 0.6), 1,
         birth="publish"),
    Kind("ci_runner", 0.02, (10, 30), (6, 16), CODE, "steady", (24, 0.3), (0.0, 0.05), (0.6, 1.0), 1,
         clients.SERVERS, 0.9, "one"),
    Kind("eval_lab", 0.02, (8, 18), (10, 24), BENCH, "nightly", (36, 0.2), (0.0, 0.1), (0.9, 1.0), 0,
         replace(clients.SERVERS, program=2, habit=(0.0, 0.2)), 0.7, "either", tasks="public", listed=True),
    Kind("grader", 0.016, (8, 22), (6, 14), (("grading", 0.9), ("reasoning", 0.1)), "steady", (18, 0.4), (0.0, 0.2),
         (0.5, 1.0), 1, clients.SERVERS, 0.3, "either", tasks="public"),
    Kind("rag_backfill", 0.014, (6, 16), (4, 9), (("data", 0.9), ("writing", 0.1)), "backfill", (30, 0.4), (0.0, 0.1),
         (0.6, 1.0), 2, clients.SERVERS, 0.3),
    Kind("wrapper_app", 0.03, (18, 60), (8, 20), (("chat", 0.3), ("writing", 0.3), ("code", 0.4)), "sittings",
         (14, 0.5), (0.0, 0.15), (0.5, 1.0), 1, replace(clients.SERVERS, program=4), 0.4),
    Kind("day_one", 0.016, (10, 30), (10, 24), BENCH, "published", (14, 0.5), (0.1, 0.4), (0.5, 1.0), 0,
         birth="release", tasks="public"),
    Kind("production_app", 0.034, NO, (3, 9), (("completion", 0.5), ("chat", 0.2), ("data", 0.2), ("tool_use", 0.1)),
         "steady", (28, 0.6), (0.0, 0.1), (1.0, 1.0), 2, clients.SERVERS),
)  # fmt: skip
LONE_WORKER = "lone_worker"
KIND_NAMES = (*(kind.name for kind in KINDS), LONE_WORKER)


def draw_group(rng: np.random.Generator, world: World, kind: Kind, n: int) -> Part:
    """Draw one group of `n` accounts of a kind, with all that its members share."""
    accounts = clients.draw_accounts(rng, n, kind.habitat, KIND_NAMES.index(kind.name))
    accounts = _join_organisation(rng, kind, clients.one_client(rng, accounts, kind.client))
    begin_s = BIRTHS[kind.birth](rng, world, n)
    end_s = np.where(chance(rng, 0.08, n), DAY_S * world.days * rng.random(n), np.inf)
    rate = lognormal(rng, *kind.rate, n)
    own = one(rng, kind.own) * np.clip(lognormal(rng, 1.0, 0.5, n), 0.0, 1.6)
    turns = RHYTHMS[kind.rhythm](rng, Span(rate * np.maximum(1.0 - own, 0.1), begin_s, end_s, world.days))
    beside = sittings(rng, Span(rate * own, np.full(n, -np.inf), end_s, world.days))
    shared = _group_requests(rng, world, kind, n, turns)
    return Part(_signed_up(rng, kind, accounts, begin_s), join_requests([shared, everyday(rng, world, n, beside)]))


def draw_single(rng: np.random.Generator, world: World, kind: Kind, n: int) -> Part:
    """Draw `n` accounts of a kind without groups: each has what is its own only."""
    accounts = clients.draw_accounts(rng, n, kind.habitat, KIND_NAMES.index(kind.name))
    span = Span(lognormal(rng, *kind.rate, n), np.full(n, -np.inf), np.full(n, np.inf), world.days)
    turns = RHYTHMS[kind.rhythm](rng, span)
    if kind.cards == NO:
        return Part(accounts, everyday(rng, world, n, turns))
    each = kind.cards[1]
    cards = world.deck.add(draw_cards(rng, work_codes(rng, kind.recipe, n * each)))
    sizes = rng.integers(kind.cards[0], each + 1, size=n)
    card = cards[turns.who * each + np.floor(rng.random(len(turns.who)) * sizes[turns.who]).astype(np.int64)]
    return Part(accounts, requests_of(rng, turns, card, mix(turns.conversation), (0, kind.flips)))


def everyday(rng: np.random.Generator, world: World, n: int, turns: Turns) -> Requests:
    """Everyday use: most prompts are written once, some are an account's own habit, some everybody's."""
    rows = len(turns.who)
    kept = 5
    own = world.deck.add(draw_cards(rng, work_codes(rng, EVERYDAY, n * kept)))
    choice = rng.random(rows)
    card = own[turns.who * kept + np.floor(kept * rng.random(rows)).astype(np.int64)]
    common = (choice > COMMON) | ((turns.turn > 0) & (choice > COMMON_LATER))
    card[common] = popular_cards(rng, world, int(common.sum()))
    fresh = choice < FRESH
    card[fresh] = world.deck.add(draw_cards(rng, work_codes(rng, EVERYDAY, int(fresh.sum()))))
    return requests_of(rng, turns, card, mix(turns.conversation, turns.turn), NO_FLIPS)


def requests_of(rng: np.random.Generator, turns: Turns, card: Ints, task: Ids, flips: tuple[int, int]) -> Requests:
    """Make requests of turns once it is known what is asked; a nonce flips `flips[0]`..`flips[1]` bits."""
    n = len(turns.who)
    mask = nonce_masks(rng, n, *flips)
    status = np.full(n, 200, dtype=np.int64)
    return Requests(turns.who, turns.at_s, card, task, turns.conversation, turns.turn, turns.turns, mask, status)


def deal(rng: np.random.Generator, weights: Floats, who: Ints) -> Ints:
    """Draw for each request a place in its account's row of `weights` [accounts, places]."""
    edges = np.cumsum(weights, axis=1)
    edges /= edges[:, -1:]
    place = (edges[who] < rng.random(len(who))[:, None]).sum(axis=1)
    return np.asarray(np.minimum(place, weights.shape[1] - 1), dtype=np.int64)


def _group_requests(rng: np.random.Generator, world: World, kind: Kind, n: int, turns: Turns) -> Requests:
    size = whole(rng, kind.cards)
    cards = world.deck.add(
        draw_cards(rng, work_codes(rng, kind.recipe, size), system=bool(rng.random() < SYSTEM_SHARE))
    )
    weights = dealt_order(rng, 0.5, size) * (rng.random((n, size)) < one(rng, kind.cover)) + 1e-6
    place = turns.item % size if kind.listed else deal(rng, weights, turns.who)
    card = cards[place]
    aside = (turns.turn > 0) & chance(rng, 0.3, len(place))
    card[aside] = world.deck.add(draw_cards(rng, work_codes(rng, kind.recipe, int(aside.sum()))))
    return requests_of(rng, turns, card, _tasks(rng, world, kind, turns), (0, kind.flips))


def _tasks(rng: np.random.Generator, world: World, kind: Kind, turns: Turns) -> Ids:
    """Own payloads; or items of the group's own list; or items of public benchmarks."""
    n = len(turns.who)
    own = mix(turns.conversation, turns.turn)
    if kind.tasks == "public":
        return np.where(chance(rng, 0.8, n), public_tasks(rng, world, n), own)
    if kind.tasks == "list":
        items = new_ids(rng, whole(rng, (40, 300)))
        item = turns.item if kind.listed else np.floor(len(items) * rng.random(n) ** 1.5).astype(np.int64)
        return np.where(chance(rng, 0.7, n), items[item % len(items)], own)
    return np.where(chance(rng, 0.02, n), public_tasks(rng, world, n), own)


def _join_organisation(rng: np.random.Generator, kind: Kind, accounts: Accounts) -> Accounts:
    if kind.org == "one" or (kind.org == "either" and rng.random() < JOINED):
        return clients.one_organisation(accounts, network=bool(rng.random() < ONE_NETWORK))
    return accounts


def _signed_up(rng: np.random.Generator, kind: Kind, accounts: Accounts, begin_s: Floats) -> Accounts:
    """Part of those who begin within the stream signed up for it."""
    n = len(begin_s)
    new = chance(rng, 0.35, n) & (begin_s > 0)
    signup_s = np.where(new, begin_s - rng.exponential(6 * HOUR_S, n), accounts.signup_s)
    release = kind.birth == "release"
    return replace(accounts, signup_s=signup_s, adopts_s=np.where(release, begin_s, accounts.adopts_s))


def _before(_rng: np.random.Generator, _world: World, n: int) -> Floats:
    return np.full(n, -np.inf)


def _launched(rng: np.random.Generator, world: World, n: int) -> Floats:
    """An app is launched, often within the stream, and installed within hours."""
    return one(rng, (-1.0, 0.55 * world.days)) * DAY_S + rng.exponential(one(rng, (2.0, 10.0)) * HOUR_S, n)


def _published(rng: np.random.Generator, world: World, n: int) -> Floats:
    """A pack is published and makes the rounds for a day or two."""
    return one(rng, (-1.5, 0.6 * world.days)) * DAY_S + rng.exponential(one(rng, (4.0, 20.0)) * HOUR_S, n)


def _released(rng: np.random.Generator, world: World, n: int) -> Floats:
    release_s = world.calendar.release_s
    if release_s is None:
        return _published(rng, world, n)
    return release_s + rng.exponential(5.0 * HOUR_S, n)


BIRTHS: dict[str, Callable[[np.random.Generator, World, int], Floats]] = {
    "before": _before,
    "launch": _launched,
    "publish": _published,
    "release": _released,
}
