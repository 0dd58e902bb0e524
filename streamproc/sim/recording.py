"""Recordings: what the rounds of one made-up stream measured, so that any weights can be scored without a new run.

Communities, cores and statistics do not depend on weights; only scores, hits and what follows do.  A recording is
made by the real engine under a policy whose thresholds nothing reaches, and kept on disk.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

import streamproc
from streamproc.core import policy as policies
from streamproc.core.arrays import Array, Bools, Floats, Ints, Rows
from streamproc.core.campaigns.statistics import FAMILIES, NAMES
from streamproc.core.engine import Engine
from streamproc.sim.scenario import Stream, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamproc.core.campaigns.round import Round
    from streamproc.core.policy import Policy

CHUNK = 2000  # events handed to the engine at once
OUT_OF_REACH = 1e9  # a threshold that no community exceeds
CACHE = Path(".cache/recordings")
SOURCES = ("contract", "core", "sim")  # folders whose code shapes a recording
NOT_SOURCES = (
    "evaluate",
    "weights",
    "scoreboard",
    "scoreboard_obeyed",
    "obeyed",
    "obeying",
    "successors",
    "figures",
    "processes",
    "baselines",
    "chart",
)  # modules that only read recordings or decisions
LAWFUL_BELOW, CAMPAIGN_ABOVE = 0.1, 0.5  # share of members of a campaign that makes a community lawful, a campaign


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """One view of one round; arrays of length n are by community, accounts are numbers into the recording's."""

    ts_ms: int
    column: int  # number of the view
    present: Rows  # (rows,) accounts that the account table held
    community: Rows  # (rows,) community of each of them, -1 for none
    values: Floats  # (n, statistics)
    sizes: Ints  # (n,)
    organisations: Ints  # (n,)
    campaign_share: Floats  # (n,) share of the community's accounts that are a campaign's


@dataclass(frozen=True, slots=True)
class Recording:
    """A stream as its rounds saw it."""

    scenario: str
    seed: int
    kinds: tuple[str, ...]  # by account: "campaign" or its kind of lawful user
    requests_ms: Ints  # event times of the campaign's requests, ascending
    views: tuple[ViewRecord, ...]  # in the order in which they were judged
    members: Floats  # (m, 3) core share, core requests, truth (1 campaign) of those in campaigns' communities

    @property
    def campaign(self) -> Bools:
        """Which accounts are a campaign's."""
        return np.array([kind == "campaign" for kind in self.kinds], np.bool_)


def bootstrap(head: str) -> Policy:
    """The policy of `head` (the operator's part of the file) under which nothing is ever hit."""
    lines = [head, "[score]", 'null = "frozen"', "carry = [0.5]", "start = 0.0", "outside = 0.0", "intercept = 0.0"]
    views = tomllib.loads(head)["time"]["view_hours"]
    lines += [f"thresholds = {[[OUT_OF_REACH]] * len(views)}", "[score.weights]", "[score.caps]"]
    lines += [f"{family} = 1.0" for family in FAMILIES]
    lines += ["[probability]", "campaign = [0.0, 1.0]", "member = [0.0, 1.0, 0.0]"]
    lines += ["[fit]", 'date = ""', "seeds = []", 'figures = "none: for recording only"']
    for name in NAMES:
        lines += [f"[null.{name}]", f"mean = {[0.0] * 5}", f"deviation = {[1.0] * 5}"]
    return policies.parse("\n".join(lines).encode())


def head_of(text: str) -> str:
    """The operator's part of a policy file: everything before the line `[score]`."""
    return text.partition("\n[score]\n")[0]


def record(scenario: str, seed: int, accounts: int, days: float, head: str, cache: Path | None = CACHE) -> Recording:
    """The recording of a stream, from `cache` where the same code has made it before."""
    digest = _digest(head)
    path = cache and cache / f"{scenario}-{seed}-{accounts}-{days:g}-{digest}.npz"
    if path and path.exists():
        return _load(path, scenario, seed)
    made = run(simulate(scenario, seed=seed, accounts=accounts, days=days), scenario, seed, bootstrap(head))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(path, made)
    return made


