"""Baselines on hand-made streams, and the figures of the scoreboard's page."""

import math
from typing import Any

import pytest

from streamproc.sim import figures, scoreboard, scoreboard_obeyed
from streamproc.sim.baselines import BASELINES, DAY_MS, Table, Thresholds, calibrate, shared_template, volume_limit
from streamproc.sim.evaluate import evaluate
from streamproc.sim.scenario import Stream, simulate

HOUR = 3_600_000


def event(account: str, ts_ms: int, template: int = 0) -> dict[str, Any]:
    return {
        "id": f"{account}-{ts_ms}", "ts_ms": ts_ms, "account": account, "status": 200,
        "template_fp": f"{template:016x}" if template else None,
    }  # fmt: skip


def stream(events: list[dict[str, Any]], members: str = "") -> Stream:
    truth = [
        {
            "account": account, "kind": "campaign" if account in members else "benign", "name": "n",
            "campaign": "c1" if account in members else None, "from_ms": 0,
        }
        for account in sorted({line["account"] for line in events})
    ]  # fmt: skip
    return Stream(events, truth, [])


def test_the_volume_limit_stops_what_exceeds_it_until_the_day_is_over() -> None:
    table = Table.of(stream([event("a", t * HOUR) for t in (0, 1, 2, 3, 24, 25)] + [event("b", 5)]))
    assert [(d["subject"]["id"], d["ts_ms"], d["expires_ms"]) for d in volume_limit(table, 2.0)] == [
        ("a", 2 * HOUR, DAY_MS)
    ]


def test_users_of_a_template_are_stopped_once_more_than_k_share_it() -> None:
    events = [
        event("a", 1, 7),
        event("a", 2, 7),
        event("b", 3, 7),
        event("c", 4, 7),
        event("a", 5, 7),
        event("d", 6, 8),
    ]
    table = Table.of(stream([*events, event("e", 7)]))
    said = {d["subject"]["id"]: d["ts_ms"] for d in shared_template(table, 2)}
    assert said == {"c": 4, "a": 5}  # the third account crosses; b never comes back
    assert shared_template(table, 3) == []


def test_a_missing_template_is_shared_by_nobody() -> None:
    table = Table.of(stream([event(name, t) for t, name in enumerate("abcdef")]))
    assert shared_template(table, 2) == []


def test_every_baseline_speaks_the_language_of_evaluation() -> None:
    made = simulate("sync_pool", seed=3, accounts=900, days=3.0)
    table = Table.of(made)
    thresholds = calibrate([table])
    for baseline in BASELINES.values():
        found = evaluate(made.truth, baseline(table, thresholds), made.events)
        assert found.leaked_share is not None
        assert found.unknown == 0
    assert evaluate(made.truth, shared_template(table, 1), made.events).recall == 1.0


def test_means_and_proportions_carry_their_intervals() -> None:
    mean = figures.mean_of([0.0, 0.1, 0.2], 0.0, 1.0)
    assert mean.value == pytest.approx(0.1)
    assert mean.low == 0.0
    assert mean.high == pytest.approx(0.1 + 4.3027 * 0.1 / math.sqrt(3), abs=1e-4)
    none = figures.wilson(0, 20)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.1611, abs=1e-4)
    assert figures.mean_of([]).text() == "-"
    assert figures.span_of([0.3, 0.1]).text() == "0.20 (0.10-0.30)"
    assert figures.span_of([]).text() == "-"


def test_the_page_counts_streams_hurt_and_campaigns() -> None:
    def row(kind: str, judge: str, **more: Any) -> scoreboard.Row:
        found = {
            "kind": kind, "seed": 201, "judge": judge, "leaked_share": 0.25, "recall": 1.0, "precision": 0.5,
            "hours_to_half": 12.0, "hours_to_confirm": [8.0], "members": 60, "exchanges": 4000,
            "honest": {"casual": 1000}, "hurt": {}, "raised": 1, "false_campaigns": 0,
        }  # fmt: skip
        return found | more

    nothing: scoreboard.Row = dict.fromkeys(("leaked_share", "recall", "precision", "hours_to_half"))
    nothing["hours_to_confirm"] = []
    rows = [row("sync_pool", judge) for judge in scoreboard.JUDGES]
    rows += [row("control", judge, raised=0, **nothing) for judge in scoreboard.JUDGES]
    rows[0]["hurt"] = {"casual": 1}
    about = {
        "date": "2026-01-01", "commit": "abc", "seeds": 1, "controls": 1, "accounts": 1000, "days": 4.0, "policy": "p",
        "thresholds": dict.fromkeys(Thresholds.__slots__, 3),
    }  # fmt: skip
    obeyed = f"{scoreboard_obeyed.TITLE}\n\nwords"
    page = scoreboard.page(rows, about, obeyed)
    assert obeyed in page
    assert scoreboard_obeyed.replaced(page, obeyed) == page
    assert "| sync_pool | never saw it | 0.250 | 12.0, 1 of 1 | 1.000 | 0.500 | 2.00 |" in page
    assert "| casual | 2,000 | 1.00 (1) | 0.00 (0) |" in page
    assert "| never saw it | 1 | 0 | 0.00 | 0 in 2 |" in page
