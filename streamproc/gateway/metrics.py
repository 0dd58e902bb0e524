"""What the gateway shows Prometheus, as a table. No subject is ever a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from streamproc.gateway.decoding import Refusal
from streamproc.gateway.verdicts import OUTCOMES, RUNGS
from streamproc.meters import Meters, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.gateway.verdicts import Verdicts

__all__ = ["DOMAINS", "METRICS", "Metrics"]

CHECK_BUCKETS_S: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1)
DELAY_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "outcome": OUTCOMES,
    "reason": tuple(reason.value for reason in Refusal),
    "action": RUNGS,
    "mode": ("enforce", "shadow"),
    "answer": ("pass", "verify", "throttle", "restrict", "suspend", "unavailable"),
    "unready": ("open", "closed"),
    "fate": ("sent", "dropped", "failed"),
    "write": ("put", "removed", "newer"),
    "body": ("whole", "none", "partial", "unreadable"),
    "join": ("joined", "never", "crowded", "unknown", "unasked"),
}

METRICS: Final = (
    Metric("gateway_events_total", Counter, "Enforcement events by what became of them.", ("outcome",)),
    Metric("gateway_bad_events_total", Counter, "Enforcement events that were ignored.", ("reason",)),
    Metric("gateway_subjects", Gauge, "Subjects on a rung.", ("action", "mode")),
    Metric("gateway_remembered_subjects", Gauge, "Subjects with an entry, the released and the lapsed ones too."),
    Metric("gateway_checks_total", Counter, "Requests by what they were answered.", ("answer",)),
    Metric("gateway_shadow_checks_total", Counter, "Requests that a shadow decision would have met.", ("action",)),
    Metric("gateway_unready_checks_total", Counter, "Requests before the verdicts were read.", ("unready",)),
    Metric("gateway_bad_checks_total", Counter, "Checks refused because they were not as they must be."),
    Metric("gateway_check_seconds", Histogram, "Time that a check takes.", buckets=CHECK_BUCKETS_S),
    Metric("gateway_delay_seconds", Histogram, "From Kafka's time of an event to its entry.", buckets=DELAY_BUCKETS_S),
    Metric("gateway_ready", Gauge, "1 once the topic was read to its end."),
    Metric("gateway_broker_up", Gauge, "1 while the brokers answer; else verdicts are as of when they last did."),
    Metric("gateway_lag_events", Gauge, "Enforcement events that are not yet read."),
    Metric("gateway_streams", Gauge, "Clients that follow the decisions."),
    Metric("gateway_requests_total", Counter, "Request events by what became of them.", ("fate",)),
    Metric("gateway_waiting_requests", Gauge, "Request events that are not yet at the brokers."),
    Metric("gateway_nameless_requests_total", Counter, "Requests without an account: none has an event."),
    Metric("gateway_underway_requests", Gauge, "Requests whose answer has not ended."),
    Metric("gateway_forgotten_requests_total", Counter, "Requests whose end never came: their event has no answer."),
    Metric("gateway_failures_total", Counter, "Failures of the gateway's own; the requests went on."),
    Metric("gateway_fingerprint_seconds", Histogram, "Time that fingerprints take.", buckets=CHECK_BUCKETS_S),
    Metric("gateway_bodies_total", Counter, "Requests to authorise by what the proxy handed over of them.", ("body",)),
    Metric("gateway_open_requests", Gauge, "Request events that wait for their answer's side."),
    Metric(
        "gateway_answers_total", Counter, "Answers' sides: joined, waited for in vain, or of no request.", ("join",)
    ),
    Metric("gateway_dropped_streams_total", Counter, "Clients that were cut off because they read too slowly."),
    Metric("gateway_mirror_up", Gauge, "1 while Redis answers the mirror; 0 without a mirror."),
    Metric("gateway_mirror_waiting_subjects", Gauge, "Subjects that Redis may not yet have as the table has them."),
    Metric("gateway_mirror_behind_seconds", Gauge, "For how long Redis has not been as the table; 0 without a mirror."),
    Metric("gateway_mirror_writes_total", Counter, "Subjects told to Redis; newer: it knew better.", ("write",)),
    Metric("gateway_fallen_back_checks_total", Counter, "Throttles counted in memory: Redis was slow or away."),
)


class Metrics(Meters):
    """The gateway's."""

    def __init__(self) -> None:
        super().__init__(METRICS, DOMAINS)

    def show(self, verdicts: Verdicts) -> None:
        """Enter how the table stands, and what it has counted since the last time."""
        for name, count in verdicts.counts.items():
            head, _, reason = name.partition(":")
            if reason:
                self.add("gateway_bad_events_total", count, reason=reason)
            else:
                self.add("gateway_events_total", count, outcome=head)
        verdicts.counts.clear()
        for (action, mode), size in verdicts.sizes().items():
            self.set("gateway_subjects", size, action=action, mode=mode)
        self.set("gateway_remembered_subjects", len(verdicts))
