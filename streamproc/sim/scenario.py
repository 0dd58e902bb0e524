"""Scenarios: a stream of request events with the truth about each account, from a name and a seed."""

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import zstandard

from streamproc.sim import attackers, eventdays, events
from streamproc.sim.attackers import PLANS, Plan, Style
from streamproc.sim.clients import Accounts
from streamproc.sim.draws import DAY_S, Bools, generator
from streamproc.sim.population import adopt, draw_population, join_parts
from streamproc.sim.twins import KIND_NAMES, LONE_WORKER
from streamproc.sim.world import Part, World, draw_world

SCENARIOS: dict[str, str] = {
    "sync_pool": "a pool works in step, in waves at fixed hours; some accounts pay from one instrument",
    "quiet_pool": "under 10 requests a day each, residential, jittered; lawful users have half its templates",
    "pivot_pool": "half of a pool moves to a new model within 24 hours of its release",
    "slow_drip": "a slow pool over the whole span; nonces flip up to 4 bits of the template in every prompt",
    "control": "no campaign",
}
ROWS_AT_ONCE = 100_000
BUFFER = 1 << 20
CAMPAIGN = "c1"
POOL = "pool-1"
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Stream:
    """Events in order of arrival, one truth per account, ids of the campaign's requests of mixed accounts."""

    events: list[dict[str, Any]]
    truth: list[dict[str, Any]]
    campaign_requests: list[dict[str, Any]]


def simulate(scenario: str, *, seed: int, accounts: int = 2500, days: float = 4.0) -> Stream:
    """Return the stream of a scenario with `accounts` lawful accounts; the same arguments give the same bytes.

    A campaign adds 60 to 180 members (fewer under 1,000 accounts); those whom a payment mistake cut off come back
    as more lawful accounts. Raises ValueError for an unknown scenario.
    """
    part, world = draw_stream(scenario, seed=seed, accounts=accounts, days=days)
    rows: list[dict[str, Any]] = []
    for table in _tables(seed, scenario, part, world):
        rows.extend(events.to_dicts(table))
    return Stream(rows, _truth(part), [])


def recent(events_: Sequence[dict[str, Any]], now_ms: int) -> Iterator[dict[str, Any]]:
    """Return the events moved by whole days, so that the last one is of the 24 hours before `now_ms`."""
    later_ms = (now_ms - max(event["ts_ms"] for event in events_)) // DAY_MS * DAY_MS
    for event in events_:
        yield event | {name: event[name] + later_ms for name in ("ts_ms", "signup_ms") if name in event}


def simulate_to(
    events_path: Path | str,
    truth_path: Path | str,
    scenario: str,
    *,
    seed: int,
    accounts: int = 2500,
    days: float = 4.0,
) -> int:
    """Write what `simulate` would return as `write` would, without holding the events; return how many there are.

    Raises ValueError for an unknown scenario.
    """
    part, world = draw_stream(scenario, seed=seed, accounts=accounts, days=days)
    tables = _tables(seed, scenario, part, world)
    _write_lines(Path(events_path), (row for table in tables for row in events.to_dicts(table)))
    _write_lines(Path(truth_path), _truth(part))
    return len(part.requests.who)


def _tables(seed: int, scenario: str, part: Part, world: World) -> Iterator[dict[str, list[Any]]]:
    rng = generator(seed, scenario, "events")
    return events.tables(rng, part.accounts, part.requests, world.deck.all(), ROWS_AT_ONCE)


