"""Days on which something happens to everybody: a viral prompt, an outage, a payment mistake."""

from dataclasses import replace

import numpy as np

from streamproc.sim.clients import take
from streamproc.sim.draws import HOUR_S, Floats, Ids, Ints, chance, mix, new_ids, one, ranks_within, stretch
from streamproc.sim.population import join_parts, rows_of_kind
from streamproc.sim.rhythms import single
from streamproc.sim.templates import draw_cards, work_codes
from streamproc.sim.twins import NO_FLIPS, requests_of
from streamproc.sim.world import EVERYDAY, Part, Requests, World, join_requests

CROWD = ("casual", "framework_app", "wrapper_app", "course", "prompt_pack", "coding_agent")
OVERLOADED = np.array((500, 529, 529))
SERVED = 200
NO_PAYMENT = 402
CUT_OFF_SHARE = 0.04
STUMBLES = 0.008
TRIES = 4


def apply(rng: np.random.Generator, world: World, part: Part) -> Part:
    """Put the calendar's days into a stream."""
    days = world.calendar
    part = replace(part, requests=stumble(rng, part.requests))
    if days.viral_s is not None:
        part = go_viral(rng, world, part, days.viral_s)
    if days.mistake_s is not None:
        part = cut_off(rng, part, days.mistake_s)
    if days.outage_s is not None:
        part = replace(part, requests=break_down(rng, part.requests, days.outage_s))
    return part


def go_viral(rng: np.random.Generator, world: World, part: Part, at_s: float) -> Part:
    """A fifth or more of all people try one prompt (and a variant or two) within hours."""
    crowd = rows_of_kind(part.accounts, *CROWD)
    who = np.repeat(crowd, rng.poisson(one(rng, (0.2, 0.6)), len(crowd)))
    when = at_s + rng.gamma(2.0, one(rng, (1.0, 3.0)) * HOUR_S, len(who))
    who, when = who[when < world.days * 24 * HOUR_S], when[when < world.days * 24 * HOUR_S]
    cards = world.deck.add(draw_cards(rng, work_codes(rng, EVERYDAY, 3)))
    card = cards[np.minimum(rng.geometric(0.7, len(who)) - 1, 2)]
    more = requests_of(rng, single(rng, who, when), card, mix(card), (0, 2))
    return replace(part, requests=join_requests([part.requests, more]))


def borrow(rng: np.random.Generator, part: Part, cards: Ints, span_s: float) -> Part:
    """Let 4 to 40 lawful users have each of the given cards and use it one to three times.

    Half of the cards are had by anybody, half by readers of packs and courses, who have much in common anyway.
    """
    anybody, readers = (
        rows_of_kind(part.accounts, *CROWD),
        rows_of_kind(part.accounts, "course", "prompt_pack"),
    )
    source, _ = stretch(rng.integers(4, 41, size=len(cards)))
    draws = rng.random(len(source))
    who = anybody[np.floor(draws * len(anybody)).astype(np.int64)]
    if len(readers):
        who = np.where(source % 2 == 1, readers[np.floor(draws * len(readers)).astype(np.int64)], who)
    again, _ = stretch(rng.integers(1, 4, size=len(source)))
    turns = single(rng, who[again], span_s * rng.random(len(again)))
    more = requests_of(rng, turns, cards[source[again]], mix(turns.conversation), NO_FLIPS)
    return replace(part, requests=join_requests([part.requests, more]))


def stumble(rng: np.random.Generator, requests: Requests) -> Requests:
    """Add failed attempts, each some seconds before the one that is served."""
    failed = requests.rows(chance(rng, STUMBLES, len(requests.who)))
    n = len(failed.who)
    before_s = np.maximum(failed.at_s - 1.0 - rng.exponential(9.0, n), 0.0)
    status = np.array((429, 500, 529))[rng.integers(0, 3, size=n)]
    return join_requests([requests, replace(failed, at_s=before_s, status=status)])


def break_down(rng: np.random.Generator, requests: Requests, at_s: float) -> Requests:
    """Most requests of half an hour or more fail, and are tried again after seconds, up to three times.

    Who is in a conversation tries until the last attempt is served; others may give up.
    """
    length_s = one(rng, (1200.0, 4800.0))
    hit = np.flatnonzero((requests.at_s >= at_s) & (requests.at_s < at_s + length_s) & (requests.status == SERVED))
    hit = hit[chance(rng, 0.7, len(hit))]
    tries = np.maximum(rng.integers(0, 4, size=len(hit)), requests.turns[hit] > 1)
    source, place = stretch(tries)
    retry = requests.rows(hit[source])
    at = retry.at_s + (place + 1) * (4.0 + rng.exponential(30.0, len(source)))
    gives_in = (place < tries[source] - 1) | (retry.turns == 1)
    fails = chance(rng, 0.6, len(at)) & (at < at_s + length_s) & gives_in
    failed = requests.status.copy()
    failed[hit] = OVERLOADED[rng.integers(0, 3, size=len(hit))]
    status = np.where(fails, OVERLOADED[rng.integers(0, 3, size=len(at))], SERVED)
    return join_requests([replace(requests, status=failed), replace(retry, at_s=at, status=status)])


def cut_off(rng: np.random.Generator, part: Part, at_s: float) -> Part:
    """A payment mistake cuts 4 % off; after a few tries they come back with new accounts, hours later."""
    open_to_it = np.flatnonzero(part.accounts.cuttable)
    cut = open_to_it[rng.permutation(len(open_to_it))[: round(CUT_OFF_SHARE * len(open_to_it))]]
    back_s = np.full(len(part.accounts.account), np.inf)
    back_s[cut] = at_s + HOUR_S + rng.exponential(7 * HOUR_S, len(cut))
    new_row = np.full(len(back_s), -1)
    new_row[cut] = len(back_s) + np.arange(len(cut))
    requests, status = part.requests, part.requests.status.copy()
    after = np.flatnonzero((new_row[requests.who] >= 0) & (requests.at_s >= at_s))
    after = after[np.argsort(requests.at_s[after], kind="stable")]
    waiting = after[requests.at_s[after] < back_s[requests.who[after]]]
    tried = ranks_within(requests.who[waiting]) < TRIES
    status[waiting[tried]] = NO_PAYMENT
    moved = after[requests.at_s[after] >= back_s[requests.who[after]]]
    who = requests.who.copy()
    who[moved] = new_row[who[moved]]
    kept = np.ones(len(who), dtype=np.bool_)
    kept[waiting[~tried]] = False
    return _come_back(rng, part, cut, back_s[cut], replace(requests, who=who, status=status).rows(kept))


def _come_back(
    rng: np.random.Generator, part: Part, cut: Ints, back_s: Floats,
    requests: Requests,
) -> Part:  # fmt: skip
    old = take(part.accounts, cut)
    n = len(cut)

    def renewed(ids: Ids) -> Ids:
        return np.where(ids > 0, new_ids(rng, n), ids)

    new = replace(old, account=new_ids(rng, n), key=new_ids(rng, n), payer=renewed(old.payer), signup_s=back_s - 600.0)
    nobody = requests.rows(np.zeros(0, dtype=np.int64))
    return join_parts([Part(part.accounts, requests), Part(new, nobody)])
