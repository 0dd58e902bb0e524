from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from streamproc import core
from streamproc.core.accounts.batch import Batch, Dead
from streamproc.core.clock import UNSET_MS
from streamproc.core.uses import empty
from streamproc.worker.counted import LABEL_VALUES, PLAIN, count_batch
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