def draw_stream(scenario: str, *, seed: int, accounts: int, days: float) -> tuple[Part, World]:
    """Return accounts and requests of a scenario in columns, and their world (its deck has the templates).

    Raises ValueError for an unknown scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}: one of {', '.join(SCENARIOS)}")
    plan = _plan(scenario, seed)
    world = draw_world(seed, scenario, days, accounts, release=plan.pivot > 0)
    style = attackers.draw_style(generator(seed, scenario, "style"), plan, days)
    part = _draw_all(seed, scenario, world, style, accounts)
    rng = generator(seed, scenario, "days")
    part = replace(part, accounts=adopt(rng, world, part.accounts))
    part = eventdays.apply(rng, world, part)
    requests = attackers.cap_days(style, part.requests, worker_rows(part.accounts))
    return Part(part.accounts, requests.rows(requests.at_s < days * DAY_S)), world


def _plan(scenario: str, seed: int) -> Plan:
    """A stream without a campaign has lone workers in the style of one of them."""
    names = tuple(PLANS)
    return PLANS.get(scenario) or PLANS[names[int(generator(seed, scenario, "plan").integers(len(names)))]]


def _draw_all(seed: int, scenario: str, world: World, style: Style, accounts: int) -> Part:
    honest = join_parts(draw_population(seed, scenario, world, style, accounts))
    if scenario not in PLANS:
        return honest
    rng = generator(seed, scenario, "campaign")
    cards, borrowed = attackers.campaign_list(rng, world, style)
    n = attackers.worker_count(rng, accounts)
    queues = attackers.queue_ids(rng, n, one_queue=True)
    lists = np.broadcast_to(cards, (n, len(cards)))
    kind = KIND_NAMES.index(LONE_WORKER)
    pool = attackers.draw_workers(rng, world, style, lists=lists, queues=queues, kind=kind)
    pool = replace(pool, accounts=replace(pool.accounts, campaign=np.ones(n, dtype=np.bool_)))
    return join_parts([eventdays.borrow(rng, honest, borrowed, world.days * DAY_S), pool])


def _truth(part: Part) -> list[dict[str, Any]]:
    """One line an account that made a request, in order of account."""
    accounts, requests = part.accounts, part.requests
    first_s = np.full(len(accounts.account), np.inf)
    np.minimum.at(first_s, requests.who, requests.at_s)
    rows = np.flatnonzero(np.isfinite(first_s))
    rows = rows[np.argsort(accounts.account[rows])]
    first_ms = np.floor(first_s[rows] * 1000).astype(np.int64) + events.START_MS
    columns = (accounts.account[rows], accounts.kind[rows], first_ms, accounts.campaign[rows])
    return [
        _line(format(account, "016x"), KIND_NAMES[kind], ms, member=member)
        for account, kind, ms, member in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _line(account: str, kind: str, first_ms: int, *, member: bool) -> dict[str, Any]:
    if member:
        return {
            "account": account,
            "kind": "campaign",
            "name": POOL,
            "campaign": CAMPAIGN,
            "from_ms": first_ms,
        }
    return {"account": account, "kind": "benign", "name": kind, "campaign": None, "from_ms": None}


def write(stream: Stream, events_path: Path | str, truth_path: Path | str) -> None:
    """Write events and truth as JSON Lines, packed by suffix (.gz, .zst).

    Ids of mixed accounts' requests go to a side file named like the truth with `.requests` before the suffix,
    written only when there are any.
    """
    _write_lines(Path(events_path), stream.events)
    truth = Path(truth_path)
    _write_lines(truth, stream.truth)
    if stream.campaign_requests:
        stem, dot, suffix = truth.name.partition(".")
        _write_lines(truth.with_name(f"{stem}.requests{dot}{suffix}"), stream.campaign_requests)


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("wb") as file, _packer(path.suffix, file) as packed:
        for row in rows:
            packed.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _packer(suffix: str, file: IO[bytes]) -> AbstractContextManager[Any]:
    """Return a writer into `file` that packs by suffix; no time stamp, so that equal lines give equal bytes."""
    if suffix == ".gz":
        return io.BufferedWriter(gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0), BUFFER)
    if suffix == ".zst":
        return zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False)
    return nullcontext(file)


def worker_rows(accounts: Accounts) -> Bools:
    """Return which accounts are lone workers or members."""
    return np.asarray((accounts.kind == KIND_NAMES.index(LONE_WORKER)) | accounts.campaign, dtype=np.bool_)
