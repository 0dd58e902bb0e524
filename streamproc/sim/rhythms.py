"""When requests come: each rhythm turns accounts with a rate and a span into columns of requests."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.special import ndtr

from streamproc.sim.draws import (
    DAY_S,
    HOUR_S,
    Bools,
    Floats,
    Ids,
    Ints,
    Quantiles,
    between,
    chance,
    new_ids,
    one,
    quantile,
    running_sum,
    stretch,
    whole,
)

# ServeGen language clients (Apache-2.0): share of requests by hour of the trace clock.
HOURS = np.array([
    0.03589, 0.03145, 0.03206, 0.02973, 0.0309, 0.02883, 0.02953, 0.03539, 0.04095, 0.04283, 0.0464, 0.04564,
    0.04364, 0.04417, 0.0441, 0.04361, 0.04557, 0.04494, 0.04217, 0.05069, 0.05873, 0.05646, 0.05191, 0.04443,
])  # fmt: skip
# Coding-agent sessions (kv-cache-tester, Apache-2.0): requests a session, seconds between requests.
SESSION_REQUESTS: Quantiles = (
    (0, 1), (0.1, 6.8), (0.25, 19), (0.5, 44), (0.75, 84), (0.9, 142), (0.95, 192), (0.99, 324), (1, 420),
)  # fmt: skip
SESSION_GAP_S: Quantiles = (
    (0, 4), (0.1, 8), (0.25, 11), (0.5, 18), (0.75, 37), (0.9, 108), (0.95, 218), (0.99, 1799), (1, 6000),
)  # fmt: skip
# Fitted to the sessions' durations: how much of a gap is the session's pace, and how much denser long ones are.
PACE_SHARE, PACE_POWER, PACE_TURNS = 0.2, 0.25, 70.0


@dataclass(frozen=True)
class Turns:
    """Requests in columns: account (row of its group), second, conversation, turn, turns in all, item of a list."""

    who: Ints
    at_s: Floats
    conversation: Ids
    turn: Ints
    turns: Ints
    item: Ints

    def only(self, kept: Bools) -> "Turns":
        """Return the rows where `kept`."""
        return Turns(**{f.name: getattr(self, f.name)[kept] for f in fields(Turns)})


@dataclass(frozen=True)
class Span:
    """Accounts at work: requests per day, first and last second of each, length of the stream in days."""

    rate: Floats
    begin_s: Floats
    end_s: Floats
    days: float

    @property
    def n(self) -> int:
        """Number of accounts."""
        return len(self.rate)


def join_turns(parts: list[Turns]) -> Turns:
    """Put several columns of requests one after the other."""
    return Turns(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Turns)})


def personal_hours(rng: np.random.Generator, days: float, preferred: Ints, rows: Ints) -> Floats:
    """Draw a moment for each row around its account's preferred hour.

    Preferred hours are drawn as often as the profile weighs their neighbourhood (`preferred_hours`), so the sum
    over accounts keeps the profile exactly.
    """
    cdf = np.cumsum(_windows(), axis=1)
    cdf /= cdf[:, -1:]
    draws = rng.random(len(rows))
    hour = (cdf[preferred[rows]] < draws[:, None]).sum(axis=1)
    day = np.floor(rng.random(len(rows)) * np.ceil(days))
    return np.asarray(day * DAY_S + (np.minimum(hour, 23) + rng.random(len(rows))) * HOUR_S, dtype=np.float64)


def preferred_hours(rng: np.random.Generator, n: int) -> Ints:
    """Draw the hour of the day around which each account works."""
    mass = np.cumsum(_windows().sum(axis=1))
    hour = np.searchsorted(mass, rng.random(n) * mass[-1], side="right")
    return np.asarray(np.minimum(hour, 23), dtype=np.int64)


def _windows() -> Floats:
    """Return [preferred hour, hour]: the profile seen through a window of about ten hours."""
    apart = (np.arange(24)[None, :] - np.arange(24)[:, None] + 12) % 24 - 12
    return np.asarray(HOURS * np.exp(-0.5 * (apart / 3.2) ** 2), dtype=np.float64)


def converse(rng: np.random.Generator, who: Ints, start_s: Floats, turns: Ints, gap: tuple[float, float]) -> Turns:
    """Expand conversations into turns with lognormal gaps (median s, sigma)."""
    source, place = stretch(turns)
    steps = np.where(place > 0, gap[0] * np.exp(gap[1] * rng.standard_normal(len(source))), 0.0)
    at_s = start_s[source] + running_sum(steps, source)
    return Turns(who[source], at_s, new_ids(rng, len(turns))[source], place, turns[source], place)


def sittings(rng: np.random.Generator, span: Span, *, turns: float = 2.6, per_sitting: float = 1.7) -> Turns:
    """People: a few sittings a day at their own hours, each of a few conversations of a few turns."""
    expected = span.rate / (turns * per_sitting) * np.ceil(span.days)
    n_sittings = rng.poisson(expected)
    who = np.repeat(np.arange(span.n), n_sittings)
    start = personal_hours(rng, span.days, preferred_hours(rng, span.n), who)
    more = 1 + rng.poisson(per_sitting - 1.0, len(who))
    source, place = stretch(more)
    pauses = np.where(place > 0, rng.exponential(420.0, len(source)), 0.0)
    start = start[source] + running_sum(pauses, source)
    n_turns = rng.geometric(1.0 / turns, len(source))
    return _inside(converse(rng, who[source], start, n_turns, (75.0, 1.1)), span)


def agent_sessions(rng: np.random.Generator, span: Span) -> Turns:
    """Coding agents: long sessions; longer ones are denser, and each has a pace of its own."""
    n_sessions = rng.poisson(span.rate / 62.0 * np.ceil(span.days))
    who = np.repeat(np.arange(span.n), n_sessions)
    start = personal_hours(rng, span.days, preferred_hours(rng, span.n), who)
    turns = np.maximum(np.rint(quantile(SESSION_REQUESTS, rng.random(len(who)))), 1).astype(np.int64)
    source, place = stretch(turns)
    pace = PACE_SHARE * rng.standard_normal(len(turns))
    ranks = ndtr(pace[source] + np.sqrt(1.0 - PACE_SHARE**2) * rng.standard_normal(len(source)))
    gaps = quantile(SESSION_GAP_S, ranks) * (turns[source] / PACE_TURNS) ** -PACE_POWER
    at_s = start[source] + running_sum(np.where(place > 0, gaps, 0.0), source)
    keys = new_ids(rng, len(turns))
    return _inside(Turns(who[source], at_s, keys[source], place, turns[source], place), span)


def steady(rng: np.random.Generator, span: Span) -> Turns:
    """Production: single requests whenever its own customers come, round the clock with the profile."""
    who = np.repeat(np.arange(span.n), rng.poisson(span.rate * np.ceil(span.days)))
    day = np.floor(rng.random(len(who)) * np.ceil(span.days))
    hour = np.minimum(np.searchsorted(np.cumsum(HOURS), rng.random(len(who)) * HOURS.sum()), 23)
    return _inside(single(rng, who, (day * 24 + hour + rng.random(len(who))) * HOUR_S), span)


def scheduled(rng: np.random.Generator, span: Span, *, night: bool = False) -> Turns:
    """An app works off a list at fixed hours: all its users together, each a little late."""
    hours = rng.permutation(6 if night else 24)[: 1 if night else whole(rng, (1, 4))]
    pace_s = one(rng, (3.0, 90.0))
    late_s = rng.exponential(150.0, span.n)
    parts = []
    for day in range(int(np.ceil(span.days))):
        for hour in hours:
            items = rng.poisson(span.rate / len(hours))
            who, place = stretch(items)
            steps = pace_s * np.exp(0.4 * rng.standard_normal(len(who)))
            at_s = day * DAY_S + hour * HOUR_S + late_s[who] + running_sum(steps, who)
            parts.append(single(rng, who, at_s, place + day * 7))
    return _inside(join_turns(parts), span)


def nightly(rng: np.random.Generator, span: Span) -> Turns:
    """A laboratory's run each night."""
    return scheduled(rng, span, night=True)


