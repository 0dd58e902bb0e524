"""From a made-up campaign to a page: Kafka, the worker, Prometheus and Alertmanager as they are deployed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.control_room.room import SETTLED_S, Room, missing
from tests.worker.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.control_room.played import Played


def confirmed_s(room: Room) -> float:
    """When the first event that confirms a campaign came to the topic, Unix."""
    records = room.pipeline.records("campaigns")
    return float(min(one.timestamp for one in records if orjson.loads(one.value)["state"] == "confirmed")) / 1000


def test_a_confirmed_campaign_pages(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    page = played.room.pages()[0]
    assert page.labels["alertname"] == "CampaignConfirmed"
    assert page.labels["runbook"] == "docs/OPERATING.md#campaignconfirmed"
    seconds = page.at_s - confirmed_s(played.room)
    with capsys.disabled():
        sys.stdout.write(
            f"\nfrom the event that confirms a campaign to the page: {seconds:.1f} s, with intervals of a second\n"
        )
    assert 0 < seconds < 15


def test_traffic_without_a_campaign_pages_nobody(
    room: Callable[[str], Room], capsys: pytest.CaptureFixture[str]
) -> None:
    it = room("quiet")
    it.open()
    it.send_traffic("control", accounts=1500, days=3)
    assert it.pipeline.started[0].value("round_seconds_count") > 30
    time.sleep(SETTLED_S)
    pages = [one.labels["alertname"] for one in it.pages()]
    due = [alert for alert in it.alerts() if alert["labels"]["severity"] == "page"]
    with capsys.disabled():
        sys.stdout.write(f"\npages of three days of lawful traffic: {len(pages)}\n")
    assert (pages, due) == ([], [])
    it.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Room]:
    """Alertmanager and the pager alone."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    (tmp_path / "workers.log").touch()  # there is no worker
    made = Room(Pipeline("", "", tmp_path, tmp_path), tmp_path)
    made.open_alertmanager()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("firing", "told"),
    [
        (("WorkerDown a", "LagGrowing a", "SnapshotOld a", "CampaignConfirmed a"), ("WorkerDown", "CampaignConfirmed")),
        (("LagGrowing a", "SnapshotOld a"), ("LagGrowing", "SnapshotOld")),
        (("LimiterDown a", "VerdictsStale a", "MirrorBehind a"), ("LimiterDown",)),
        (("LimiterDown a", "VerdictsStale b"), ("LimiterDown", "VerdictsStale")),
    ],
)
def test_what_follows_from_another_alert_is_not_said(
    manager: Room, firing: tuple[str, ...], told: tuple[str, ...]
) -> None:
    alerts = [one.split() for one in firing]
    labels = [{"alertname": name, "instance": at, "job": "j", "severity": "page"} for name, at in alerts]
    manager.post("alertmanager", "/api/v2/alerts", [{"labels": one} for one in labels])
    manager.pipeline.wait(lambda: len(manager.pages()) >= len(told))
    time.sleep(1.5)  # a group's interval, in which more could come
    assert sorted(one.labels["alertname"] for one in manager.pages()) == sorted(told)
