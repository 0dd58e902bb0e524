from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from streamproc import broker
from tests.worker.pipeline import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

# Topics of the embedded broker must be known when it starts: one for each test that uses it.
EMBEDDED_TOPICS = {
    "read-in-runs": 4,
    "requests": 3,
    "uses": 1,
    "requests.dead": 1,
    "enforcement": 2,
    "campaigns": 1,
}


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[str]:
    with broker.embedded(EMBEDDED_TOPICS) as address:
        yield address


@pytest.fixture(scope="session")
def embedded_pipeline() -> Iterator[str]:
    """All of the worker's topics under their plain names."""
    topics = {
        "requests": 4, "requests.dead": 1, "uses": 1, "enforcement": 4, "campaigns": 1, "rounds": 1, "labels": 1,
    }  # fmt: skip
    with broker.embedded(topics) as address:
        yield address


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    reason = broker.available()
    if reason is not None:
        pytest.skip(reason)
    with broker.kafka(tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    made = Traffic.make(tmp_path_factory.mktemp("traffic"), accounts=1800, days=3, seed=5)
    assert len(made.lines) > 95_000
    actions = Counter(event.action for event in made.replayed.enforcements)
    assert min(actions[action] for action in ("observe", "throttle", "release")) >= 20, "nothing would be compared"
    return made