def lessons(rng: np.random.Generator, span: Span) -> Turns:
    """A class: one or two lessons a day, the same exercises in the same hour, now and then a second try."""
    parts = []
    exercise = 0
    for day in range(int(np.ceil(span.days))):
        for hour in np.sort(8 + rng.permutation(9)[: whole(rng, (1, 2))]):
            length_s, count = one(rng, (45 * 60, 100 * 60)), whole(rng, (3, 7))
            there = np.flatnonzero(chance(rng, 0.88, span.n))
            who = np.repeat(there, count)
            step = np.tile(np.arange(count), len(there))
            late_s = rng.exponential(240.0, len(there)).repeat(count)
            at_s = day * DAY_S + hour * HOUR_S + late_s + (step + rng.random(len(step))) * length_s / count
            turns = converse(rng, who, at_s, 1 + rng.poisson(0.35, len(who)), (90.0, 0.8))
            parts.append(replace(turns, item=(step + exercise)[np.cumsum(turns.turn == 0) - 1]))
            exercise += count
    return _inside(join_turns(parts), span)


def published(rng: np.random.Generator, span: Span) -> Turns:
    """A pack: on finding it one tries a handful of prompts at once, and comes back in sittings."""
    tries = 2 + rng.poisson(3.0, span.n)
    who, place = stretch(tries)
    at_s = span.begin_s[who] + running_sum(np.where(place > 0, rng.exponential(130.0, len(who)), 1.0), who)
    first = converse(rng, who, at_s, 1 + chance(rng, 0.2, len(who)).astype(np.int64), (60.0, 0.8))
    return _inside(join_turns([first, sittings(rng, span, turns=1.3, per_sitting=2.0)]), span)