def run(stream: Stream, scenario: str, seed: int, policy: Policy) -> Recording:
    """Run a stream through the engine once and keep what its rounds measured."""
    number = {line["account"]: i for i, line in enumerate(stream.truth)}
    kinds = tuple("campaign" if line["kind"] == "campaign" else str(line["name"]) for line in stream.truth)
    campaign = np.array([kind == "campaign" for kind in kinds], np.bool_)
    views: list[ViewRecord] = []
    members: list[Floats] = []
    engine = Engine(policy)
    for held in _rounds(engine, stream):
        ids = engine.campaigns.tables.accounts.ids
        known = np.array([number.get(name, -1) for name in ids], np.int32)
        for column in range(len(held.judged)):
            view, of_members = _view(held, column, known, campaign)
            views.append(view)
            members.append(of_members)
    times = [event["ts_ms"] for event in stream.events if campaign[number[event["account"]]]]
    every = np.concatenate(members) if members else np.empty((0, 3))
    return Recording(scenario, seed, kinds, np.sort(np.array(times, np.int64)), tuple(views), every)


def _rounds(engine: Engine, stream: Stream) -> Iterator[Round]:
    """Rounds as they are held; the engine's tables are those of the chunk in which one fell."""
    lines = [orjson.dumps(event) for event in stream.events]
    for start in range(0, len(lines), CHUNK):
        chunk = lines[start : start + CHUNK]
        yield from engine.observe(0, chunk, range(start, start + len(chunk))).rounds
    yield from engine.flush().rounds


def _view(held: Round, column: int, known: Rows, campaign: Bools) -> tuple[ViewRecord, Floats]:
    """A judged view with the truth, and (core share, core requests, truth) of members of campaigns' communities."""
    judged = held.judged[column]
    number = known[: judged.community.size]
    present = number >= 0
    community = judged.community
    inside = community >= 0
    n = judged.cores.n
    truth = np.zeros(community.size, np.bool_)
    truth[present] = campaign[number[present]]
    share = np.bincount(community[inside], weights=truth[inside], minlength=n) / np.maximum(
        np.bincount(community[inside], minlength=n), 1
    )
    cores = judged.cores
    chosen = share[cores.member_community] > CAMPAIGN_ABOVE
    core = cores.member_core[chosen].astype(np.float64)
    members = np.stack(
        [core / np.maximum(cores.member_all[chosen], 1), core, truth[cores.member_row[chosen]].astype(np.float64)],
        axis=1,
    )
    view = ViewRecord(
        held.ts_ms, column, number[present], community[present].astype(np.int32),
        judged.measures.values, judged.measures.sizes, judged.organisations, share,
    )  # fmt: skip
    return view, members


def _digest(head: str) -> str:
    """Of all code that shapes a recording, and the operator's part of the policy."""
    package = Path(streamproc.__file__).parent
    digest = hashlib.sha256(head.encode())
    for folder in SOURCES:
        for path in sorted((package / folder).rglob("*.py")):
            if folder != "sim" or path.stem not in NOT_SOURCES:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_BY_ROW = ("present", "community")
_BY_COMMUNITY = ("values", "sizes", "organisations", "campaign_share")


def _save(path: Path, recording: Recording) -> None:
    views = recording.views
    arrays: dict[str, Array] = {
        "kinds": np.array(recording.kinds),
        "requests_ms": recording.requests_ms,
        "members": recording.members,
        "ts_ms": np.array([view.ts_ms for view in views], np.int64),
        "column": np.array([view.column for view in views], np.int64),
        "rows": np.array([view.present.size for view in views], np.int64),
        "communities": np.array([view.sizes.size for view in views], np.int64),
    }
    for name in (*_BY_ROW, *_BY_COMMUNITY):
        arrays[name] = np.concatenate([getattr(view, name) for view in views])
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as out:
        np.savez_compressed(out, **_plain(arrays))
    aside.replace(path)


def _load(path: Path, scenario: str, seed: int) -> Recording:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    parts: dict[str, Sequence[Array]] = {}
    for names, lengths in ((_BY_ROW, arrays["rows"]), (_BY_COMMUNITY, arrays["communities"])):
        for name in names:
            parts[name] = np.split(arrays[name], np.cumsum(lengths)[:-1])
    parts |= {"ts_ms": arrays["ts_ms"].tolist(), "column": arrays["column"].tolist()}
    order = [field.name for field in fields(ViewRecord)]
    views = tuple(ViewRecord(*row) for row in zip(*(parts[name] for name in order), strict=True))
    return Recording(scenario, seed, tuple(arrays["kinds"].tolist()), arrays["requests_ms"], views, arrays["members"])


def _plain(arrays: dict[str, Array]) -> dict[str, Any]:
    return dict(arrays)
