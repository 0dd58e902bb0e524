"""Baselines: what a provider would try first, as decisions that the same evaluation reads.

A volume limit per account, a template shared by more than so many accounts, and River's half-space trees over
accounts' days.  Each gets its threshold from calibration streams with their truth, which is generous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamproc.core.arrays import Bools, Floats, Ints, Keys
from streamproc.core.campaigns.habits import FEATURES, Habits, scaled
from streamproc.sim.scenario import Stream

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LAWFUL_QUANTILE = 0.999  # of lawful accounts' days: what a limit or a threshold lets pass
SWEPT = (3, 5, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
HELD_MS = 48 * HOUR_MS  # how long an account that half-space trees pointed at is throttled
SITTING_MS = 900_000
NEVER_MS = np.iinfo(np.int64).max
HABITS_SEED = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A stream's events in columns (events,), in order of time; accounts are numbers into `names`."""

    names: tuple[str, ...]
    campaign: Bools  # (accounts,) whether the truth calls it a campaign's
    account: Ints
    ts_ms: Ints
    template: Keys  # 0 where it is missing
    tok_in: Floats
    tok_out: Floats
    failed: Bools
    turns: Floats

    @classmethod
    def of(cls, stream: Stream) -> Table:
        """The columns of a stream that any baseline reads."""
        events = sorted(stream.events, key=lambda event: event["ts_ms"])
        names = tuple(line["account"] for line in stream.truth)
        number = {name: i for i, name in enumerate(names)}
        return cls(
            names=names,
            campaign=np.array([line["kind"] == "campaign" for line in stream.truth], np.bool_),
            account=np.array([number[event["account"]] for event in events], np.int64),
            ts_ms=np.array([event["ts_ms"] for event in events], np.int64),
            template=np.array([int(event.get("template_fp") or "0", 16) for event in events], np.uint64),
            tok_in=np.array([event.get("tok_in") or np.nan for event in events], np.float64),
            tok_out=np.array([event.get("tok_out") or np.nan for event in events], np.float64),
            failed=np.array([event["status"] >= 400 for event in events], np.bool_),  # noqa: PLR2004 - HTTP
            turns=np.array([_turns(event) for event in events], np.float64),
        )

    def days(self) -> Keys:
        """Account and UTC day of each event as one key (events,)."""
        return (self.account.astype(np.uint64) << np.uint64(32)) | (self.ts_ms // DAY_MS).astype(np.uint64)


def _turns(event: Mapping[str, Any]) -> float:
    turns = event.get("n_assistant")
    return np.nan if turns is None else float(turns)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the calibration streams gave: requests a day, accounts a template, score of half-space trees."""

    requests_per_day: float
    accounts_per_template: int
    habits_score: float


def calibrate(tables: Sequence[Table]) -> Thresholds:
    """Thresholds from calibration streams: two from lawful accounts' days, the third swept to the best F1.

    Raises:
        ValueError: no stream has the accounts' days that half-space trees need before they score.
    """
    per_day, scores = [], []
    for table in tables:
        day, count = np.unique(table.days(), return_counts=True)
        per_day.append(count[~table.campaign[(day >> np.uint64(32)).astype(np.int64)]])
        score, owner, _ = _habits(table)
        scores.append(score[~table.campaign[owner] & np.isfinite(score)])
    lawful = np.concatenate(scores)
    if not lawful.size:
        raise ValueError("half-space trees saw too few days of accounts to score one: give longer streams")
    best = max(SWEPT, key=lambda k: (_f1([(table, shared_since(table, k)) for table in tables]), -k))
    return Thresholds(
        float(np.quantile(np.concatenate(per_day), LAWFUL_QUANTILE)),
        best,
        float(np.quantile(lawful, LAWFUL_QUANTILE)),
    )


def _f1(flagged: Iterable[tuple[Table, Ints]]) -> float:
    hit = wrong = missed = 0
    for table, since in flagged:
        hit += int(np.sum((since >= 0) & table.campaign))
        wrong += int(np.sum((since >= 0) & ~table.campaign))
        missed += int(np.sum((since < 0) & table.campaign))
    return 2 * hit / max(2 * hit + wrong + missed, 1)


def volume_limit(table: Table, requests_per_day: float) -> list[dict[str, Any]]:
    """Throttle an account from the request that exceeds the day's limit to the end of the UTC day."""
    days = table.days()
    order = np.argsort(days, kind="stable")
    start = np.flatnonzero(np.concatenate(([True], days[order][1:] != days[order][:-1])))
    place = np.arange(order.size) - np.repeat(start, np.diff(np.append(start, order.size)))
    over = order[place == int(requests_per_day)]
    return [
        _throttle(table.names[table.account[at]], int(table.ts_ms[at]), (int(table.ts_ms[at]) // DAY_MS + 1) * DAY_MS)
        for at in over.tolist()
    ]


def shared_template(table: Table, accounts: int) -> list[dict[str, Any]]:
    """Throttle for good every account seen with a template that more than `accounts` accounts had used by then."""
    since = shared_since(table, accounts)
    return [_throttle(table.names[a], int(since[a]), None) for a in np.flatnonzero(since >= 0).tolist()]


def shared_since(table: Table, accounts: int) -> Ints:
    """When each account was first seen with a template that more than so many accounts share, -1 for never."""
    _, template = np.unique(table.template, return_inverse=True)
    known = np.flatnonzero(table.template > 0)
    pair = template[known].astype(np.int64) * len(table.names) + table.account[known]
    _, first = np.unique(pair, return_index=True)  # the first use of each template by each account
    first = np.sort(known[first])
    order = first[np.argsort(template[first], kind="stable")]
    of = template[order]
    start = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))
    place = np.arange(order.size) - np.repeat(start, np.diff(np.append(start, order.size)))
    reached = np.full(table.template.size + 1, NEVER_MS)
    crossing = order[place == accounts]
    reached[template[crossing]] = table.ts_ms[crossing]
    shared = known[table.ts_ms[known] >= reached[template[known]]]
    since = np.full(len(table.names), NEVER_MS)
    np.minimum.at(since, table.account[shared], table.ts_ms[shared])
    return np.where(since == NEVER_MS, -1, since)


def half_space_trees(table: Table, score: float) -> list[dict[str, Any]]:
    """Throttle an account for 48 hours from the end of a day whose habits score above `score`."""
    scores, owner, end_ms = _habits(table)
    return [
        _throttle(table.names[owner[at]], int(end_ms[at]), int(end_ms[at]) + HELD_MS)
        for at in np.flatnonzero(scores > score).tolist()
    ]


def _habits(table: Table) -> tuple[Floats, Ints, Ints]:
    """Score of each account's day in order of day and account, its account, and when the day ended."""
    features, owner, day = _day_features(table)
    order = np.lexsort((owner, day))
    score = Habits(HABITS_SEED).observe(scaled(features[order]))
    return score, owner[order], (day[order] + 1) * DAY_MS


def _day_features(table: Table) -> tuple[Floats, Ints, Ints]:
    """The eight habits (days, 8) of each account's UTC day, with account and day."""
    key, row = np.unique(table.days(), return_inverse=True)
    n = key.size
    count = np.bincount(row, minlength=n).astype(np.float64)
    order = np.lexsort((table.ts_ms, table.account))
    gap = np.full(order.size, np.inf)
    same = table.account[order][1:] == table.account[order][:-1]
    gap[order[1:][same]] = np.diff(table.ts_ms[order])[same]
    sitting = (gap < SITTING_MS) & ~(table.turns > 0)
    means = {
        "requests": count,
        "active_hours": _distinct(row, table.ts_ms // HOUR_MS, n),
        "tokens_in_mean": _mean(row, table.tok_in, n),
        "tokens_out_mean": _mean(row, table.tok_out, n),
        "failed_share": _mean(row, table.failed.astype(np.float64), n),
        "turns_share": _mean(row, np.where(np.isnan(table.turns), np.nan, table.turns > 0), n),
        "sittings_share": _mean(row, sitting.astype(np.float64), n),
        "components_per_request": _distinct(row, table.template, n) / count,
    }
    features = np.stack([means[feature.name] for feature in FEATURES], axis=1)
    return features, (key >> np.uint64(32)).astype(np.int64), (key & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _mean(row: Ints, values: Floats, n: int) -> Floats:
    """Mean of the values of each row, NaN where none is known."""
    known = ~np.isnan(values)
    count = np.bincount(row[known], minlength=n)
    total = np.bincount(row[known], weights=values[known], minlength=n)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _distinct(row: Ints, values: Ints | Keys, n: int) -> Floats:
    """Different values of each row."""
    _, code = np.unique(values, return_inverse=True)
    pairs = np.unique(row.astype(np.int64) * values.size + code)
    return np.bincount(pairs // values.size, minlength=n).astype(np.float64)


def _throttle(account: str, ts_ms: int, expires_ms: int | None) -> dict[str, Any]:
    return {
        "subject": {"kind": "account", "id": account},
        "ts_ms": ts_ms,
        "seq": ts_ms * 8,
        "action": "throttle",
        "expires_ms": expires_ms,
        "campaign": None,
    }


BASELINES: dict[str, Callable[[Table, Thresholds], list[dict[str, Any]]]] = {
    "volume limit": lambda table, at: volume_limit(table, at.requests_per_day),
    "shared template": lambda table, at: shared_template(table, at.accounts_per_template),
    "half-space trees": lambda table, at: half_space_trees(table, at.habits_score),
}
