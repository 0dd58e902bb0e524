from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from streamproc import core
from streamproc.contract.decisions import Reason, State
from streamproc.core import policy as policies
from streamproc.core.accounts.batch import Batch, Dead
from streamproc.core.campaigns.memory import Campaign
from streamproc.core.campaigns.reducer import Campaigns
from streamproc.core.clock import UNSET_MS
from streamproc.core.uses import empty
from streamproc.worker.counted import LABEL_VALUES, PLAIN, count_batch, count_campaigns
from streamproc.worker.metrics import METRICS, Metrics

FOLDER = Path(str(core.__file__)).parent
SOURCES = [path.read_text() for path in sorted(FOLDER.rglob("*.py"))]


def test_everything_that_the_core_may_say_was_evicted_has_a_series() -> None:
    said = {what for text in SOURCES for what in re.findall(r'"evicted:(\w+)"', text)}
    assert said == set(LABEL_VALUES["what"])


def test_every_plain_counter_of_the_core_has_a_metric() -> None:
    said = {name for text in SOURCES for name in re.findall(r'counts\["(\w+)"\]', text)}
    assert said
    assert said <= set(PLAIN)
    assert set(PLAIN.values()) <= {metric.name for metric in METRICS}


def test_a_batch_is_counted_by_reason_field_and_kind() -> None:
    metrics = Metrics(LABEL_VALUES)
    counts = Counter({"events": 9, "late": 2, "duplicates": 1, "blind:org": 4, "evicted:duplicates": 3, "mistyped": 5})
    dead = [Dead(1, "future", "", None), Dead(2, "future", "", None), Dead(3, "not_json", "", b"x")]
    count_batch(Batch(0, 9, UNSET_MS, empty().ts_ms, empty(), dead, counts), metrics)
    expected = {
        ("events_total", ""): 9,
        ("late_events_total", ""): 2,
        ("duplicate_events_total", ""): 1,
        ("mistyped_fields_total", ""): 5,
        ("blind_events_total", "field=org"): 4,
        ("evicted_entries_total", "what=duplicates"): 3,
        ("bad_events_total", "reason=future"): 2,
        ("bad_events_total", "reason=not_json"): 1,
        ("bad_events_total", "reason=empty"): 0,
    }
    for (name, label), value in expected.items():
        labels = dict([label.split("=")]) if label else {}
        assert metrics.value(name, **labels) == value, (name, label)


def test_members_and_the_weight_of_evidence_are_shown_of_confirmed_campaigns() -> None:
    def campaign(name: str, state: State, weight: float, members: int) -> Campaign:
        reasons = tuple(Reason(signal=s, family="history", log10_lr=weight, text="") for s in ("sittings", "turns"))
        return Campaign(name, 0, state, members=dict.fromkeys(range(members), 0.9), evidence=reasons)

    metrics = Metrics(LABEL_VALUES)
    campaigns = Campaigns(policies.default(), 1)
    known = [campaign("c1", "confirmed", 1.5, 20), campaign("c2", "confirmed", 0.5, 8), campaign("c3", "cleared", 4, 0)]
    campaigns.tables.memory.campaigns |= {one.id: one for one in known}
    count_campaigns(campaigns, metrics)
    assert metrics.value("known_campaigns", state="confirmed") == 2
    assert metrics.value("campaign_members", state="confirmed") == 28
    assert metrics.value("campaign_members", state="cleared") == 0
    assert metrics.value("campaign_evidence_decades", family="history") == 3
    assert metrics.value("campaign_evidence_decades", family="template") == 0
    known[0].state = known[1].state = "contained"
    count_campaigns(campaigns, metrics)
    assert metrics.value("campaign_evidence_decades", family="history") == 0
