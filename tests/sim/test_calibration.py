"""Honest traffic has the quantiles of the real traffic that it is modelled on, within 20 %."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from streamproc.sim.scenario import simulate

Floats = npt.NDArray[np.float64]
MARGINALS = Path(__file__).parents[3] / "shared" / "fixtures" / "marginals.json"
pytestmark = pytest.mark.skipif(not MARGINALS.exists(), reason="no ../shared/fixtures beside the project")
SHARES = (10, 25, 50, 75, 90)
SEEDS = (1, 2, 3)
EDGE_MS = 43_200_000
PEOPLE = ("casual", "framework_app", "coding_agent", "production_app", "wrapper_app")
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def by_kind() -> dict[str, list[Events]]:
    """Served events of each kind of lawful user, one list a seed."""
    out: dict[str, list[Events]] = {}
    for place, seed in enumerate(SEEDS):
        stream = simulate("control", seed=seed, accounts=2500)
        kinds = {row["account"]: row["name"] for row in stream.truth}
        for event in stream.events:
            if event["status"] == 200:
                out.setdefault(kinds[event["account"]], [[] for _ in SEEDS])[place].append(event)
    return out


def asked(by_kind: dict[str, list[Events]], kind: str, task_class: str) -> Events:
    return [e for events in by_kind[kind] for e in events if e["task_class"] == task_class]


def sessions_of(by_kind: dict[str, list[Events]]) -> list[Floats]:
    """Seconds of the requests of each coding-agent session that began half a day before the end or earlier."""
    out: list[Floats] = []
    for events in by_kind["coding_agent"]:
        agentic = sorted((e for e in events if e["task_class"] == "agentic"), key=lambda e: e["n_assistant"])
        session: dict[str, list[float]] = {}
        for event in agentic:
            times = session.pop(event["prefix_fp"], None) if "prefix_fp" in event else []
            if times is not None:
                times.append(event["ts_ms"] / 1000.0)
                session[event["response_fp"]] = times
        last = max(e["ts_ms"] for e in events)
        out.extend(np.sort(t) for t in session.values() if t[0] * 1000 < last - EDGE_MS)
    return out


def assert_close(values: Any, entry: str) -> None:
    wanted = json.loads(MARGINALS.read_text())[entry]
    found = np.percentile(np.asarray(values, dtype=np.float64), SHARES)
    ratios = found / np.array([wanted[f"p{share}"] for share in SHARES])
    assert (np.abs(ratios - 1.0) <= 0.2).all(), (entry, ratios.round(3).tolist())


@pytest.mark.parametrize(
    ("kind", "task_class", "prefix"),
    [
        ("casual", "chat", "azure_conv"),
        ("production_app", "code", "azure_code"),
        ("coding_agent", "agentic", "session"),
    ],
)
def test_token_counts(by_kind: dict[str, list[Events]], kind: str, task_class: str, prefix: str) -> None:
    events = asked(by_kind, kind, task_class)
    assert_close([e["tok_in"] for e in events], f"{prefix}_tokens_in")
    assert_close([e["tok_out"] for e in events], f"{prefix}_tokens_out")


def test_server_time(by_kind: dict[str, list[Events]]) -> None:
    seconds = [e["duration_ms"] / 1000.0 for e in asked(by_kind, "coding_agent", "agentic")]
    assert_close(seconds, "session_api_s")


def test_gaps_and_lengths_of_coding_sessions(by_kind: dict[str, list[Events]]) -> None:
    sessions = sessions_of(by_kind)
    assert_close(np.concatenate([np.diff(times) for times in sessions]), "session_gap_s")
    assert_close([len(times) for times in sessions], "session_requests")
    assert_close([(times[-1] - times[0]) / 60.0 for times in sessions], "session_duration_min")


def test_hours_of_the_day(by_kind: dict[str, list[Events]]) -> None:
    wanted = np.array(json.loads(MARGINALS.read_text())["pool_diurnal_profile"]["value"])
    hours = [(e["ts_ms"] // 3_600_000) % 24 for kind in PEOPLE for events in by_kind[kind] for e in events]
    share = np.bincount(hours, minlength=24) / len(hours)
    ratios = share / wanted
    assert (np.abs(ratios - 1.0) <= 0.2).all(), ratios.round(3).tolist()
