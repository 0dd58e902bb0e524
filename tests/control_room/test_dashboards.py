"""Grafana's dashboards: files as the table has them, and every query against a Prometheus that watched a real run."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deploy.grafana.dashboards import DASHBOARDS, FOLDER, HEIGHT, written
from streamproc.gateway import metrics as gateway
from streamproc.worker import metrics as worker
from tests.control_room.room import DEPLOY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.control_room.played import Played

FILES: dict[str, dict[str, Any]] = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = {
    (name, panel["title"]): panel for name, file in FILES.items() for panel in file["panels"] if panel["type"] != "row"
}
QUERIES = [(*key, target["expr"]) for key, panel in PANELS.items() for target in panel["targets"]]
QUERIES += [(name, "annotation", one["expr"]) for name, file in FILES.items() for one in file["annotations"]["list"]]
METRICS = {f"streamproc_{metric.name}": metric for metric in (*worker.METRICS, *gateway.METRICS)}
# What may well stay at zero in a run in which all goes well.
AT_REST = {"Records that wait", "Records waiting now", "Suspected"}
AT_REST |= {"Held back by the budget in a day", "Held back by the day's budget"}
PROVISIONED = DEPLOY / "grafana" / "provisioning"


def values(played: Played, expr: str) -> Iterator[float]:
    """All numbers of a query over the run, with the rate's interval that a scrape a second asks for."""
    for series in played.room.query_range(expr.replace("$__rate_interval", "10s"), played.start_s, played.end_s):
        yield from (float(value) for _, value in series["values"])


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_a_file_is_as_the_table_has_it(dashboard: Any) -> None:
    path = FOLDER / f"{dashboard.name}.json"
    assert path.read_text() == written(dashboard), "run: python -m deploy.grafana.dashboards"
    assert len(FILES) == len(DASHBOARDS)


@pytest.mark.parametrize("name", FILES)
def test_panels_are_told_apart_and_cover_nothing_of_each_other(name: str) -> None:
    panels = FILES[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        assert grid["h"] <= HEIGHT
        taken |= cells


@pytest.mark.parametrize(("name", "title", "expr"), QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are(name: str, title: str, expr: str) -> None:
    named = re.findall(r"\bstreamproc_\w+", expr)
    assert named or re.search(r"\b(up|ALERTS)\{", expr), (name, title)
    labels = {label for found in named for label in METRICS[found.removesuffix("_bucket")].labels}
    for grouped in re.findall(r"by \(([^)]*)\)", expr):
        assert set(grouped.split(", ")) <= labels | {"le", "instance"}
    for selected in re.findall(r"\b(\w+)=~?\"", expr):
        assert selected in labels | {"job", "alertstate", "severity"}


def test_what_is_provisioned_is_what_is_there() -> None:
    (source,) = yaml.safe_load((PROVISIONED / "datasources" / "prometheus.yml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in PANELS.values()}
    used |= {target["datasource"]["uid"] for panel in PANELS.values() for target in panel["targets"]}
    assert used == {source["uid"]}
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


@pytest.mark.parametrize(("name", "title", "expr"), QUERIES)
def test_a_query_finds_something_in_a_real_run(played: Played, name: str, title: str, expr: str) -> None:
    assert any(map(math.isfinite, values(played, expr))), (name, title)


@pytest.mark.parametrize(("name", "title"), sorted(key for key in PANELS if key[1] not in AT_REST))
def test_a_panel_shows_more_than_zeros_of_a_real_run(played: Played, name: str, title: str) -> None:
    found = [value for target in PANELS[name, title]["targets"] for value in values(played, target["expr"])]
    assert any(value != 0 for value in found if math.isfinite(value))
