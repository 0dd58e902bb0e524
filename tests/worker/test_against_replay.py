"""The worker on a broker says what a replay of the same events says: whoever shares the work, whoever is killed."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from streamproc import broker
from tests.worker.pipeline import PARTITIONS, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.worker.pipeline import Traffic


@pytest.fixture
def pipeline(
    request: pytest.FixtureRequest, tmp_path: Path, traffic: Traffic
) -> Iterator[Callable[[str, str], Pipeline]]:
    made: list[Pipeline] = []

    def make(broker: str, name: str) -> Pipeline:
        made.append(Pipeline(request.getfixturevalue(broker), name, tmp_path, traffic.policy))
        return made[-1]

    yield make
    for one in made:
        one.close()


def agrees(pipeline: Pipeline, traffic: Traffic) -> None:
    """Everything said is said by the replay, byte by byte, and the other way round."""
    assert set(pipeline.said("enforcement")) == traffic.enforcements(), pipeline.log()
    assert set(pipeline.said("campaigns")) == traffic.campaigns()
    assert set(pipeline.said("rounds")) == traffic.rounds()


def holds_the_newest(pipeline: Pipeline, traffic: Traffic) -> None:
    """What a compacted topic would keep of each subject is the decision with the greatest seq."""
    kept = {event["subject"]["id"]: event["seq"] for event in map(orjson.loads, pipeline.said("enforcement"))}
    newest: dict[str, int] = {}
    for event in traffic.replayed.enforcements:
        newest[event.subject.id] = max(event.seq, newest.get(event.subject.id, 0))
    assert kept == newest


@pytest.mark.skipif(broker.available() is None, reason="the same is shown on a real Kafka, which is here")
def test_one_worker_on_the_embedded_broker_with_a_producer_that_waits(
    pipeline: Callable[[str, str], Pipeline], traffic: Traffic
) -> None:
    it = pipeline("embedded_pipeline", "")
    worker = it.start()
    step = 4_000  # some 4 MB over four partitions: the broker forgets what lies further back than 5 MB each
    for first in range(0, len(traffic.lines), step):
        rows = range(first, min(first + step, len(traffic.lines)))
        it.produce(traffic, rows)
        it.wait(lambda end=rows.stop: worker.value("events_total") >= end - step)  # type: ignore[misc]
    it.say_the_end(traffic)
    agrees(it, traffic)
    assert worker.stop() == 0, it.log()


def test_one_worker_on_a_real_kafka(pipeline: Callable[[str, str], Pipeline], traffic: Traffic) -> None:
    it = pipeline("real_kafka", "one")
    worker = it.start()
    it.produce(traffic, range(len(traffic.lines)))
    it.say_the_end(traffic)
    agrees(it, traffic)
    holds_the_newest(it, traffic)
    assert worker.value("events_total") == len(traffic.lines) == worker.value("uses_total")
    assert worker.value("loop_stall_seconds") < 1
    assert worker.stop() == 0, it.log()

    shutil.rmtree(it.folder / "state")  # it is rebuilt from the topics, and the same is said again
    said = len(it.said("enforcement"))
    again = it.start()
    it.wait(lambda: again.value("events_total") == len(traffic.lines))
    it.wait(lambda: again.value("snapshot_age_seconds") == 0 and it.read_to_the_end("uses"))
    agrees(it, traffic)
    assert len(it.said("enforcement")) == 2 * said
    assert again.stop() == 0, it.log()


def test_two_workers_share_the_partitions_and_one_is_killed(
    pipeline: Callable[[str, str], Pipeline], traffic: Traffic
) -> None:
    it = pipeline("real_kafka", "two")
    workers = [it.start(), it.start()]
    third = len(traffic.lines) // 3
    it.produce(traffic, range(third))
    it.wait(lambda: all(worker.value("events_total") > 0 for worker in workers))
    it.wait(lambda: sum(worker.value("events_total") for worker in workers) >= third)

    it.produce(traffic, range(third, 2 * third))
    time.sleep(0.5)  # amid its work, and amid what its last snapshot does not cover
    has_campaigns = max(workers, key=lambda worker: worker.value("round_seconds_count"))
    has_campaigns.process.kill()
    it.produce(traffic, range(2 * third, len(traffic.lines)))
    it.say_the_end(traffic)
    agrees(it, traffic)
    holds_the_newest(it, traffic)
    survivor = next(worker for worker in workers if worker is not has_campaigns)
    assert len({line for line in survivor.get("/metrics")[1].splitlines() if "lag_events{" in line}) == PARTITIONS + 1
    assert survivor.stop() == 0, it.log()
