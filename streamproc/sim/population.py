"""The lawful population: how many of each kind, in which groups, and who moves to a new model."""

from dataclasses import replace

import numpy as np

from streamproc.sim import attackers
from streamproc.sim.attackers import Style
from streamproc.sim.clients import Accounts, join
from streamproc.sim.draws import HOUR_S, Ints, chance, generator
from streamproc.sim.twins import KIND_NAMES, KINDS, LONE_WORKER, NO, Kind, draw_group, draw_single
from streamproc.sim.world import Part, World, join_requests


def draw_population(seed: int, scenario: str, world: World, style: Style, accounts: int) -> list[Part]:
    """Draw `accounts` lawful accounts: groups of every kind, lone workers, and casual users for the rest."""
    rng = generator(seed, scenario, "population")
    n_lone = min(attackers.worker_count(rng, accounts), accounts // 4)
    parts = [draw_lone_workers(generator(seed, scenario, "lone"), world, style, n_lone)]
    left = accounts - n_lone
    for kind in KINDS[1:]:
        kind_rng = generator(seed, scenario, kind.name)
        for size in _sizes(kind_rng, kind, accounts, left):
            draw = draw_group if kind.size != NO else draw_single
            parts.append(draw(kind_rng, world, kind, size))
            left -= size
    parts.append(draw_single(generator(seed, scenario, KINDS[0].name), world, KINDS[0], left))
    return parts


def _sizes(rng: np.random.Generator, kind: Kind, accounts: int, left: int) -> list[int]:
    """Return sizes of a kind's groups: together about its share, bent by a third; never more than are left."""
    wanted = round(accounts * kind.share * float(np.exp(0.33 * rng.standard_normal())))
    wanted = min(wanted, left - 1)
    if kind.size == NO:
        return [max(wanted, 1)]
    sizes: list[int] = []
    while wanted > sum(sizes):
        sizes.append(int(rng.integers(kind.size[0], kind.size[1] + 1)))
    over = sum(sizes) - wanted
    if sizes and over > sizes[-1] // 2 and len(sizes) > 1:
        sizes.pop()
    return sizes if sum(sizes) < left else [max(min(wanted, left - 1), 1)]


def draw_lone_workers(rng: np.random.Generator, world: World, style: Style, n: int) -> Part:
    """Draw lawful people who work off prompt lists of their own, in the style of the stream's workers."""
    lists = attackers.lone_lists(rng, world, style, n)
    queues = attackers.queue_ids(rng, n, one_queue=False)
    return attackers.draw_workers(rng, world, style, lists=lists, queues=queues, kind=KIND_NAMES.index(LONE_WORKER))


def join_parts(parts: list[Part]) -> Part:
    """Put parts into one, account rows counted through."""
    shifted, offset = [], 0
    for part in parts:
        shifted.append(replace(part.requests, who=part.requests.who + offset))
        offset += len(part.accounts.account)
    return Part(join([part.accounts for part in parts]), join_requests(shifted))


def adopt(rng: np.random.Generator, world: World, accounts: Accounts) -> Accounts:
    """Let a third of those who have no plan of their own move to a released model, over days."""
    n = len(accounts.account)
    release_s = world.calendar.release_s
    if release_s is None:
        return accounts
    moves = chance(rng, 0.33, n) & np.isinf(accounts.adopts_s)
    when = release_s + rng.exponential(30.0 * HOUR_S, n)
    return replace(accounts, adopts_s=np.where(moves, when, accounts.adopts_s))


def rows_of_kind(accounts: Accounts, *names: str) -> Ints:
    """Return the rows of accounts of the given kinds that are in no campaign."""
    wanted = [KIND_NAMES.index(name) for name in names]
    return np.flatnonzero(np.isin(accounts.kind, wanted) & ~accounts.campaign)
