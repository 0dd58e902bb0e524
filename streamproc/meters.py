"""Tables of metrics, live. No account or other value of a request is ever a label."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["CONTENT_TYPE_LATEST", "STAGE_BUCKETS_S", "Meters", "Metric"]

STAGE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
NUMBERED: Final = "partition"  # bounded too, by the topics' settings: a number
MOST_PARTITIONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without the prefix, what kind it is, what it means, its labels."""

    name: str
    kind: type[Counter | Gauge | Histogram]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = STAGE_BUCKETS_S


class Meters:
    """The table's metrics, live. Series of bounded labels are there from the start, at zero.

    `domains` has the values that each label may have.

    Raises:
        ValueError: a label whose values nobody has told; later, a value that is not among them.
        KeyError: a metric that the table does not have.
    """

    def __init__(self, table: Sequence[Metric], domains: Mapping[str, Sequence[str]]) -> None:
        self._table = table
        self._registry = CollectorRegistry()
        self._domains = {label: tuple(values) for label, values in domains.items()}
        self._metrics = {metric.name: self._make(metric) for metric in table}

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram:
        unknown = set(metric.labels) - set(self._domains) - {NUMBERED}
        if unknown:
            raise ValueError(f"metric {metric.name}: no values are known for label {', '.join(sorted(unknown))}")
        options: dict[str, Any] = {"buckets": metric.buckets} if metric.kind is Histogram else {}
        name, labels = f"streamproc_{metric.name}", metric.labels
        made = metric.kind(name, metric.meaning, labels, registry=self._registry, **options)
        if labels and NUMBERED not in labels:
            for values in product(*(self._domains[label] for label in labels)):
                made.labels(*values)
        return made

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        made = self._series(name, labels)
        assert isinstance(made, Counter)
        made.inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        made = self._series(name, labels)
        assert isinstance(made, Gauge)
        made.set(value)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Count a duration into a histogram."""
        made = self._series(name, labels)
        assert isinstance(made, Histogram)
        made.observe(seconds)

    @contextmanager
    def timed(self, name: str, **labels: str) -> Iterator[None]:
        """Count the time that the block takes into a histogram."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - start, **labels)

    def forget_partition(self, partition: int) -> None:
        """Drop the series of a partition that another worker has now."""
        for metric in self._table:
            if NUMBERED in metric.labels:
                self._metrics[metric.name].remove_by_labels({NUMBERED: str(partition)})

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def value(self, name: str, **labels: str) -> float:
        """Return what a counter or gauge stands at, 0 for a series that is not there."""
        return self._registry.get_sample_value(f"streamproc_{name}", labels) or 0.0

    def _series(self, name: str, labels: Mapping[str, str]) -> Counter | Gauge | Histogram:
        for label, value in labels.items():
            if label == NUMBERED:
                known = value.isdecimal() and int(value) < MOST_PARTITIONS
            else:
                known = value in self._domains[label]
            if not known:
                raise ValueError(f"metric {name}: {value!r} is no known value of label {label}")
        made = self._metrics[name]
        return made.labels(**labels) if labels else made
