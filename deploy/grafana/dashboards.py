"""The dashboards as a table of panels. `python -m deploy.grafana.dashboards` writes dashboards/*.json anew.

A panel is its title, its unit and its queries; where it stands follows from its place in the table. Edit here: a
test holds the files against the table, and runs every query against a Prometheus that has watched a real run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"
SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}  # of provisioning/datasources
WIDTH, HEIGHT, STAT_WIDTH, STAT_HEIGHT = 8, 7, 4, 4  # of 24 columns; a row of Grafana's is 30 pixels
RATE: Final = "[$__rate_interval]"
STOPS: Final = 'action=~"throttle|restrict|suspend"'


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and what its series are called, with {{label}} for a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph of some queries over time; the unit is Grafana's name for it."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    why: str = ""  # what to look for, shown as the panel's description
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Stat(Panel):
    """A panel of one number: what it is now."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: panels in sections, the numbers of now above."""

    name: str
    title: str
    stats: tuple[Stat, ...]
    sections: tuple[tuple[str, tuple[Panel, ...]], ...]

    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [*self.stats, *(panel for _, panels in self.sections for panel in panels)]


def quantiles(metric: str, by: str = "", legend: str = "") -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram, apart by a label if one is named."""
    labels = f"le, {by}" if by else "le"
    return tuple(
        Query(f"histogram_quantile({q}, sum by ({labels}) (rate(streamproc_{metric}_bucket{RATE})))", f"{legend}{name}")
        for q, name in ((0.5, "median"), (0.99, "99 %"))
    )


OPERATIONS: Final = Dashboard(
    "operations",
    "streamproc: operations",
    (
        Stat("Workers that answer", "none", (Query('sum(up{job="streamproc"})'),)),
        Stat("Requests a second", "reqps", (Query(f"sum(rate(streamproc_events_total{RATE}))"),)),
        Stat("Records waiting now", "short", (Query("sum(streamproc_lag_events)"),)),
        Stat("Behind the clock now", "s", (Query("time() - min(streamproc_watermark_seconds)"),)),
        Stat("Oldest snapshot", "s", (Query("max(streamproc_snapshot_age_seconds)"),)),
        Stat("Dead letters in a day", "short", (Query("sum(increase(streamproc_bad_events_total[24h]))"),)),
    ),
    (
        (
            "Throughput and lag",
            (
                Panel("Requests", "reqps", (
                    Query(f"sum(rate(streamproc_events_total{RATE}))", "read"),
                    Query(f"sum(rate(streamproc_uses_total{RATE}))", "in closed slots"),
                    Query(f"sum(rate(streamproc_duplicate_events_total{RATE}))", "repeated"),
                ), "What is read comes into a closed slot some 25 minutes later, by event time."),
                Panel("Records that wait", "short", (
                    Query("sum by (topic) (streamproc_lag_events)", "{{topic}}"),
                ), "Rises and does not fall: LagGrowing."),
                Panel("Event time behind the clock", "s", (
                    Query("time() - max(streamproc_watermark_seconds)", "furthest partition"),
                    Query("time() - min(streamproc_watermark_seconds)", "furthest behind"),
                ), "15 minutes are allowed to every event. A partition that stays behind holds all rounds back."),
            ),
        ),
        (
            "Latency",
            (
                Panel("A run through a stage", "s", quantiles("stage_seconds", "stage", "{{stage}}, ")),
                Panel("A round", "s", quantiles("round_seconds"), "Minutes: far more accounts than one process holds."),
                Panel("Longest hold of the event loop", "s", (
                    Query("max by (instance) (streamproc_loop_stall_seconds)", "{{instance}}"),
                )),
            ),
        ),
        (
            "State",
            (
                Panel("Seen by the last round", "short", (
                    Query("max(streamproc_round_components)", "components"),
                    Query("max(streamproc_round_communities)", "communities"),
                )),
                Panel("Pushed out by caps", "short", (
                    Query(f"sum by (what) (increase(streamproc_evicted_entries_total{RATE}))", "{{what}}"),
                ), "A flood of new values; one account's flood costs nobody else."),
                Panel("Snapshots", "bytes", (
                    Query("max by (reducer) (streamproc_snapshot_size_bytes)", "{{reducer}}"),
                )),
                Panel("Age of the last snapshot", "s", (
                    Query("max by (reducer) (streamproc_snapshot_age_seconds)", "{{reducer}}"),
                ), "Above SNAPSHOT_S and rising: SnapshotOld."),
            ),
        ),
        (
            "What the detector does not see",
            (
                Panel("Requests without a field", "percentunit", (
                    Query(
                        f"sum by (field) (rate(streamproc_blind_events_total{RATE}))"
                        f" / on () group_left () sum(rate(streamproc_events_total{RATE})) > 0.01",
                        "{{field}}",
                    ),
                ), "Signals that need a field are blind to requests without it. Fields that most have are not shown."),
                Panel("Dead letters", "short", (
                    Query(f"sum by (reason) (increase(streamproc_bad_events_total{RATE})) > 0", "{{reason}}"),
                ), "Each lies on requests.dead with partition, offset and value."),
                Panel("Odd requests", "short", (
                    Query(f"sum(increase(streamproc_late_events_total{RATE}))", "late"),
                    Query(f"sum(increase(streamproc_mistyped_fields_total{RATE}))", "mistyped fields"),
                    Query(f"sum(increase(streamproc_unknown_fields_total{RATE}))", "unknown fields"),
                    Query(f"sum(increase(streamproc_strayed_accounts_total{RATE}))", "strayed accounts"),
                )),
            ),
        ),
    ),
)  # fmt: skip

CAMPAIGNS: Final = Dashboard(
    "campaigns",
    "streamproc: campaigns",
    (
        Stat("Confirmed, not over", "none", (Query('max(streamproc_known_campaigns{state="confirmed"})'),)),
        Stat("Suspected", "none", (Query('max(streamproc_known_campaigns{state="suspected"})'),)),
        Stat("Members of confirmed", "none", (Query('max(streamproc_campaign_members{state="confirmed"})'),)),
        Stat("Held back by the budget in a day", "none", (
            Query("sum(increase(streamproc_withheld_confirmations_total[24h]))"),
        )),
    ),
    (
        (
            "Live",
            (
                Panel("Campaigns", "none", (
                    Query("max by (state) (streamproc_known_campaigns)", "{{state}}"),
                ), "Which ones: the topic campaigns, or streamproc console."),
                Panel("Members", "none", (
                    Query("max by (state) (streamproc_campaign_members)", "{{state}}"),
                )),
                Panel("Held back by the day's budget", "none", (
                    Query(f"sum(increase(streamproc_withheld_confirmations_total{RATE}))", "campaigns"),
                )),
            ),
        ),
        (
            "Exchanges",
            (
                Panel("Asked by confirmed campaigns in three hours", "short", (
                    Query(
                        "sum by (when) (increase(streamproc_campaign_exchanges_total[3h]))",
                        "{{when}} the first action",
                    ),
                    Query("sum(increase(streamproc_campaign_refused_total[3h]))", "turned away"),
                ), "On an account. Before: what detection costs. After: what still leaks, all of it in shadow mode."),
                Panel("Served since the start", "short", (
                    Query("sum by (when) (streamproc_campaign_exchanges_total)", "{{when}} the first action"),
                )),
                Panel("Still leaking, of all asked in a day", "percentunit", (
                    Query(
                        'sum(increase(streamproc_campaign_exchanges_total{when="after"}[24h]))'
                        " / (sum(increase(streamproc_campaign_exchanges_total[24h]))"
                        " + sum(increase(streamproc_campaign_refused_total[24h])))",
                        "after the first action",
                    ),
                )),
            ),
        ),
        (
            "Why",
            (
                Panel("Evidence by family", "none", (
                    Query("max by (family) (streamproc_campaign_evidence_decades)", "{{family}}"),
                ), "log10 of the likelihood ratio: 2 is a hundred to one. Of confirmed campaigns the largest."),
                Panel("Communities that a round sees", "none", (
                    Query("max(streamproc_round_communities)", "communities"),
                ), "Most are lawful: courses, apps, classes. They are what the lawful null learns from."),
            ),
        ),
    ),
)  # fmt: skip

ENFORCEMENT: Final = Dashboard(
    "enforcement",
    "streamproc: enforcement",
    (
        Stat("Accounts stopped now", "none", (
            Query(f'max(sum by (instance) (streamproc_gateway_subjects{{mode="enforce",{STOPS}}}))'),
        )),
        Stat("And in shadow", "none", (
            Query(f'max(sum by (instance) (streamproc_gateway_subjects{{mode="shadow",{STOPS}}}))'),
        )),
        Stat("Released in a day", "none", (
            Query('sum(increase(streamproc_enforcement_events_total{action="release"}[24h]))'),
        )),
        Stat("Appeals granted in a day", "none", (
            Query('sum(increase(streamproc_labels_total{label="appeal_granted"}[24h]))'),
        )),
    ),
    (
        (
            "Rungs",
            (
                Panel("In force, by rung", "none", (
                    Query('max by (action) (streamproc_gateway_subjects{mode="enforce"})', "{{action}}"),
                ), "As a gateway has it.", stacked=True),
                Panel("In shadow, by rung", "none", (
                    Query('max by (action) (streamproc_gateway_subjects{mode="shadow"})', "{{action}}"),
                ), "What would be in force.", stacked=True),
                Panel("Decisions, shadow beside enforce", "none", (
                    Query(
                        f"sum by (mode, action) (increase(streamproc_enforcement_events_total{RATE})) > 0",
                        "{{mode}}: {{action}}",
                    ),
                )),
            ),
        ),
        (
            "Undone",
            (
                Panel("Releases", "none", (
                    Query(
                        f'sum by (mode) (increase(streamproc_enforcement_events_total{{action="release"}}{RATE}))',
                        "{{mode}}",
                    ),
                )),
                Panel("What analysts said", "none", (
                    Query("sum by (label) (streamproc_labels_total)", "{{label}}"),
                ), "Since the worker's start. Many appeals granted: the policy hurts."),
            ),
        ),
        (
            "At the gateway",
            (
                Panel("Not simply passed", "short", (
                    Query(
                        f'sum by (answer) (increase(streamproc_gateway_checks_total{{answer!="pass"}}{RATE}))',
                        "{{answer}}",
                    ),
                ), "throttle: those refused of a throttled subject, the bucket being empty."),
                Panel("Would have met a shadow decision", "short", (
                    Query(f"sum by (action) (increase(streamproc_gateway_shadow_checks_total{RATE}))", "{{action}}"),
                )),
                Panel("A check", "s", quantiles("gateway_check_seconds")),
                Panel("From a decision to the gateway", "s", quantiles("gateway_delay_seconds")),
                Panel("Ignored decisions", "short", (
                    Query(f"sum by (reason) (increase(streamproc_gateway_bad_events_total{RATE})) > 0", "{{reason}}"),
                ), "Not from the worker, or a clock is wrong: ForeignDecisions."),
                Panel("Request events of gateways", "short", (
                    Query(f"sum by (fate) (increase(streamproc_gateway_requests_total{RATE}))", "{{fate}}"),
                )),
            ),
        ),
    ),
)  # fmt: skip

DASHBOARDS: Final = (OPERATIONS, CAMPAIGNS, ENFORCEMENT)


def build(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's JSON."""
    panels: list[dict[str, Any]] = []
    at = 0
    for n, stat in enumerate(dashboard.stats):
        panels.append(_panel(stat, len(panels) + 1, n * STAT_WIDTH, at))
    at += STAT_HEIGHT
    for title, section in dashboard.sections:
        panels.append(_row(title, len(panels) + 1, at))
        at += 1
        for n, panel in enumerate(section):
            column, row = n % (24 // WIDTH), n // (24 // WIDTH)
            panels.append(_panel(panel, len(panels) + 1, column * WIDTH, at + row * HEIGHT))
        at += HEIGHT * -(-len(section) // (24 // WIDTH))
    return {
        "uid": f"streamproc-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["streamproc"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "title": "streamproc", "tags": ["streamproc"], "includeVars": False}],
        "annotations": {"list": [_pages()]},
        "templating": {"list": []},
        "panels": panels,
    }


def _pages() -> dict[str, Any]:
    """Pages as marks in all graphs."""
    return {
        "name": "Pages",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing",severity="page"}',
        "titleFormat": "{{alertname}}",
    }


def _row(title: str, number: int, at: int) -> dict[str, Any]:
    grid = {"x": 0, "y": at, "w": 24, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}


def _panel(panel: Panel, number: int, column: int, at: int) -> dict[str, Any]:
    stat = isinstance(panel, Stat)
    size = (STAT_WIDTH, STAT_HEIGHT) if stat else (WIDTH, HEIGHT)
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if stat and panel.unit == "none":
        defaults["decimals"] = 0  # increase() reckons between scrapes
    if not stat:
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"fillOpacity": 40 if panel.stacked else 10, "showPoints": "never", "stacking": stacking}
    return {
        "id": number,
        "type": "stat" if stat else "timeseries",
        "title": panel.title,
        "description": panel.why,
        "datasource": SOURCE,
        "gridPos": {"x": column, "y": at, "w": size[0], "h": size[1]},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if stat else {"tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
            }
            for n, query in enumerate(panel.queries)
        ],
    }


def written(dashboard: Dashboard) -> str:
    """The file's text."""
    return json.dumps(build(dashboard), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for one in DASHBOARDS:
        (FOLDER / f"{one.name}.json").write_text(written(one))
