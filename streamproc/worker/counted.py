"""From what the reducers count to what Prometheus is shown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from streamproc.contract import BadReason
from streamproc.contract.decisions import Family
from streamproc.contract.fields import RequestEvent
from streamproc.contract.labels import WORDS
from streamproc.worker.metrics import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamproc.core.accounts.batch import Batch
    from streamproc.core.campaigns.memory import Campaign
    from streamproc.core.campaigns.reducer import Campaigns, Output
    from streamproc.worker.metrics import Metrics

__all__ = ["LABEL_VALUES", "NOT_OURS", "count_batch", "count_output", "count_state"]

NOT_OURS: Final = "not_ours"  # a message on `uses` that no worker wrote

# The values of the labels that the contract and the core own.
LABEL_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "reason": (*(reason.value for reason in BadReason), NOT_OURS),
    "field": RequestEvent.__struct_fields__,
    "what": ("accounts", "components", "duplicates", "values"),
    "family": get_args(Family),
    "label": WORDS,
}

# A reducer's counter by its name -> the metric; one with a colon has a label value behind it.
PLAIN: Final = {
    "events": "events_total",
    "duplicates": "duplicate_events_total",
    "late": "late_events_total",
    "mistyped": "mistyped_fields_total",
    "unknown_fields": "unknown_fields_total",
    "uses": "uses_total",
    "strayed": "strayed_accounts_total",
    "withheld": "withheld_confirmations_total",
    "turned_away": "campaign_refused_total",
}
LABELLED: Final = {
    "blind": ("blind_events_total", "field"),
    "evicted": ("evicted_entries_total", "what"),
    "served": ("campaign_exchanges_total", "when"),
}


def _count(counts: Mapping[str, int], metrics: Metrics) -> None:
    for name, count in counts.items():
        head, _, value = name.partition(":")
        if head in LABELLED:
            metric, label = LABELLED[head]
            metrics.add(metric, count, **{label: value})
        elif name in PLAIN:
            metrics.add(PLAIN[name], count)


def count_batch(batch: Batch, metrics: Metrics) -> None:
    """Enter what the accounts reducer counted of a run."""
    _count(batch.counts, metrics)
    for reason, count in Counter(str(dead.reason) for dead in batch.dead).items():
        metrics.add("bad_events_total", count, reason=reason)


def count_output(output: Output, metrics: Metrics) -> None:
    """Enter what the campaigns reducer said."""
    _count(output.counts, metrics)
    for (action, mode), count in Counter((said.action, said.mode) for said in output.enforcements).items():
        metrics.add("enforcement_events_total", count, action=action, mode=mode)


def count_state(output: Output, reducer: Campaigns, metrics: Metrics) -> None:
    """Enter how things stand, if `output` has a round or a change of a campaign."""
    if output.rounds:
        longest = output.rounds[-1].judged[0]
        metrics.set("round_components", int(np.count_nonzero(longest.view.holders)))
        metrics.set("round_communities", longest.cores.n)
    if output.rounds or output.campaigns:
        count_campaigns(reducer, metrics)


def count_campaigns(reducer: Campaigns, metrics: Metrics) -> None:
    """Enter the campaigns that are remembered, by state; also after a restart, or a page would fall silent."""
    known = reducer.tables.memory.campaigns.values()
    states: Counter[str] = Counter(campaign.state for campaign in known)
    members: Counter[str] = Counter()
    for campaign in known:
        members[campaign.state] += len(campaign.members)
    for state in DOMAINS["state"]:
        metrics.set("known_campaigns", states[state], state=state)
        metrics.set("campaign_members", members[state], state=state)
    count_evidence([campaign for campaign in known if campaign.state == "confirmed"], metrics)


def count_evidence(confirmed: Sequence[Campaign], metrics: Metrics) -> None:
    """Enter the weight of evidence by family: of each the most that one of the campaigns has, 0 without any."""
    for family in LABEL_VALUES["family"]:
        weights = (sum(one.log10_lr for one in c.evidence if one.family == family) for c in confirmed)
        metrics.set("campaign_evidence_decades", max(weights, default=0.0), family=family)
