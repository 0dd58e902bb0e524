"""What the worker shows Prometheus, as a table. No account or other value of a request is ever a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from streamproc.meters import Meters, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DOMAINS", "METRICS", "Metrics"]

ROUND_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# The values that a label may have. Those of reason, field and what are told by whoever owns their tables.
DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "action": ("observe", "verify", "throttle", "restrict", "suspend", "release"),
    "mode": ("shadow", "enforce"),
    "state": ("suspected", "confirmed", "contained", "dormant", "cleared", "merged"),
    "when": ("before", "after"),
    "stage": ("accounts", "campaigns", "snapshot"),
    "reducer": ("accounts", "campaigns"),
    "topic": ("requests", "uses"),
}

METRICS: Final = (
    Metric("events_total", Counter, "Requests read, the bad and the repeated ones too."),
    Metric("bad_events_total", Counter, "Requests refused and put on the dead topic.", ("reason",)),
    Metric("late_events_total", Counter, "Requests older than the watermark allows, counted into the open slot."),
    Metric("duplicate_events_total", Counter, "Requests dropped because account and id were seen before."),
    Metric("blind_events_total", Counter, "Requests without a field that signals need.", ("field",)),
    Metric("mistyped_fields_total", Counter, "Fields that were present and not valid, and count as missing."),
    Metric("unknown_fields_total", Counter, "Fields that the contract does not have, in one message of a run."),
    Metric("uses_total", Counter, "Requests that have reached a closed slot."),
    Metric("strayed_accounts_total", Counter, "Accounts whose requests came on more than one partition."),
    Metric("evicted_entries_total", Counter, "What a cap on state has pushed out.", ("what",)),
    Metric("lag_events", Gauge, "Records of a partition that are not yet worked off.", ("topic", "partition")),
    Metric("next_offset", Gauge, "Offset at which work on a partition goes on.", ("topic", "partition")),
    Metric("watermark_seconds", Gauge, "Event time up to which a partition is complete, Unix.", ("partition",)),
    Metric("stage_seconds", Histogram, "Time that a stage takes for a run of records.", ("stage",)),
    Metric("round_seconds", Histogram, "Time that a round takes.", buckets=ROUND_BUCKETS_S),
    Metric("round_components", Gauge, "Components that the last round saw."),
    Metric("round_communities", Gauge, "Communities that the last round saw."),
    Metric("known_campaigns", Gauge, "Campaigns, by state.", ("state",)),
    Metric("campaign_members", Gauge, "Members of the campaigns that are known, by its state.", ("state",)),
    Metric(
        "campaign_evidence_decades", Gauge, "Evidence by family, log10: of confirmed campaigns the most.", ("family",)
    ),
    Metric(
        "campaign_exchanges_total",
        Counter,
        "Requests that confirmed campaigns were served, before and after the first action on their account.",
        ("when",),
    ),
    Metric("campaign_refused_total", Counter, "Requests of campaigns' accounts that enforcement turned away."),
    Metric(
        "withheld_confirmations_total", Counter, "Campaigns that a round left suspected: the day's budget was spent."
    ),
    Metric("enforcement_events_total", Counter, "Decisions sent.", ("action", "mode")),
    Metric("labels_total", Counter, "What analysts said, passed on to campaigns.", ("label",)),
    Metric("loop_stall_seconds", Gauge, "Longest time that anything held the event loop since the start."),
    Metric("snapshot_age_seconds", Gauge, "Time since the last durable snapshot.", ("reducer",)),
    Metric("snapshot_size_bytes", Gauge, "Size of the last snapshot.", ("reducer",)),
)


class Metrics(Meters):
    """The worker's.

    `domains` adds the values of the labels that `DOMAINS` leaves to others: reason, field, what.
    """

    def __init__(self, domains: Mapping[str, Sequence[str]]) -> None:
        super().__init__(METRICS, {**DOMAINS, **domains})
