"""What the console shows Prometheus, as a table. No subject is ever a label."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import prometheus_client

from streamproc.console.table import OUTCOMES, TOPICS
from streamproc.contract.labels import WORDS
from streamproc.meters import Meters, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.console.table import Table
    from streamproc.following import Follower

__all__ = ["DOMAINS", "METRICS", "PAGES", "REFUSALS", "Metrics"]

PAGES: Final = ("overview", "campaigns", "campaign", "subject", "search", "sign_in", "other")
REFUSALS: Final = ("host", "cross_site", "token", "signed_out", "form", "read_only", "label")
DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "topic": TOPICS,
    "outcome": OUTCOMES,
    "page": PAGES,
    "why": REFUSALS,
    "label": WORDS,
    "fate": ("written", "failed"),
}
METRICS: Final = (
    Metric(
        "console_events_total", prometheus_client.Counter, "Events read, by what became of them.", ("topic", "outcome")
    ),
    Metric(
        "console_subjects", prometheus_client.Gauge, "Subjects with an entry, the released and the lapsed ones too."
    ),
    Metric("console_ready", prometheus_client.Gauge, "1 once the topics were read to their end."),
    Metric("console_broker_up", prometheus_client.Gauge, "1 while the brokers answer; else pages are as of before."),
    Metric("console_lag_events", prometheus_client.Gauge, "Events of the topics that are not yet read."),
    Metric("console_page_seconds", prometheus_client.Histogram, "Time that a page takes.", ("page",)),
    Metric("console_refusals_total", prometheus_client.Counter, "Requests refused, by why.", ("why",)),
    Metric("console_labels_total", prometheus_client.Counter, "Labels by what became of them.", ("label", "fate")),
)


class Metrics(Meters):
    """The console's."""

    def __init__(self) -> None:
        super().__init__(METRICS, DOMAINS)
        self._shown: Counter[tuple[str, str]] = Counter()

    def show(self, table: Table, follower: Follower) -> None:
        """Enter how far the topics are read, and what was counted since the last time."""
        for (topic, outcome), count in (table.counts - self._shown).items():
            self.add("console_events_total", count, topic=topic, outcome=outcome)
        self._shown = table.counts.copy()
        self.set("console_subjects", len(table))
        self.set("console_ready", follower.why_not_ready is None)
        self.set("console_broker_up", follower.up)
        self.set("console_lag_events", follower.lag)
