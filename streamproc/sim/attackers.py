"""People who work off prompt lists: members of campaigns and lawful lone workers, by one function.

A campaign deals one list out to hired accounts; a lone worker has a list of its own. Everything else is drawn
from one style, so no single account tells which it is.
"""

from dataclasses import dataclass, replace

import numpy as np

from streamproc.sim import clients
from streamproc.sim.clients import Habitat, draw_accounts, share_payers, signup_ages
from streamproc.sim.draws import (
    DAY_S,
    HOUR_S,
    Bools,
    Floats,
    Ids,
    Ints,
    between,
    lognormal,
    mix,
    new_ids,
    one,
    ranks_within,
    whole,
)
from streamproc.sim.rhythms import WORK_RHYTHMS, Span
from streamproc.sim.templates import Cards, Recipe, dealt_order, draw_cards, reprint, work_codes
from streamproc.sim.twins import SYSTEM_SHARE, requests_of
from streamproc.sim.world import Part, Requests, World, public_tasks

WANTED: Recipe = (
    ("code", 0.32),
    ("reasoning", 0.28),
    ("agentic", 0.16),
    ("tool_use", 0.14),
    ("grading", 0.06),
    ("data", 0.04),
)


FULL_SIZE = 1000  # lawful accounts from which on a stream has workers by the full count
PUBLIC_LISTS, PUBLIC_SHARE = (2, 4), (0.4, 0.65)  # lists that lone workers find; the part of their own from one
NEVER_S = 1e12


@dataclass(frozen=True)
class Plan:
    """Bounds from which a seed draws a style: see `Style` for what each is and its unit."""

    rhythms: tuple[str, ...]
    rate: tuple[float, float]
    begin_h: tuple[float, float]
    ramp_h: tuple[float, float]
    public: tuple[float, float] = (0.0, 0.2)
    flips: tuple[int, int] = (0, 0)
    pivot: float = 0.0
    payers: tuple[float, float] = (0.0, 0.1)
    day_cap: int = 60
    asn: tuple[float, ...] = clients.PEOPLE.asn


