"""`streamproc run` and `release` as an operator sees them, on a broker."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from streamproc import broker, cli
from streamproc.replay import partition_of
from streamproc.worker.state import StateStore
from streamproc.worker.uses_topic import Idle, encode
from tests.worker.pipeline import PARTITIONS, Pipeline, free_port, write_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.worker.pipeline import Traffic


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Pipeline]]:
    made: list[Pipeline] = []

    def make(name: str) -> Pipeline:
        address = request.getfixturevalue("real_kafka")
        made.append(Pipeline(address, name, tmp_path, write_policy(tmp_path / "policy.toml")))
        return made[-1]

    yield make
    for one in made:
        one.close()


def command(it: Pipeline, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamproc.cli", *words], env=it.environment(free_port(), **more),
        capture_output=True, text=True, check=False, timeout=60, cwd=it.folder,
    )  # fmt: skip


def send(it: Pipeline, setting: str, *messages: tuple[int, bytes | None]) -> None:
    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=it.address) as producer:
            for partition, value in messages:
                await producer.send_and_wait(it.topic(setting), value, partition=partition, key=b"k")

    asyncio.run(produce())


def event(number: int, ts_ms: int, **more: object) -> bytes:
    return orjson.dumps({"v": 1, "id": f"r{number}", "ts_ms": ts_ms, "account": f"a{number % 12}", **more})


START_MS = 1_772_409_600_000


def test_what_is_no_event_is_put_aside_with_its_place_and_the_stream_goes_on(
    pipeline: Callable[[str], Pipeline],
) -> None:
    it = pipeline("dead")
    worker = it.start()
    good = [(1, event(n, START_MS + n)) for n in range(20)]
    send(it, "requests", *good[:10], (1, b"no json"), (1, None), *good[10:], (3, b'{"v":1}'))
    send(it, "labels", (0, b"[]"))
    send(it, "uses", (0, b"what is this"), (0, encode(Idle(PARTITIONS))))
    it.wait(lambda: len(it.said("dead")) == 6)
    letters = {(row["topic"], row["partition"], row["offset"]): row for row in map(orjson.loads, it.said("dead"))}
    requests, uses = it.topic("requests"), it.topic("uses")
    assert letters[requests, 1, 10]["reason"] == "not_json"
    assert letters[requests, 1, 10]["value"] == "no json"
    assert letters[requests, 1, 11]["reason"] == "empty"
    assert letters[requests, 3, 0]["reason"] == "missing_field"
    assert letters[it.topic("labels"), 0, 0]["reason"] == "not_object"
    assert sorted(row["reason"] for place, row in letters.items() if place[0] == uses) == ["not_ours"] * 2
    it.wait(lambda: worker.value("events_total") == 23)
    assert worker.value("bad_events_total") == 6
    assert worker.stop() == 0, it.log()


def test_silent_partitions_do_not_hold_time_back_and_time_is_moved_by_events_alone(
    pipeline: Callable[[str], Pipeline],
) -> None:
    it = pipeline("idle")
    worker = it.start(IDLE_S="1")
    hours = 8
    send(it, "requests", *((2, event(n, START_MS + n * 60_000)) for n in range(60 * hours)))
    it.wait(lambda: worker.value("round_seconds_count") == hours - 1, 20)
    time.sleep(1.5)  # marks go on being said, and move nothing while no events come
    assert worker.value("round_seconds_count") == hours - 1
    assert worker.stop() == 0, it.log()


def test_release_clears_a_campaign_and_everyone_in_it(pipeline: Callable[[str], Pipeline], traffic: Traffic) -> None:
    it = pipeline("release")
    worker = it.start()
    it.produce(traffic, range(len(traffic.lines) // 2))
    it.wait(lambda: worker.value("events_total") == len(traffic.lines) // 2)
    it.wait(lambda: it.read_to_the_end("uses"))
    last = {row["campaign"]: row for row in map(orjson.loads, it.said("campaigns"))}
    campaign = max((row for row in last.values() if row["state"] == "confirmed"), key=lambda row: row["members"])
    before = held_by(it, campaign["campaign"])
    assert before

    done = command(it, "release", "--campaign", campaign["campaign"], "--why", "a lab", "--who", "ann")
    assert done.returncode == 0, done.stderr
    assert f"campaign {campaign['campaign']} was confirmed with {campaign['members']} members" in done.stdout
    label = orjson.loads(it.said("labels")[-1])
    assert (label["label"], label["who"], label["why"]) == ("lawful", "ann", "a lab")
    it.wait(lambda: not held_by(it, campaign["campaign"]))
    assert [row["state"] for row in map(orjson.loads, it.said("campaigns")) if row["campaign"] == campaign["campaign"]][
        -1
    ] == "cleared"

    again = command(it, "release", "--campaign", campaign["campaign"])
    assert (again.returncode, again.stderr) == (2, f"streamproc: campaign {campaign['campaign']} is cleared already\n")
    unknown = command(it, "release", "--campaign", "c0")
    assert unknown.returncode == 2
    assert unknown.stderr == f"streamproc: no campaign 'c0' on topic {it.topic('campaigns')}\n"
    assert worker.stop() == 0, it.log()


def held_by(it: Pipeline, campaign: str) -> set[str]:
    """Return the accounts for which the newest decision is one of the campaign and no release."""
    newest: dict[str, dict[str, object]] = {}
    for row in sorted(map(orjson.loads, it.said("enforcement")), key=lambda row: row["seq"]):
        newest[row["subject"]["id"]] = row
    return {name for name, row in newest.items() if row["campaign"] == campaign and row["action"] != "release"}


def test_simulated_events_are_sent_by_account_as_the_truth_has_them(pipeline: Callable[[str], Pipeline]) -> None:
    it = pipeline("simulated")
    truth = it.folder / "truth.jsonl"
    options = ("--scenario", "control", "--seed", "3", "--accounts", "80", "--days", "1", "--truth", str(truth))
    done = command(it, "simulate", "--to-kafka", *options)
    assert done.returncode == 0, done.stderr
    records = it.records("requests")
    events = [orjson.loads(record.value) for record in records]
    for record, event in zip(records, events, strict=True):
        assert record.key == event["account"].encode()
        assert record.partition == partition_of(event["account"], PARTITIONS)
    assert f"{len(events):,} events of {len(truth.read_text().splitlines())} accounts" in done.stderr
    assert {event["account"] for event in events} == {
        orjson.loads(line)["account"] for line in truth.read_bytes().splitlines()
    }
    worker = it.start()
    it.wait(lambda: worker.value("events_total") == len(events))
    it.wait(lambda: it.read_to_the_end("requests"))
    assert worker.stop() == 0, it.log()


def test_simulated_events_can_end_today(pipeline: Callable[[str], Pipeline]) -> None:
    it = pipeline("recent")
    options = ("--scenario", "control", "--seed", "3", "--accounts", "40", "--days", "1")
    done = command(it, "simulate", "--to-kafka", "--recent", *options)
    assert done.returncode == 0, done.stderr
    last_ms = max(orjson.loads(value)["ts_ms"] for value in it.said("requests"))
    assert 0 <= time.time() * 1000 - last_ms < 25 * 3_600_000
    refused = command(it, "simulate", "--output", "e.jsonl", "--truth", "t.jsonl", "--recent", *options)
    assert refused.returncode == 2
    assert refused.stderr.startswith("streamproc: --recent goes with --to-kafka alone")


def test_state_of_another_cluster_is_refused_in_one_line(pipeline: Callable[[str], Pipeline]) -> None:
    it = pipeline("foreign")
    worker = it.start()
    send(it, "requests", *((0, event(n, START_MS + n)) for n in range(20)))
    store = StateStore(str(it.folder / "state"))
    it.wait(lambda: store.load("accounts-0"))
    assert worker.stop() == 0
    other = command(it, "run", KAFKA_GROUP="group-other", TOPIC_REQUESTS="foreign.others")
    assert other.returncode == 2
    last = other.stderr.strip().splitlines()[-1]
    assert last.startswith("streamproc: STATE_URL: a snapshot ends at offset 20 of foreign.others-0, which ends at 0:")


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"KAFKA_SESSION_S": "soon"}, "streamproc: KAFKA_SESSION_S: 'soon' is not a number of seconds"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "streamproc: KAFKA_BOOTSTRAP_SERVERS: no broker answers"),
        ({"MODE": "kill"}, "streamproc: MODE: 'kill' is none of shadow, enforce"),
        ({"POLICY": "wrong.toml"}, "streamproc: policy: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    wrong: dict[str, str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "wrong.toml").write_text("name = 5")
    monkeypatch.chdir(tmp_path)
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["run"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_without_brokers_it_still_stops_when_it_is_told_to(tmp_path: Path) -> None:
    it = Pipeline("", "", tmp_path, write_policy(tmp_path / "policy.toml"))
    topics = {"requests": 4, "requests.dead": 1, "uses": 1, "enforcement": 4, "campaigns": 1, "labels": 1}
    with broker.embedded(topics) as address:
        it.address = address
        worker = it.start(STOP_S="3")
        send(it, "requests", *((0, event(n, START_MS + n)) for n in range(20)))
        it.wait(lambda: worker.value("events_total") == 20)
    worker.process.send_signal(signal.SIGTERM)
    try:
        assert worker.process.wait(60) == 1
    finally:
        it.close()
    assert "could not stop within 3 s" in it.log()


def test_a_port_that_is_taken_is_said_in_one_line_at_the_end(pipeline: Callable[[str], Pipeline]) -> None:
    it = pipeline("port")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command(it, "run", HTTP_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("streamproc: HTTP_HOST, HTTP_PORT: cannot listen on 127.0.0.1:")
