from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
import pytest

from streamproc import settings
from streamproc.contract.decisions import Action, Limit
from streamproc.gateway import answers
from streamproc.gateway.answers import PASS, Answer, Asked
from streamproc.gateway.buckets import Buckets
from streamproc.gateway.gate import Gate
from streamproc.gateway.metrics import METRICS, Metrics
from streamproc.gateway.verdicts import Subjects, Verdict, Verdicts
from tests.gateway.events import NOW, SECRET, event

A1 = Subjects(account="a1")
APPEAL = "https://example.org/appeal?decision={decision}"
GATEWAY = settings.read({}).gateway


def verdict(action: Action, limit: Limit | None = None) -> Verdict:
    verdicts = Verdicts(10, 600_000)
    verdicts.take(event(action=action, limit=limit), NOW)
    found = verdicts.verdict(A1, NOW)
    assert found is not None
    return found


def answer(action: Action, limit: Limit | None = None, wait_s: float | None = None, **asked: Any) -> Answer:
    return answers.answer(verdict(action, limit), Asked(subjects=A1, **asked), wait_s, APPEAL)


def test_no_verdict_and_observe_pass_unmarked_and_verify_with_a_hint() -> None:
    assert answers.answer(None, Asked(subjects=A1), None, APPEAL) == PASS
    assert answer("observe", capabilities=("tools",)) == PASS
    verified = answer("verify")
    assert verified.passes
    assert verified.headers == {"x-streamproc-step-up": "required"}


def test_suspend_is_final() -> None:
    refused = answer("suspend")
    assert (refused.status, refused.headers["x-should-retry"]) == (403, "false")
    assert "retry-after" not in refused.headers


@pytest.mark.parametrize(
    ("wait_s", "said"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (59.5, "60"), (1e9, "60")]
)
def test_throttle_says_a_whole_number_of_seconds_up_to_sixty(wait_s: float, said: str) -> None:
    refused = answer("throttle", wait_s=wait_s)
    assert (refused.status, refused.headers["retry-after"]) == (429, said)
    assert "x-should-retry" not in refused.headers


def test_throttle_passes_while_there_is_room() -> None:
    assert answer("throttle") == PASS


@pytest.mark.parametrize(
    ("taken", "asked", "passes"),
    [
        (None, ("tools",), False),
        (None, ("reasoning_trace",), False),
        (None, ("batch", "vision"), False),
        (None, ("vision",), True),
        (None, (), True),
        (("tools",), ("batch",), True),
        (("vision",), ("vision",), False),
    ],
)
def test_restrict_refuses_what_asks_for_a_capability_that_was_taken(
    taken: tuple[str, ...] | None, asked: tuple[str, ...], *, passes: bool
) -> None:
    found = answer("restrict", None if taken is None else Limit(capabilities=taken), capabilities=asked)
    assert found.passes is passes
    assert found.status == (200 if passes else 403)


REFUSED: tuple[tuple[Action, dict[str, Any]], ...] = (
    ("suspend", {}),
    ("throttle", {"wait_s": 3.0}),
    ("restrict", {"capabilities": ("tools",)}),
)


@pytest.mark.parametrize(("action", "how"), REFUSED)
@pytest.mark.parametrize("api", ["openai", "anthropic", "problem"])
def test_a_body_has_its_shape_the_decision_and_the_appeal_and_no_evidence(
    action: Action, how: dict[str, Any], api: str
) -> None:
    accept = "text/html, application/problem+json;q=0.9" if api == "problem" else "*/*"
    found = answer(action, **how, accept=accept, api="openai" if api == "problem" else api)
    assert found.body is not None
    decision = verdict(action).id
    told = found.body if api == "problem" else found.body["error"]
    assert told["decision"] == decision
    assert told["appeal"] == f"https://example.org/appeal?decision={decision}"
    if api == "problem":
        assert found.headers["content-type"] == "application/problem+json"
        assert found.body.keys() == {"type", "title", "status", "detail", "decision", "appeal"}
        assert found.body["status"] == found.status
    else:
        assert found.headers["content-type"] == "application/json"
        assert re.fullmatch(r"[a-z_]+", told["code"])
        assert found.body.keys() == ({"type", "error"} if api == "anthropic" else {"error"})
        assert {"type", "message", "code"} <= told.keys()
    sent = orjson.dumps(found.body) + orjson.dumps(found.headers)
    for secret in (SECRET, "template", "a1", "score", "0.99", "p-1"):
        assert secret.encode() not in sent.replace(decision.encode(), b"")


def test_a_client_that_refuses_problem_json_gets_none() -> None:
    found = answer("suspend", accept="application/problem+json;q=0.0, application/json")
    assert found.headers["content-type"] == "application/json"