PLANS: dict[str, Plan] = {
    "sync_pool": Plan(("waves",), (11, 26), (6, 20), (1, 8), payers=(0.2, 0.5),
                      asn=(0.35, 0.04, 0.13, 0.32, 0.15, 0.01)),
    "quiet_pool": Plan(("jittered", "evenly"), (5.5, 8), (6, 24), (8, 30), (0.5, 0.5), day_cap=9,
                       asn=(0.86, 0.09, 0.03, 0.0, 0.01, 0.01)),
    "pivot_pool": Plan(("jittered", "evenly", "waves"), (9, 20), (6, 18), (3, 14), (0.0, 0.3), pivot=0.5),
    "slow_drip": Plan(("evenly", "jittered"), (4.5, 9), (6, 14), (12, 36), (0.0, 0.25), (1, 4), day_cap=20),
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How the workers of one stream work.

    rate: requests per day (median), spread its sigma; begin_s and ramp_s: when accounts start; sheet: composition
    of every list, weights how often its templates are dealt; public: share of a campaign's templates that lawful
    users have as well; flips: bits of nonces; pivot: share that moves to the new model within 24 hours; payers:
    share with joint payers; known: share of tasks that are public, again: share asked before; hours: of the day
    at which waves start.
    """

    habitat: Habitat
    rhythm: str
    hours: Floats
    rate: float
    spread: float
    day_cap: int
    sheet: Cards
    weights: Floats
    public: float
    flips: tuple[int, int]
    begin_s: float
    ramp_s: float
    pivot: float
    payers: float
    known: float
    again: float
    signup_days: tuple[float, float]


def draw_style(rng: np.random.Generator, plan: Plan, days: float) -> Style:
    """Draw the style of a stream's workers within the bounds of a plan."""
    size = whole(rng, (12, 24))
    latest_s = 0.3 * days * DAY_S
    return Style(
        habitat=_draw_habitat(rng, plan),
        rhythm=plan.rhythms[int(rng.integers(len(plan.rhythms)))],
        hours=np.sort(rng.permutation(24)[: whole(rng, (3, 6))]).astype(np.float64),
        rate=one(rng, plan.rate),
        spread=one(rng, (0.12, 0.45)),
        day_cap=plan.day_cap,
        sheet=draw_cards(rng, work_codes(rng, WANTED, size), system=bool(rng.random() < SYSTEM_SHARE)),
        weights=dealt_order(rng, one(rng, (0.0, 0.6)), size),
        public=one(rng, plan.public),
        flips=plan.flips,
        begin_s=min(one(rng, plan.begin_h) * HOUR_S, latest_s),
        ramp_s=min(one(rng, plan.ramp_h) * HOUR_S, latest_s),
        pivot=plan.pivot,
        payers=one(rng, plan.payers),
        known=one(rng, (0.05, 0.4)),
        again=one(rng, (0.02, 0.1)),
        signup_days=(one(rng, (6.0, 40.0)), one(rng, (0.5, 0.9))),
    )


def _draw_habitat(rng: np.random.Generator, plan: Plan) -> Habitat:
    """Bend ordinary people's habitat: some software only, other weights; one style in three has token habits."""
    base = clients.PEOPLE

    def bent(weights: tuple[float, ...], by: float) -> tuple[float, ...]:
        return tuple(np.asarray(weights) * np.exp(by * rng.standard_normal(len(weights))))

    software = np.asarray(base.software)
    software = software * (rng.permutation(len(software)) < whole(rng, (5, 11)))
    habit = one(rng, (0.3, 0.6)) if rng.random() < 1 / 3 else 0.0
    return replace(
        base,
        asn=bent(plan.asn, 0.3),
        pathway=bent(base.pathway, 0.5),
        plan=bent(base.plan, 0.4),
        email=bent(base.email, 0.4),
        temperature=bent(base.temperature, 0.5),
        max_tokens=bent(base.max_tokens, 0.5),
        model=bent(base.model, 0.5),
        software=tuple(software),
        org=one(rng, (0.15, 0.5)),
        device=one(rng, (0.4, 0.85)),
        habit=(habit, habit),
    )


def draw_workers(rng: np.random.Generator, world: World, style: Style, *, lists: Ints, queues: Ids, kind: int) -> Part:
    """Draw an account for each row of `lists` [accounts, cards]; `queues` says whose tasks each works off."""
    n = len(lists)
    begin_s = style.begin_s + style.ramp_s * rng.random(n)
    accounts = draw_accounts(rng, n, style.habitat, kind)
    accounts = replace(
        share_payers(rng, accounts, style.payers),
        signup_s=begin_s - signup_ages(rng, style.signup_days, n),
        adopts_s=_adoption(rng, world, style, n),
        cuttable=np.zeros(n, dtype=np.bool_),
    )
    rate = lognormal(rng, style.rate, style.spread, n)
    span = Span(rate, begin_s, np.full(n, np.inf), world.days)
    turns = WORK_RHYTHMS[style.rhythm](rng, span, style.hours)
    edges = np.cumsum(style.weights)
    place = np.minimum(np.searchsorted(edges, rng.random(len(turns.who)) * edges[-1]), lists.shape[1] - 1)
    task = _dealt_tasks(rng, world, style, queues[turns.who], turns.conversation)
    requests = requests_of(rng, turns, lists[turns.who, place], task, style.flips)
    return Part(accounts, requests)


def _dealt_tasks(rng: np.random.Generator, world: World, style: Style, queue: Ids, conversation: Ids) -> Ids:
    """Tasks of a queue: each dealt out once, some again, some known to everybody."""
    n = len(queue)
    choice = rng.random(n)
    task = np.where(choice < style.again, mix(queue, rng.integers(0, 200, size=n)), mix(conversation))
    return np.where(choice > 1.0 - style.known, public_tasks(rng, world, n), task)


def _adoption(rng: np.random.Generator, world: World, style: Style, n: int) -> Floats:
    """When each moves to the new model: the pivoting share within 24 hours, others of such a style never."""
    release_s = world.calendar.release_s
    if release_s is None or style.pivot == 0.0:
        return np.full(n, np.inf)
    moves = rng.permutation(n) < round(style.pivot * n)
    return np.where(moves, release_s + between(rng, (0.5 * HOUR_S, 20 * HOUR_S), n), NEVER_S)


def campaign_list(rng: np.random.Generator, world: World, style: Style) -> tuple[Ints, Ints]:
    """Return a campaign's list of cards, and those of them that lawful users are to have as well."""
    cards = world.deck.add(reprint(rng, style.sheet, 1))
    return cards, cards[rng.permutation(len(cards))[: round(style.public * len(cards))]]


def lone_lists(rng: np.random.Generator, world: World, style: Style, n: int) -> Ints:
    """Return [accounts, cards]: a list of its own for each; half of them chose about half of it from a public list."""
    size = len(style.sheet.value)
    lists = world.deck.add(reprint(rng, style.sheet, n)).reshape(n, size)
    n_lists = whole(rng, PUBLIC_LISTS)
    public = world.deck.add(reprint(rng, style.sheet, n_lists)).reshape(n_lists, size)
    reads = rng.permutation(n) < n // 2
    which = rng.integers(0, n_lists, size=n)
    chosen = np.argsort(rng.random((n, size)), axis=1) < round(one(rng, PUBLIC_SHARE) * size)
    return np.where(reads[:, None] & chosen, public[which], lists)


def worker_count(rng: np.random.Generator, accounts: int) -> int:
    """Draw how many workers of one sort a stream has: 60 to 180, fewer only under 1,000 accounts."""
    return max(8, round(whole(rng, (60, 180)) * min(1.0, accounts / FULL_SIZE)))


def cap_days(style: Style, requests: Requests, workers: Bools) -> Requests:
    """Hold every worker to the style's cap of requests in a day (UTC)."""
    order = np.argsort(requests.at_s, kind="stable")
    day = np.floor(requests.at_s[order] / DAY_S).astype(np.int64)
    place = ranks_within(requests.who[order] * 1000 + day)
    kept = np.ones(len(order), dtype=np.bool_)
    kept[order] = ~workers[requests.who[order]] | (place < style.day_cap)
    return requests.rows(kept)


def queue_ids(rng: np.random.Generator, n: int, *, one_queue: bool) -> Ids:
    """Return whose tasks each account works off: one queue for all, or each its own."""
    return np.full(n, new_ids(rng, 1)[0]) if one_queue else new_ids(rng, n)