def backfill(rng: np.random.Generator, span: Span) -> Turns:
    """A store is filled: a few windows of some hours in which everything runs evenly."""
    parts = []
    for _ in range(whole(rng, (1, 3))):
        start, length = one(rng, (0.0, span.days * DAY_S)), one(rng, (2 * HOUR_S, 9 * HOUR_S))
        who = np.repeat(np.arange(span.n), rng.poisson(span.rate * span.days / 2.0))
        parts.append(single(rng, who, start + length * rng.random(len(who))))
    return _inside(join_turns(parts), span)


def single(rng: np.random.Generator, who: Ints, at_s: Floats, item: Ints | None = None) -> Turns:
    """Return single-shot requests at the given moments, of the given items of a list."""
    n = len(who)
    ones = np.ones(n, dtype=np.int64)
    return Turns(who, at_s, new_ids(rng, n), ones * 0, ones, ones * 0 if item is None else item)


def _inside(turns: Turns, span: Span) -> Turns:
    """Keep what lies in each account's span and in the stream."""
    begin, end = span.begin_s[turns.who], np.minimum(span.end_s[turns.who], span.days * DAY_S)
    return turns.only((turns.at_s >= np.maximum(begin, 0.0)) & (turns.at_s < end))


def waves(rng: np.random.Generator, span: Span, hours: Floats) -> Turns:
    """A queue is let out in waves at fixed hours: in each an account does its share, evenly paced."""
    parts = []
    for day in range(int(np.ceil(span.days))):
        for hour in hours:
            who, place = stretch(rng.poisson(span.rate / len(hours)))
            count = np.bincount(who, minlength=span.n)[who]
            length_s = between(rng, (3000.0, 6600.0), span.n)[who]
            at_s = day * DAY_S + hour * HOUR_S + (place + rng.random(len(who))) / np.maximum(count, 1) * length_s
            parts.append(single(rng, who, at_s))
    return _inside(join_turns(parts), span)


def evenly(rng: np.random.Generator, span: Span, hours: Floats) -> Turns:
    """Evenly paced over a long shift that starts at the account's own hour, with jitter."""
    parts = []
    shift_s = between(rng, (13 * HOUR_S, 22 * HOUR_S), span.n)
    start_s = (hours[0] + 6.0 * rng.standard_normal(span.n)) * HOUR_S
    for day in range(-1, int(np.ceil(span.days))):
        who, place = stretch(rng.poisson(span.rate))
        count = np.bincount(who, minlength=span.n)[who]
        step = (place + 0.5 + 0.8 * (rng.random(len(who)) - 0.5)) / np.maximum(count, 1)
        parts.append(single(rng, who, day * DAY_S + start_s[who] + step * shift_s[who]))
    return _inside(join_turns(parts), span)


def jittered(rng: np.random.Generator, span: Span, _hours: Floats) -> Turns:
    """Made to look human: single requests at the account's own hours, now and then two close together."""
    who = np.repeat(np.arange(span.n), rng.poisson(span.rate / 1.25 * np.ceil(span.days)))
    start = personal_hours(rng, span.days, preferred_hours(rng, span.n), who)
    source, place = stretch(1 + chance(rng, 0.25, len(who)).astype(np.int64))
    at_s = start[source] + place * (20.0 + rng.exponential(600.0, len(source)))
    return _inside(single(rng, who[source], at_s), span)


Rhythm = Callable[[np.random.Generator, Span], Turns]
RHYTHMS: dict[str, Rhythm] = {
    "sittings": sittings,
    "agent": agent_sessions,
    "steady": steady,
    "scheduled": scheduled,
    "nightly": nightly,
    "lessons": lessons,
    "published": published,
    "backfill": backfill,
}
WORK_RHYTHMS: dict[str, Callable[[np.random.Generator, Span, Floats], Turns]] = {
    "waves": waves,
    "evenly": evenly,
    "jittered": jittered,
}
