"""The tables of docs/OPERATING.md, made from those in the code. `python -m tests.deploy.tables` writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamproc.console import metrics as console
from streamproc.gateway import metrics as gateway
from streamproc.ingest import metrics as ingest
from streamproc.settings import VARIABLES
from streamproc.worker.metrics import DOMAINS, METRICS
from streamproc.worker.topics import DAY_MS, TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from streamproc.meters import Metric
    from streamproc.worker.topics import Topic

END: Final = "<!-- end -->"
ROOT: Final = Path(__file__).resolve().parents[2]
OPERATING: Final = ROOT / "docs" / "OPERATING.md"
DEFAULTS: Final = {variable.setting: variable.default for variable in VARIABLES}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def settings() -> str:
    """The environment variables, in the order of the code."""
    rows = ((f"`{v.name}`", f"`{v.default}`" if v.default else "", v.meaning) for v in VARIABLES)
    return table(("variable", "default", "meaning"), rows)


def topics() -> str:
    """The topics and what they are created with."""
    return table(("topic", "named by", "partitions", "cleanup.policy", "retention", "why"), map(_topic, TOPICS))


def _topic(topic: Topic) -> tuple[str, ...]:
    partitions = str(topic.partitions) if topic.partitions else "`KAFKA_PARTITIONS`"
    kept = "for ever" if topic.retention_ms is None else f"{topic.retention_ms // DAY_MS} days"
    name = f"`{DEFAULTS[f'topics.{topic.setting}']}`"
    exactly = f"exactly {partitions}" if topic.single else partitions
    return name, f"`TOPIC_{topic.setting.upper()}`", exactly, topic.cleanup, kept, topic.reason


def metrics() -> str:
    """The worker's metrics with their labels."""
    return _metrics(METRICS, DOMAINS)


def gateway_metrics() -> str:
    """The gateway's metrics with their labels."""
    return _metrics(gateway.METRICS, gateway.DOMAINS)


def console_metrics() -> str:
    """The console's metrics with their labels."""
    return _metrics(console.METRICS, console.DOMAINS)


def ingest_metrics() -> str:
    """The ingest's metrics with their labels."""
    return _metrics(ingest.METRICS, ingest.DOMAINS)


def _metrics(metrics: Iterable[Metric], domains: Mapping[str, Sequence[str]]) -> str:
    return table(("metric", "kind", "labels", "meaning"), (_metric(metric, domains) for metric in metrics))


def _metric(metric: Metric, domains: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    labels = "; ".join(
        f"{label}: {', '.join(domains[label])}" if label in domains else label for label in metric.labels
    )
    return f"`streamproc_{metric.name}`", metric.kind.__name__.lower(), labels, metric.meaning


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "topics": topics,
    "metrics": metrics,
    "gateway metrics": gateway_metrics,
    "console metrics": console_metrics,
    "ingest metrics": ingest_metrics,
}


def written(text: str, name: str) -> str:
    """The table that a document holds between its marks.

    Raises:
        ValueError: the marks are not there.
    """
    return _between(text, name).strip()


def renewed(text: str) -> str:
    """The document with every table as the code has it."""
    for name, make in TABLES.items():
        text = text.replace(f"{_mark(name)}{_between(text, name)}{END}", f"{_mark(name)}\n{make()}\n{END}")
    return text


def _mark(name: str) -> str:
    return f"<!-- table: {name} -->"


def _between(text: str, name: str) -> str:
    _, mark, rest = text.partition(_mark(name))
    held, end, _ = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"no {_mark(name)} ... {END} in the document")
    return held


if __name__ == "__main__":
    OPERATING.write_text(renewed(OPERATING.read_text()))