def waits(limit: Limit | None, *tokens: int) -> list[float | None]:
    async def ask() -> list[float | None]:
        buckets = Buckets(GATEWAY)
        return [await buckets.wait_s(verdict("throttle", limit), one) for one in tokens]

    return asyncio.run(ask())


@pytest.fixture
def _mid_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands the buckets' clock still, half-way through a window."""
    for module in ("limits.aio.storage.memory", "limits.aio.strategies"):
        monkeypatch.setattr(f"{module}.time.time", lambda: 1_800_000_030.0)


@pytest.mark.usefixtures("_mid_minute")
@pytest.mark.parametrize(
    ("limit", "tokens", "passed"),
    [
        (Limit(requests_per_min=2), (0, 0, 0), 2),
        (Limit(requests_per_min=0.1), (0, 0, 0), 1),
        (Limit(requests_per_min=0), (0,), 0),
        (Limit(requests_per_min=1e-9), (0,), 0),
        (Limit(tokens_per_min=100), (60, 60), 1),
        (Limit(tokens_per_min=100), (500, 1), 1),  # more than the bucket has, once
        (Limit(tokens_per_min=0), (0, 0), 2),  # what costs none
        (Limit(requests_per_min=9, tokens_per_min=100), (50, 50, 50), 2),
        (None, (0, 0, 0), 1),  # as the settings say
    ],
)
def test_buckets_let_as_many_pass_as_the_limit_says(limit: Limit | None, tokens: tuple[int, ...], passed: int) -> None:
    found = waits(limit, *tokens)
    assert found == [None] * passed + found[passed:]
    assert all(wait_s is not None and wait_s > 0 for wait_s in found[passed:])
    assert len(found[passed:]) == len(tokens) - passed


@pytest.mark.usefixtures("_mid_minute")
def test_what_one_bucket_refuses_costs_nothing_in_the_other() -> None:
    found = waits(Limit(requests_per_min=2, tokens_per_min=100), 60, 60, 40, 0)
    assert [one is None for one in found] == [True, False, True, False]
    assert found[1] == 30.0


def test_as_a_window_begins_all_of_it_is_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limits.aio.storage.memory.time.time", lambda: 1_800_000_000.0)
    assert waits(Limit(requests_per_min=1), 0, 0) == [None, 60.0]


@pytest.mark.usefixtures("_mid_minute")
def test_requests_at_the_same_time_get_no_more_than_those_in_turn() -> None:
    async def ask() -> list[float | None]:
        buckets, held = Buckets(GATEWAY), verdict("throttle", Limit(requests_per_min=3, tokens_per_min=1000))
        return await asyncio.gather(*(buckets.wait_s(held, 10) for _ in range(20)))

    assert asyncio.run(ask()).count(None) == 3


def gate(why: str | None, unready: str, *events: bytes) -> tuple[Answer, Metrics]:
    verdicts, metrics = Verdicts(10, 600_000), Metrics()
    for one in events:
        verdicts.take(one, NOW)
    told = settings.read({"GATEWAY_UNREADY": unready}).gateway

    async def ask() -> Answer:
        made = Gate(told, verdicts, metrics, lambda: why, lambda: NOW)
        return (await made.answer(Asked(subjects=A1)))[0]

    return asyncio.run(ask()), metrics


def test_before_it_is_ready_an_open_gate_lets_pass_and_a_closed_one_does_not_and_both_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found, metrics = gate("reading", "open", event())
    assert found.passes
    assert metrics.value("gateway_unready_checks_total", unready="open") == 1
    found, metrics = gate("reading", "closed", event())
    assert (found.status, found.headers["retry-after"]) == (503, "5")
    assert metrics.value("gateway_unready_checks_total", unready="closed") == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "every request is refused" in caplog.text
    assert gate(None, "closed", event())[0].status == 403
    assert gate(None, "closed")[0].passes


def test_a_shadow_decision_is_counted_and_the_request_passes() -> None:
    found, metrics = gate(None, "open", event(mode="shadow"))
    assert found == PASS
    assert metrics.value("gateway_shadow_checks_total", action="suspend") == 1
    assert metrics.value("gateway_checks_total", answer="pass") == 1


def test_metrics_have_names_by_the_rule_and_no_subject_as_a_label() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind.__name__ == "Counter")
    verdicts, metrics = Verdicts(10, 600_000), Metrics()
    verdicts.take(event("acct-77"), NOW)
    verdicts.take(b"{", NOW)
    metrics.show(verdicts)
    assert metrics.value("gateway_subjects", action="suspend", mode="enforce") == 1
    assert metrics.value("gateway_events_total", outcome="taken") == 1
    assert metrics.value("gateway_bad_events_total", reason="not_json") == 1
    assert b"acct-77" not in metrics.render()
