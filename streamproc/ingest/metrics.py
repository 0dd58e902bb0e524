"""What an ingest that goes on shows Prometheus, as a table. No account is ever a label."""

from __future__ import annotations

from collections import Counter as Counted
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge

from streamproc.ingest.blind import BLINDNESS, TEMPLATE
from streamproc.ingest.record import REASONS
from streamproc.meters import Meters, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.ingest.maker import Maker

__all__ = ["DOMAINS", "METRICS", "Metrics"]

# The fields without which a statistic is blind.
SEEN: Final = (TEMPLATE, *sorted({name for _, fields in BLINDNESS.values() for name in fields}))
DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "reason": tuple(reason for reason in REASONS if reason != "half"),
    "field": SEEN,
}
METRICS: Final = (
    Metric("ingest_events_total", Counter, "Events made."),
    Metric("ingest_refused_records_total", Counter, "Records without an event, by why.", ("reason",)),
    Metric("ingest_hidden_records_total", Counter, "Records whose words the gateway had taken out."),
    Metric("ingest_field_events_total", Counter, "Events that have a field which a statistic reads.", ("field",)),
    Metric("ingest_waiting_records", Gauge, "Records that wait for their other half."),
    Metric("ingest_lag_records", Gauge, "Records of the topic that are not yet read."),
    Metric("ingest_brokers_up", Gauge, "1 while events can be handed over."),
)


class Metrics(Meters):
    """The ingest's."""

    def __init__(self) -> None:
        super().__init__(METRICS, DOMAINS)
        self._shown: Counted[tuple[str, str]] = Counted()
        self.set("ingest_brokers_up", 1)

    def show(self, maker: Maker, refused: Mapping[str, int]) -> None:
        """Enter how things stand, and what was counted since the last time."""
        self._add("ingest_events_total", maker.events)
        self._add("ingest_hidden_records_total", maker.hidden)
        for reason in DOMAINS["reason"]:
            self._add("ingest_refused_records_total", refused.get(reason, 0), reason=reason)
        for name in SEEN:
            self._add("ingest_field_events_total", maker.fields[name], field=name)
        self.set("ingest_waiting_records", len(maker.halves))

    def _add(self, name: str, total: int, **labels: str) -> None:
        key = (name, next(iter(labels.values()), ""))
        self.add(name, total - self._shown[key], **labels)
        self._shown[key] = total
