from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamproc.health import HealthServer
from streamproc.settings import SettingsError
from streamproc.worker.metrics import METRICS, Metrics

TOLD = {
    "reason": ("not_json", "future"), "field": ("tls_fp",), "what": ("templates", "duplicates"),
    "family": ("template",), "label": ("lawful",),
}  # fmt: skip


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_names_follow_the_rule_and_every_metric_is_shown() -> None:
    shown = {name for name, _ in samples(Metrics(TOLD))}
    for metric in METRICS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", f"streamproc_{metric.name}")
        assert metric.name.endswith("_total") == (metric.kind.__name__ == "Counter")
        if "partition" not in metric.labels:
            suffix = "_count" if metric.kind.__name__ == "Histogram" else ""
            assert f"streamproc_{metric.name}{suffix}" in shown


def test_bounded_series_are_there_at_zero_before_anything_happens() -> None:
    series = frozenset({("action", "suspend"), ("mode", "shadow")})
    assert samples(Metrics(TOLD))["streamproc_enforcement_events_total", series] == 0


def test_counting_setting_and_timing() -> None:
    metrics = Metrics(TOLD)
    metrics.add("events_total", 5)
    metrics.add("bad_events_total", reason="future")
    metrics.set("lag_events", 12, topic="requests", partition="3")
    with metrics.timed("stage_seconds", stage="accounts"):
        pass
    assert metrics.value("events_total") == 5
    assert metrics.value("bad_events_total", reason="future") == 1
    assert metrics.value("lag_events", topic="requests", partition="3") == 12
    assert metrics.value("stage_seconds_count", stage="accounts") == 1


def test_a_partition_that_went_elsewhere_is_shown_no_longer() -> None:
    metrics = Metrics(TOLD)
    for partition in "34":
        metrics.set("lag_events", 12, topic="requests", partition=partition)
        metrics.set("watermark_seconds", 12, partition=partition)
    metrics.forget_partition(3)
    kept = {dict(labels)["partition"] for _, labels in samples(metrics) if "partition" in dict(labels)}
    assert kept == {"4"}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("bad_events_total", {"reason": "acct-77"}),
        ("lag_events", {"topic": "requests", "partition": "acct-77"}),
        ("lag_events", {"topic": "requests", "partition": "99999"}),
        ("lag_events", {"topic": "elsewhere", "partition": "1"}),
    ],
)
def test_a_value_that_nobody_has_told_is_no_label(name: str, labels: dict[str, str]) -> None:
    metrics = Metrics(TOLD)
    before = metrics.render()
    with pytest.raises(ValueError, match="is no known value"):
        (metrics.add if name.endswith("_total") else metrics.set)(name, 1, **labels)
    assert metrics.render() == before


def test_a_label_without_values_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="no values are known for label reason"):
        Metrics({name: values for name, values in TOLD.items() if name != "reason"})


def test_the_server_says_metrics_health_and_readiness() -> None:
    unready: list[str] = ["waiting for partitions"]

    async def ask() -> list[tuple[int, str, str]]:
        server = HealthServer(
            "127.0.0.1",
            0,
            metrics=Metrics(TOLD),
            healthy=lambda: None,
            ready=lambda: unready[0] if unready else None,
        )
        port = await server.start()
        answers: list[tuple[int, str, str]] = []

        async def get(session: aiohttp.ClientSession, path: str) -> None:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                answers.append((answer.status, answer.content_type, await answer.text()))

        async with aiohttp.ClientSession() as session:
            for path in ("/metrics", "/healthz", "/readyz", "/elsewhere"):
                await get(session, path)
            unready.clear()
            await get(session, "/readyz")
        await server.stop()
        await server.stop()
        return answers

    metrics, health, before, elsewhere, after = asyncio.run(ask())
    assert metrics[:2] == (200, "text/plain")
    assert "streamproc_events_total 0.0" in metrics[2]
    assert health == (200, "text/plain", "ok\n")
    assert before == (503, "text/plain", "waiting for partitions\n")
    assert elsewhere[0] == 404
    assert after == (200, "text/plain", "ok\n")


def test_a_port_that_is_taken_is_the_operators_mistake() -> None:
    nothing: Any = lambda: None  # noqa: E731
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HealthServer("127.0.0.1", port, metrics=Metrics(TOLD), healthy=nothing, ready=nothing)
        with pytest.raises(SettingsError, match=f"^HTTP_HOST, HTTP_PORT: cannot listen on 127.0.0.1:{port}"):
            asyncio.run(server.start())
